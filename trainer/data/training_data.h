// The data of a supervised job: files named in it, read, checked and split.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "trainer/data/csv_file.h"
#include "trainer/data/data_order.h"
#include "trainer/data/dataset.h"
#include "trainer/data/idx_file.h"
#include "trainer/data/normalization.h"

namespace muster {

// Exactly one of `train_idx` and `train_csv` is given, and the test set, if any, in the same
// format.
struct DataOptions {
  std::optional<IdxOptions> train_idx;
  std::optional<IdxOptions> test_idx;
  std::optional<CsvOptions> train_csv;
  std::optional<CsvOptions> test_csv;

  // Taken from the training set: a count, or a fraction in [0, 1) rounded down. Not both.
  std::uint32_t validation_samples = 0;
  double validation_fraction = 0.0;

  NormalizationOptions normalization;
  std::string cache_directory;  // See DataCacheOptions. Empty: no cache.
};

struct TrainingData {
  Dataset train;  // The whole training file: `split` says what of it is validation.
  std::optional<Dataset> test;
  std::uint32_t validation_samples = 0;
  std::string sha256;              // Of all files together, and how they were read.
  std::vector<std::string> notes;  // For the job's log.
};

// What a job's data are, as told at submit time.
struct DataSummary {
  std::size_t train_samples = 0;  // Without those of validation.
  std::size_t validation_samples = 0;
  std::size_t test_samples = 0;
  FeatureShape shape;
  std::int32_t classes = 0;
  std::string sha256;
};

// Reads and checks everything: formats, sizes, ranges of labels, and that the test set has the
// training set's shape and no class beyond its classes. Errors name file and byte, or file, line
// and column. Files that the cache has seen cost maps and a look at the labels: below 1 ms for
// 60,000 images. Takes no memory for what is not kept anyway.
Result<TrainingData> ReadTrainingData(const DataOptions& options);

DataSummary SummaryOf(const TrainingData& data);

// The same check, for submit time.
Result<DataSummary> InspectData(const DataOptions& options);

}  // namespace muster
