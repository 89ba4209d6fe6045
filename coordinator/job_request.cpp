#include "coordinator/job_request.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>

#include "wire/policy_rules.h"

namespace muster::coordinator {

JobRequest RequestOf(JobId id, const v1::JobSpec& spec) {
  JobRequest request;
  request.id = id;
  request.ranks = spec.resources().ranks();
  request.failures_max = spec.restart().failures_max();
  request.memory_mib_per_rank = spec.resources().memory_mib_per_rank();
  request.fenced = !spec.has_command();
  request.helpers = wire::CollectsRollouts(spec) ? spec.resources().rollout_workers() : 0;
  request.helpers_anywhere = spec.ppo().rollout_numerics() == v1::ROLLOUT_NUMERICS_ANY;
  const v1::TimeLimit& limit = spec.time_limit();
  request.time_limit_ms = static_cast<Millis>(limit.seconds()) * 1'000;
  request.warning_ms =
      std::min(static_cast<Millis>(limit.warning_seconds()) * 1'000, request.time_limit_ms / 2);
  return request;
}

Millis UsedMillis(const JournaledJob& job, std::int64_t wall_now_ms) {
  Millis used_ms = 0;
  for (const JournaledAttempt& attempt : job.attempts) {
    const bool live = job.restored.attempt_live && attempt.number == job.restored.attempt;
    const std::int64_t end_ms = live ? wall_now_ms : attempt.ended_ms;
    // A clock that was set back must not give time away, nor an attempt without an end take any.
    used_ms += std::max<std::int64_t>(end_ms - attempt.started_ms, 0);
  }
  return used_ms;
}

std::string SpecBytes(const v1::JobSpec& spec) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  {
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    spec.SerializeToCodedStream(&coded);
  }
  return bytes;
}

}  // namespace muster::coordinator
