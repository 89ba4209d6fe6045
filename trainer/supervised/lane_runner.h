// LaneRunner: a supervised step and an evaluation of all lanes that this rank carries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "collectives/group.h"
#include "nn/models/model.h"
#include "tensor/thread_pool.h"
#include "trainer/data/augmentation.h"
#include "trainer/data/dataset.h"
#include "trainer/data/normalization.h"
#include "trainer/lanes/lane_loop.h"
#include "trainer/supervised/training_state.h"

namespace muster {

struct LaneRunnerOptions {
  LaneLoopOptions loop;
  std::size_t batch_size = 0;  // Global; a multiple of lanes.
  AugmentOptions augment;      // Of training samples, never of those of an evaluation.
  std::uint64_t seed = 0;      // Of that.
};

class LaneRunner {
 public:
  // All references must outlive the runner. Collective.
  static Result<std::unique_ptr<LaneRunner>> Create(Group& group, ThreadPool& pool,
                                                    const nn::Model& model, const Dataset& train,
                                                    const Normalization& normalization,
                                                    const LaneRunnerOptions& options);
  ~LaneRunner();

  // What a rank tells the others with each step; the step's outcome says what any rank said.
  struct Flags {
    bool stop = false;
    bool save = false;
  };
  struct StepOutcome {
    double loss = 0.0;  // Mean over the global batch, in nats.
    double accuracy = 0.0;
    Flags flags;
    double data_ms = 0.0;  // Of the slowest block, as are the next two.
    double forward_ms = 0.0;
    double backward_ms = 0.0;
    double communication_ms = 0.0;  // What backward did not hide.
  };

  // The gradient of the mean loss over `batch`, samples of the training set [batch_size], at
  // `values`. Collective; afterwards Gradients() is the sum over all lanes. `step`, counted from 0,
  // decides how samples are augmented.
  Result<StepOutcome> Step(std::uint64_t step, std::span<const float> values,
                           std::span<const std::uint32_t> batch, Flags flags);
  // As LaneLoop::ReducedGradients gives them, until the next Step.
  std::span<float> Gradients() { return gradients_; }

  // The mean loss and the accuracy over `samples` (not empty) of `set`. Batches have a fixed size
  // but for the last; lanes take neighbouring runs of them. Collective; the same on all ranks.
  Result<Evaluation> Evaluate(std::span<const float> values, const Dataset& set,
                              std::span<const std::uint32_t> samples);

 private:
  struct Work;

  LaneRunner(const nn::Model& model, const Dataset& train, const Normalization& normalization,
             const LaneRunnerOptions& options);
  std::span<const ImageMove> DrawMoves(Work& work, std::size_t global_lane);
  void RunLane(LaneLoop::Block& block, std::size_t lane, std::span<const float> values,
               std::span<const std::uint32_t> samples);
  void EvaluateLane(LaneLoop::Block& block, std::size_t lane, std::span<const float> values,
                    const Dataset& set, std::span<const std::uint32_t> samples);

  const nn::Model& model_;
  const Dataset& train_;
  const Normalization& normalization_;
  const LaneRunnerOptions options_;
  std::unique_ptr<LaneLoop> loop_;
  std::vector<Work> work_;  // [blocks]
  std::span<float> gradients_;
  std::uint64_t step_ = 0;
  std::vector<double> scores_;  // [local lanes, width]; row 0 ends as the sum over all lanes.
};

}  // namespace muster
