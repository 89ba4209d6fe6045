// What `submit` and `run` do before anything is sent.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "cli/hooks.h"

namespace muster::cli {

// Reads a job file, applies overrides, validates, and looks at its data by hooks.check_job. The
// spec is as given, without defaults: the coordinator fills them in.
Result<v1::JobSpec> LoadAndCheckJob(const std::string& path,
                                    const std::vector<std::string>& overrides, const Hooks& hooks,
                                    const std::string& cache_directory);

}  // namespace muster::cli
