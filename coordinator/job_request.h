// What the scheduler is told of a job, taken from its spec.
#pragma once

#include <cstdint>
#include <string>

#include "coordinator/journal/journal.h"
#include "coordinator/scheduler/types.h"
#include "muster/v1/job.pb.h"

namespace muster::coordinator {

// `spec` is filled in and valid.
JobRequest RequestOf(JobId id, const v1::JobSpec& spec);

// How long the job's attempts have been live, as the journal knows it; the live one until now.
Millis UsedMillis(const JournaledJob& job, std::int64_t wall_now_ms);

// The same bytes for the same spec always: protobuf writes maps in any order otherwise.
std::string SpecBytes(const v1::JobSpec& spec);

}  // namespace muster::coordinator
