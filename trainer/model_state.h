// ModelState: a model's values and the optimiser of them, whole or sharded over ranks (ZeRO), and
// their part of a checkpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_vector.h"
#include "base/status.h"
#include "nn/optim/optimizer.h"
#include "nn/parameters.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/sharding/sharded_optimizer.h"

namespace muster {

class ModelState {
 public:
  // Values from the seed. `parameters` must outlive the state. With `shard_over` the optimiser's
  // state is sharded over this group, which must outlive the state; the checkpoints are the same.
  ModelState(const nn::ParameterSet& parameters, const nn::OptimizerOptions& optimizer,
             std::uint64_t seed, Group* shard_over = nullptr);

  // One more optimiser of the same values, with a state of its own, for a loss of its own. Each
  // steps all parameters: Adam leaves those alone whose gradients have always been zero. Not of a
  // sharded state. The first added is number 1. Before TakeFrom and the first step.
  void AddOptimizer(const std::string& name, const nn::OptimizerOptions& options);

  // [flat elements of the parameters]. Whoever changes them before the first step calls Changed.
  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  void Changed();

  // The norm of `gradients`, and the optimiser's step by them on values(): of all trained elements,
  // or, sharded, of this rank's; then collective.
  Result<double> GradientNorm(std::span<const float> gradients, ThreadPool* pool);
  Status Step(const nn::OptimizerStep& rates, std::span<const float> gradients, ThreadPool* pool,
              std::size_t optimizer = 0);
  std::uint64_t steps_done() { return optimizer().steps_done(); }

  // Before AddTo, on all ranks: brings a sharded state together on those that `keep` it. Collective
  // where it is sharded, otherwise nothing. Until Drop.
  Status Gather(bool keep);
  void Drop() { gathered_.clear(); }

  // Puts the arrays and "optimizer_steps" into a checkpoint: views into this state.
  void AddTo(CheckpointContents& contents);
  // The way back. kDataLoss when arrays are missing or of another shape; the state is not to be
  // used then.
  Status TakeFrom(const CheckpointContents& contents);

 private:
  nn::Optimizer& optimizer() { return sharded_ ? sharded_->optimizer() : *optimizer_; }

  struct Further {
    std::string name;  // Before those of its vectors in a checkpoint.
    std::unique_ptr<nn::Optimizer> optimizer;
  };

  const nn::ParameterSet& parameters_;
  AlignedVector<float> values_;
  std::unique_ptr<nn::Optimizer> optimizer_;   // This one,
  std::unique_ptr<ShardedOptimizer> sharded_;  // or this one.
  std::vector<ShardedOptimizer::WholeState> gathered_;
  std::vector<Further> further_;  // Numbers 1 and on.
};

// Whether a checkpoint's trainer.json was written by a job of this recipe. kFailedPrecondition
// names what differs, kDataLoss a trainer.json without a recipe.
Status CheckSameRecipe(const nlohmann::json& recipe, const nlohmann::json& trainer);

}  // namespace muster
