// What is looked at before a job is sent: `muster submit` and `muster run`.
#pragma once

#include <string>

#include "base/status.h"
#include "muster/v1/job.pb.h"

namespace muster::rank {

// Whether what the job (filled in) names is there and fits it, as far as this machine can see.
// Where the workers are `elsewhere`, they may see other files and have other memory: then only what
// is sent along is looked at, a plug-in. That runs in a process of its own; it cannot harm this
// one.
Status CheckJob(const v1::JobSpec& spec, const std::string& cache_directory, bool elsewhere);

}  // namespace muster::rank
