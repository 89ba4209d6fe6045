// ShardedOptimizer: every rank keeps and steps its shard of the parameters alone (ZeRO).
// Source: Rajbhandari et al., arXiv:1910.02054, sections 5.1 and 5.2.
//
// The trained part of the flat vector is dealt out in blocks of nn::kFlatBlock (ShardLayout). A
// rank holds the f32 values and the optimiser's state of its blocks; a step changes them and puts
// the new values, or in a network that computes in bf16 their rounded copies alone, together in
// every rank's vector. Parameters, state and norms have the bits of an unsharded run on any number
// of ranks. With one rank the shard is all there is.
//
// Stage 1: gradients as GradientReducer leaves them, whole; layout().Take copies the shard out.
// Stage 2: ShardedReducer, built over the same layout, leaves the shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "collectives/group.h"
#include "collectives/shard_layout.h"
#include "nn/optim/optimizer.h"
#include "nn/parameters.h"
#include "tensor/bfloat16.h"
#include "tensor/thread_pool.h"

namespace muster {

class ShardedOptimizer {
 public:
  // Values are zero until TakeValues. `group` must outlive it.
  ShardedOptimizer(Group& group, const nn::OptimizerOptions& options,
                   const nn::ParameterSet& parameters);

  // Of the trained elements: parameters.trainable_elements().
  const ShardLayout& layout() const { return layout_; }
  // This rank's values and the optimiser of them, its state and steps_done.
  std::span<float> values() { return values_; }
  nn::Optimizer& optimizer() { return *optimizer_; }

  // The start, or a checkpoint: this rank's values are its part of `all`, trained elements or the
  // whole flat vector.
  void TakeValues(std::span<const float> all);

  // nn::GradientNorm of all shards, the same bits; `gradients` is this rank's. Collective.
  Result<double> GradientNorm(std::span<const float> gradients, ThreadPool* pool);

  // nn::Optimizer::Step on this rank's values, then all ranks' new ones in `network`, the trained
  // elements or the whole flat vector. step.narrow_values must be empty. Collective. After an error
  // the values are not to be used.
  Status Step(const nn::OptimizerStep& step, std::span<const float> gradients,
              std::span<float> network, ThreadPool* pool);
  Status Step(const nn::OptimizerStep& step, std::span<const float> gradients,
              std::span<BFloat16> network, ThreadPool* pool);

  // Whole vectors [trained elements] for a checkpoint, on ranks that ask for them: `all` is empty
  // on the others. Collective.
  Status GatherValues(std::span<float> all);
  struct WholeState {
    std::string name;           // nn::NamedState's.
    std::vector<float> values;  // Empty where `keep` is false.
  };
  Result<std::vector<WholeState>> GatherState(bool keep);
  // The way back, of one vector of the state and not collective: takes this rank's part of `all`.
  // kNotFound when the optimiser keeps no such state.
  Status TakeState(const std::string& name, std::span<const float> all);

 private:
  void CheckNetwork(const nn::OptimizerStep& step, std::size_t elements) const;

  Group& group_;
  const ShardLayout layout_;
  const std::size_t flat_elements_;
  std::vector<float> values_;
  std::vector<BFloat16> narrow_;  // Of values_, once the network has turned out to be bf16.
  std::unique_ptr<nn::Optimizer> optimizer_;
};

}  // namespace muster
