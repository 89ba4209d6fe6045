// What a supervised job is: data, model, optimiser and how long; and what is wrong with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/status.h"
#include "nn/models/cnn.h"
#include "nn/models/mlp.h"
#include "nn/models/model.h"
#include "nn/models/resnet.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "trainer/data/augmentation.h"
#include "trainer/data/training_data.h"
#include "trainer/supervised/early_stop.h"

namespace muster {

enum class ModelKind : std::uint8_t { kMlp, kCnn, kResnet };

// The sizes of a model's input and output are those of the data.
struct ClassifierOptions {
  ModelKind kind = ModelKind::kMlp;
  nn::MlpOptions mlp;
  nn::CnnOptions cnn;
  nn::ResnetOptions resnet;
};

struct SupervisedOptions {
  DataOptions data;
  AugmentOptions augment;  // Of training samples.
  ClassifierOptions model;

  nn::OptimizerOptions optimizer;
  nn::ScheduleKind schedule = nn::ScheduleKind::kConstant;
  float learning_rate = 1e-3F;                // > 0
  std::uint64_t warmup_steps = 0;             // At most as many as there are steps.
  float final_learning_rate_fraction = 0.0F;  // In [0, 1]; of linear and cosine.
  double gradient_clip_norm = 0.0;            // Global norm; 0: no clipping.
  // What is sharded over ranks: 0 nothing, 1 the optimiser's state, 2 gradients too. Never changes
  // the result.
  int zero_stage = 0;

  std::uint64_t epochs = 0;    // Exactly one of
  std::uint64_t steps = 0;     // the two is above 0.
  std::size_t batch_size = 0;  // Global; a multiple of `lanes`.
  std::size_t lanes = 1;       // A power of two.
  std::uint64_t seed = 0;
  std::uint64_t evaluate_every_steps = 0;  // On the validation samples; 0: at the end only.
  EarlyStopOptions early_stop;             // Needs validation samples and evaluations.
};

// What is told at submit time.
struct SupervisedPlan {
  DataSummary data;
  std::uint64_t steps_per_epoch = 0;
  std::uint64_t steps_total = 0;
  std::size_t parameters = 0;
};

// Everything that can be wrong without looking at the data. Messages name the field.
Status ValidateOptions(const SupervisedOptions& options, std::size_t ranks);

// Also reads and checks the data (quick once cached) and the model against it. Needs no tensors.
Result<SupervisedPlan> PlanSupervised(const SupervisedOptions& options, std::size_t ranks);
// The same for data that have been inspected.
Result<SupervisedPlan> PlanSupervised(const SupervisedOptions& options, std::size_t ranks,
                                      const DataSummary& data);

// The model for data of this shape. kInvalidArgument as the models say.
Result<std::unique_ptr<nn::Model>> MakeClassifier(const ClassifierOptions& options,
                                                  const FeatureShape& shape, std::int32_t classes);

nn::ScheduleOptions ScheduleOf(const SupervisedOptions& options, std::uint64_t steps_total);

// All of the options that the result depends on, except the data, which are known by their hash.
nlohmann::json RecipeOf(const SupervisedOptions& options);

}  // namespace muster
