// TrainingState: all of a supervised job that outlives a step, and its checkpoint.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "nn/models/model.h"
#include "nn/optim/optimizer.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/model_state.h"
#include "trainer/supervised/early_stop.h"

namespace muster {

// Loss in nats a sample, accuracy in [0, 1].
struct Evaluation {
  double loss = 0.0;
  double accuracy = 0.0;
};

class TrainingState {
 public:
  // Initial parameters from the seed. `network` must outlive the state; `recipe` and `data_sha256`
  // are what a checkpoint must agree on to be resumed. With `shard_over` the optimiser's state is
  // sharded over this group, which must outlive the state; the checkpoints are the same.
  TrainingState(const nn::Model& network, const nn::OptimizerOptions& optimizer, std::uint64_t seed,
                nlohmann::json recipe, std::string data_sha256, Group* shard_over = nullptr);

  ModelState model;
  std::uint64_t step = 0;                // Steps done.
  std::optional<Evaluation> validation;  // The latest.
  std::optional<Evaluation> test;        // After the last step.
  std::optional<double> best_accuracy;   // Of all evaluations on validation samples so far.
  std::uint64_t best_step = 0;
  std::optional<EarlyStop> early_stop;  // Of a job that has one.

  // Views into this state; valid until it changes. A sharded model is gathered before. Lane
  // l is recorded with the samples it used: step * lane_batch.
  CheckpointContents Contents(std::size_t lanes, std::size_t lane_batch);

  // Takes over a checkpoint. kFailedPrecondition when the recipe or the data are others, naming
  // what differs; kDataLoss when arrays are missing or of another shape. On an error the state is
  // not to be used.
  Status Restore(const CheckpointContents& contents, std::size_t lanes, std::size_t lane_batch);

 private:
  Status CheckSameJob(const nlohmann::json& trainer) const;
  Status RestoreTrainer(const nlohmann::json& trainer);

  nlohmann::json recipe_;
  std::string data_sha256_;
  std::vector<std::int64_t> lane_samples_;  // What a checkpoint says of the lanes.
};

}  // namespace muster
