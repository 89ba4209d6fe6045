// A small supervised job on data that the tests make.
#pragma once

#include <string>

#include "base/philox.h"
#include "tests/unit/trainer/data_files.h"
#include "tests/unit/trainer/watching_host.h"
#include "trainer/supervised/supervised_trainer.h"

namespace muster::test {

// Classes 0 to 3 of 8 x 8 images: a bright quadrant in noise, the label its number. Learnable, and
// every sample is another one.
inline void WriteQuadrants(const std::string& prefix, std::uint32_t samples, std::uint64_t seed) {
  std::string pixels;
  std::string labels;
  for (std::uint32_t sample = 0; sample < samples; ++sample) {
    const auto label = RandomBlock(seed, RandomPurpose::kAugmentation, sample, 1000)[0] % 4;
    labels += static_cast<char>(label);
    for (std::uint32_t pixel = 0; pixel < 64; ++pixel) {
      const std::uint32_t noise =
          RandomBlock(seed, RandomPurpose::kAugmentation, sample, pixel)[0] % 160;
      const std::uint32_t quadrant = pixel / 32 * 2 + pixel % 8 / 4;
      pixels += static_cast<char>(noise + (quadrant == label ? 60 : 0));
    }
  }
  Written(prefix + "-images.gz", Gzipped(IdxBytes({samples, 8, 8}, pixels)));
  Written(prefix + "-labels", IdxBytes({samples}, labels));
}

// 24 steps, 5 of them an epoch; evaluations every 7 steps.
inline SupervisedOptions QuadrantJob(const std::string& folder, ModelKind model) {
  WriteQuadrants(folder + "/train", 800, 1);
  WriteQuadrants(folder + "/test", 150, 2);
  SupervisedOptions options;
  options.data.train_idx = IdxOptions{folder + "/train-images.gz", folder + "/train-labels"};
  options.data.test_idx = IdxOptions{folder + "/test-images.gz", folder + "/test-labels"};
  options.data.validation_samples = 470;
  options.data.normalization.from_training_samples = true;
  options.data.cache_directory = folder + "/cache";
  options.model.kind = model;
  options.model.mlp.hidden = {32};
  options.model.cnn.conv_channels = {8, 16};
  options.model.cnn.hidden = {16};
  options.optimizer.weight_decay = 0.01F;
  options.schedule = nn::ScheduleKind::kCosine;
  options.learning_rate = 5e-3F;
  options.warmup_steps = 3;
  options.gradient_clip_norm = 1.0;
  options.steps = 24;
  options.batch_size = 64;
  options.lanes = 4;
  options.seed = 11;
  options.evaluate_every_steps = 7;
  return options;
}

using Outcome = OutcomeOf<SupervisedResult>;

// Runs all ranks as threads of this process. Rank `stopping_rank` alone asks to stop.
inline Outcome RunJob(const SupervisedOptions& options, const TrainingRun& run, Layout layout,
                      std::uint64_t stop_after = UINT64_MAX, std::size_t stopping_rank = 0) {
  return RunRanks<SupervisedResult>(layout, stop_after, stopping_rank,
                                    [&](Group& group, ThreadPool& pool, TrainerHost& host) {
                                      return TrainSupervised(options, run, group, pool, host);
                                    });
}

}  // namespace muster::test
