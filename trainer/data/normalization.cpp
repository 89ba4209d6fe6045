#include "trainer/data/normalization.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"

namespace muster {
namespace {

constexpr double kByteMax = 255.0;

struct Moments {
  double mean = 0.0;
  double deviation = 1.0;
};

// What never varies is left as it is: dividing by 0 helps nobody.
Moments MomentsOf(double sum, double squares, double count) {
  const double mean = sum / count;
  const double variance = squares / count - mean * mean;
  return {mean, variance > 1e-12 ? std::sqrt(variance) : 1.0};
}

// Per channel, of bytes as [0, 1]. All sums are integers, so their order does not matter.
std::vector<Moments> ByteMoments(const Dataset& set, std::span<const std::uint32_t> train) {
  const std::size_t pixels = set.shape.height * set.shape.width;
  std::vector<Moments> moments;
  for (std::size_t channel = 0; channel < set.shape.channels; ++channel) {
    std::uint64_t sum = 0;
    std::uint64_t squares = 0;
    for (const std::uint32_t sample : train) {
      const std::uint8_t* plane = set.u8.data() + sample * set.shape.count() + channel * pixels;
      // 32-bit partial sums of at most 2^16 pixels cannot overflow, and vectorise.
      for (std::size_t start = 0; start < pixels; start += 65536) {
        std::uint32_t part = 0;
        std::uint32_t part_squares = 0;
        for (std::size_t i = start; i < std::min(pixels, start + 65536); ++i) {
          const std::uint32_t value = plane[i];
          part += value;
          part_squares += value * value;
        }
        sum += part;
        squares += part_squares;
      }
    }
    const double count = static_cast<double>(train.size()) * static_cast<double>(pixels);
    moments.push_back(MomentsOf(static_cast<double>(sum) / kByteMax,
                                static_cast<double>(squares) / (kByteMax * kByteMax), count));
  }
  return moments;
}

// Per feature, in double, in the order of `train`. Two passes: features may have large means.
std::vector<Moments> FloatMoments(const Dataset& set, std::span<const std::uint32_t> train) {
  const std::size_t features = set.shape.count();
  const auto count = static_cast<double>(train.size());
  std::vector<double> means(features);
  std::vector<double> squares(features);
  for (const std::uint32_t sample : train) {
    for (std::size_t i = 0; i < features; ++i) means[i] += set.f32[sample * features + i];
  }
  for (double& mean : means) mean /= count;
  for (const std::uint32_t sample : train) {
    for (std::size_t i = 0; i < features; ++i) {
      const double distance = set.f32[sample * features + i] - means[i];
      squares[i] += distance * distance;
    }
  }
  std::vector<Moments> moments(features);
  for (std::size_t i = 0; i < features; ++i) {
    moments[i] = {means[i], MomentsOf(0.0, squares[i], count).deviation};
  }
  return moments;
}

// `options` are valid.
std::vector<Moments> GivenMoments(const NormalizationOptions& options, std::size_t channels) {
  const auto pick = [](const std::vector<double>& values, std::size_t channel, double otherwise) {
    if (values.empty()) return otherwise;
    return values.size() == 1 ? values[0] : values[channel];
  };
  std::vector<Moments> moments;
  for (std::size_t channel = 0; channel < channels; ++channel) {
    moments.push_back({pick(options.mean, channel, 0.0), pick(options.deviation, channel, 1.0)});
  }
  return moments;
}

}  // namespace

Status ValidateNormalization(const NormalizationOptions& options, std::size_t channels) {
  const std::size_t means = options.mean.size();
  const std::size_t deviations = options.deviation.size();
  if (options.from_training_samples && means + deviations > 0) {
    return InvalidArgument(
        "normalization: either given numbers or those of the training samples, not both");
  }
  const auto fits = [channels](std::size_t size) {
    return size == 0 || size == 1 || size == channels;
  };
  if (!fits(means) || !fits(deviations)) {
    return InvalidArgument("normalization: " + std::to_string(means) + " means and " +
                           std::to_string(deviations) + " deviations for " +
                           std::to_string(channels) +
                           " channels; give one for each channel or one for all");
  }
  const auto finite = [](double value) { return std::isfinite(value); };
  const auto positive = [](double value) { return std::isfinite(value) && value > 0.0; };
  if (!std::all_of(options.mean.begin(), options.mean.end(), finite) ||
      !std::all_of(options.deviation.begin(), options.deviation.end(), positive)) {
    return InvalidArgument("normalization: means must be finite and deviations positive");
  }
  return {};
}

Result<Normalization> Normalization::Create(const NormalizationOptions& options, const Dataset& set,
                                            std::span<const std::uint32_t> train) {
  MUSTER_RETURN_IF_ERROR(ValidateNormalization(options, set.shape.channels));
  const bool bytes = !set.u8.empty();
  std::vector<Moments> moments = GivenMoments(options, set.shape.channels);
  if (options.from_training_samples) {
    moments = bytes ? ByteMoments(set, train) : FloatMoments(set, train);
  }
  Normalization result;
  if (bytes) {
    for (const Moments& channel : moments) {
      for (int value = 0; value < 256; ++value) {
        const double scaled = (value / kByteMax - channel.mean) / channel.deviation;
        result.table_.push_back(static_cast<float>(scaled));
      }
    }
    return result;
  }
  const std::size_t repeat = set.shape.count() / moments.size();
  for (const Moments& feature : moments) {
    result.mean_.insert(result.mean_.end(), repeat, static_cast<float>(feature.mean));
    result.scale_.insert(result.scale_.end(), repeat, static_cast<float>(1.0 / feature.deviation));
  }
  return result;
}

void Normalization::Gather(const Dataset& set, std::span<const std::uint32_t> samples,
                           std::span<float> images, std::span<std::int32_t> labels,
                           std::span<const ImageMove> moves) const {
  const std::size_t count = set.shape.count();
  const std::size_t channels = set.shape.channels;
  const std::size_t pixels = count / channels;
  MUSTER_CHECK(images.size() == samples.size() * count && labels.size() == samples.size() &&
                   (moves.empty() || moves.size() == samples.size()),
               "room for each sample, and a move of each");
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::size_t sample = samples[i];
    labels[i] = set.labels[sample];
    float* image = images.data() + i * count;
    for (std::size_t channel = 0; channel < channels; ++channel) {
      const std::size_t first = channel * pixels;
      if (!table_.empty()) {
        const std::uint8_t* plane = set.u8.data() + sample * count + first;
        if (!moves.empty()) plane = MovedPlane(plane, set.shape, moves[i]);
        const float* table = table_.data() + channel * 256;
        for (std::size_t p = 0; p < pixels; ++p) image[p * channels + channel] = table[plane[p]];
        continue;
      }
      const float* plane = set.f32.data() + sample * count + first;
      if (!moves.empty()) plane = MovedPlane(plane, set.shape, moves[i]);
      for (std::size_t p = 0; p < pixels; ++p) {
        image[p * channels + channel] = (plane[p] - mean_[first + p]) * scale_[first + p];
      }
    }
  }
}

}  // namespace muster
