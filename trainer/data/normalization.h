// What a model sees of a sample: bytes become [0, 1], then both kinds may be standardised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "trainer/data/augmentation.h"
#include "trainer/data/dataset.h"

namespace muster {

struct NormalizationOptions {
  // Standardise by the mean and standard deviation of the training samples: per channel for bytes,
  // per feature for floats. Excludes the two lists.
  bool from_training_samples = false;
  // (x - mean) / deviation, x in [0, 1] for bytes. One number for each channel, or one for all;
  // empty: 0 and 1.
  std::vector<double> mean{};
  std::vector<double> deviation{};  // > 0
};

// kInvalidArgument when the lists fit neither one nor all channels, a deviation is not positive, or
// both ways are asked for.
Status ValidateNormalization(const NormalizationOptions& options, std::size_t channels);

// Turns samples into a model's input. Immutable; safe from any thread.
class Normalization {
 public:
  // ValidateNormalization's errors. With `from_training_samples` reads all samples of `train` once;
  // sums are exact for bytes and in the order of `train` for floats: the same bits everywhere.
  static Result<Normalization> Create(const NormalizationOptions& options, const Dataset& set,
                                      std::span<const std::uint32_t> train);

  // images[i] = sample samples[i] as [height, width, channels]; labels[i] its label.
  // `images` [samples, height * width * channels], `labels` [samples]. With `moves` [samples] the
  // samples are moved before they are normalised, so that zeros come in; without, none is.
  void Gather(const Dataset& set, std::span<const std::uint32_t> samples, std::span<float> images,
              std::span<std::int32_t> labels, std::span<const ImageMove> moves = {}) const;

 private:
  std::vector<float> table_;  // Bytes: [channels, 256], the value of each byte.
  std::vector<float> mean_;   // Floats: [features].
  std::vector<float> scale_;  // Floats: [features], 1 / deviation.
};

}  // namespace muster
