#include "trainer/data/training_data.h"

#include <utility>

#include "base/sha256.h"

namespace muster {
namespace {

Status CheckOptions(const DataOptions& options) {
  if (options.train_idx.has_value() == options.train_csv.has_value()) {
    return InvalidArgument("data: give the training set as IDX files or as a CSV file");
  }
  if ((options.test_idx && !options.train_idx) || (options.test_csv && !options.train_csv)) {
    return InvalidArgument("data: the test set must have the training set's format");
  }
  if (!(options.validation_fraction >= 0.0 && options.validation_fraction < 1.0)) {
    return InvalidArgument("data: validation_fraction must be at least 0 and below 1");
  }
  if (options.validation_fraction > 0.0 && options.validation_samples > 0) {
    return InvalidArgument("data: give validation_samples or validation_fraction, not both");
  }
  return {};
}

Result<std::uint32_t> ValidationSamples(const DataOptions& options, const Dataset& train) {
  if (train.samples > UINT32_MAX) {
    return InvalidArgument("data: " + std::to_string(train.samples) +
                           " training samples; the most is 2^32 - 1");
  }
  const std::uint64_t wanted = options.validation_samples > 0
                                   ? options.validation_samples
                                   : static_cast<std::uint64_t>(options.validation_fraction *
                                                                static_cast<double>(train.samples));
  if (wanted >= train.samples) {
    return InvalidArgument("data: " + std::to_string(wanted) + " validation samples of " +
                           std::to_string(train.samples) + " leave none to train on");
  }
  return static_cast<std::uint32_t>(wanted);
}

// The label's column is found by its name, so that the others could come in another order
// unnoticed.
Status CheckNames(const std::string& path, const Dataset& test, const Dataset& train) {
  for (std::size_t i = 0; i < test.feature_names.size(); ++i) {
    if (test.feature_names[i] == train.feature_names[i]) continue;
    return InvalidArgument(path + ":1: feature " + std::to_string(i + 1) + " is " +
                           Quoted(test.feature_names[i]) + ", that of the training set " +
                           Quoted(train.feature_names[i]) +
                           "; columns must have the same order and names");
  }
  return {};
}

// A test set must look like the training set, whose classes it takes over.
Result<Dataset> ReadTest(DataCache& cache, const DataOptions& options, const Dataset& train) {
  std::string path;
  Dataset test;
  if (options.test_idx) {
    IdxOptions files = *options.test_idx;
    files.classes = train.classes;
    path = files.images;
    MUSTER_ASSIGN_OR_RETURN(test, ReadIdx(cache, files));
  } else {
    CsvOptions file = *options.test_csv;
    file.classes = train.classes;
    path = file.path;
    MUSTER_ASSIGN_OR_RETURN(test, ReadCsv(cache, file));
  }
  if (test.shape != train.shape) {
    return InvalidArgument(path + ": samples are " + ToString(test.shape) +
                           ", those of the training set " + ToString(train.shape));
  }
  if (!train.feature_names.empty()) MUSTER_RETURN_IF_ERROR(CheckNames(path, test, train));
  return test;
}

}  // namespace

Result<TrainingData> ReadTrainingData(const DataOptions& options) {
  MUSTER_RETURN_IF_ERROR(CheckOptions(options));
  DataCache cache(DataCacheOptions{options.cache_directory});
  TrainingData data;
  MUSTER_ASSIGN_OR_RETURN(data.train, options.train_idx ? ReadIdx(cache, *options.train_idx)
                                                        : ReadCsv(cache, *options.train_csv));
  MUSTER_ASSIGN_OR_RETURN(data.validation_samples, ValidationSamples(options, data.train));
  data.notes = data.train.notes;
  std::string everything = data.train.sha256 + " " + ToString(data.train.shape);
  if (options.test_idx || options.test_csv) {
    MUSTER_ASSIGN_OR_RETURN(data.test, ReadTest(cache, options, data.train));
    everything += " " + data.test->sha256;
    data.notes.insert(data.notes.end(), data.test->notes.begin(), data.test->notes.end());
  }
  data.sha256 = Sha256Of(everything);
  return data;
}

DataSummary SummaryOf(const TrainingData& data) {
  DataSummary summary;
  summary.validation_samples = data.validation_samples;
  summary.train_samples = data.train.samples - data.validation_samples;
  summary.test_samples = data.test ? data.test->samples : 0;
  summary.shape = data.train.shape;
  summary.classes = data.train.classes;
  summary.sha256 = data.sha256;
  return summary;
}

Result<DataSummary> InspectData(const DataOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const TrainingData data, ReadTrainingData(options));
  // Also what is only known once the shape is: a list of means that fits no channel.
  MUSTER_RETURN_IF_ERROR(ValidateNormalization(options.normalization, data.train.shape.channels));
  return SummaryOf(data);
}

}  // namespace muster
