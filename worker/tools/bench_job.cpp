#include "worker/tools/bench_job.h"

#include "base/file.h"
#include "wire/job_file.h"
#include "worker/rank/recipes.h"

namespace muster::tools {

Result<BenchJob> LoadBenchJob(const std::string& job, const std::string& folder,
                              const std::string& cache_directory) {
  const bool built_in = job == kMainJobName;
  BenchJob loaded;
  loaded.path = built_in ? folder + "/job.toml" : job;
  if (built_in) MUSTER_RETURN_IF_ERROR(WriteFileAtomically(loaded.path, kMainJobText));
  const std::string shown = built_in ? std::string("the built-in job ") + kMainJobName : job;
  Result<v1::JobSpec> spec = wire::LoadJobFile(loaded.path, {});
  if (!spec.ok()) return InvalidArgument(spec.status().message());
  loaded.spec = std::move(*spec);
  wire::FillDefaults(loaded.spec);
  MUSTER_RETURN_IF_ERROR(MakeDirectories(cache_directory, 0700));
  const Status planned = rank::PlanRecipe(loaded.spec, cache_directory).status();
  if (planned.ok()) return loaded;
  return InvalidArgument(shown + ": " + planned.message() +
                         (built_in ? "; install Debian's package dataset-fashion-mnist, or give "
                                     "another job with job=FILE"
                                   : ""));
}

}  // namespace muster::tools
