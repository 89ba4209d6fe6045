// Following a job to its end, for `submit --follow` and `run`.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "cli/session.h"

namespace muster::cli {

// Shows the job's progress on stderr until it has ended, and returns it then; its result goes to
// stderr too. kCancelled after session.Interrupt(), kUnavailable when the cluster stays away.
Result<v1::JobInfo> FollowJob(Session& session, std::uint64_t job_id);

}  // namespace muster::cli
