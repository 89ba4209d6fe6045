// The job that a benchmark runs: the main one, which is built in, or a file.
#pragma once

#include <string>

#include "base/status.h"
#include "muster/v1/job.pb.h"

namespace muster::tools {

// What `job=` says for examples/jobs/fashion_cnn.toml, whose text the program holds.
inline constexpr const char* kMainJobName = "fashion_cnn";
extern const char* const kMainJobText;

struct BenchJob {
  std::string path;  // Of its file: `job`, or one in `folder`.
  v1::JobSpec spec;  // With defaults.
};

// Reads the job named by `job=` and looks at its data, by way of `cache_directory`. What cannot be
// run is kInvalidArgument, and says what is missing.
Result<BenchJob> LoadBenchJob(const std::string& job, const std::string& folder,
                              const std::string& cache_directory);

}  // namespace muster::tools
