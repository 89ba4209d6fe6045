// A labelled data set in memory: what every format is read into.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "trainer/data/data_cache.h"

namespace muster {

// One sample's features: [channels, height, width]; a plain vector is [1, 1, width].
struct FeatureShape {
  std::size_t channels = 1;
  std::size_t height = 1;
  std::size_t width = 1;

  std::size_t count() const { return channels * height * width; }
  bool operator==(const FeatureShape&) const = default;
};
std::string ToString(const FeatureShape& shape);  // "1x28x28"

// Classes are numbered from 0; more than this are a mistake in the file.
constexpr std::int32_t kClassesMax = 1 << 20;

// Immutable once read; may be used from any thread, and copied cheaply but for its labels.
struct Dataset {
  std::size_t samples = 0;
  FeatureShape shape;
  std::int32_t classes = 0;                // Every label is in [0, classes).
  std::span<const std::uint8_t> u8;        // [samples, channels, height, width], or empty:
  std::span<const float> f32;              // exactly one of the two holds the features.
  std::vector<std::int32_t> labels;        // [samples]
  std::vector<std::string> feature_names;  // Of columns that a header names; otherwise none.
  std::string sha256;                      // Over the files' hashes and how they were read.
  std::vector<std::string> notes;          // For the job's log: what is worth a person's notice.
  std::vector<std::shared_ptr<const DataBytes>> owners;  // What the spans point into.
};

}  // namespace muster
