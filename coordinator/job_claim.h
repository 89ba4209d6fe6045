// A job as somebody names it who may reach all jobs, or own ones only.
#pragma once

#include <string>
#include <utility>

#include "base/status.h"
#include "coordinator/scheduler/types.h"

namespace muster::coordinator {

struct JobClaim {
  JobClaim(JobId job) : id(job) {}  // NOLINT: implicit by design. Anybody's.
  // Of `owner` only: the job of another is as one that does not exist. `scope` says so in a
  // refusal: "GetJob as ada (student) reaches own jobs only".
  JobClaim(JobId job, std::string owner, std::string why)
      : id(job), only_of(std::move(owner)), scope(std::move(why)) {}

  // One answer to both, so that it tells nobody which numbers others have.
  Status NoSuchJob() const {
    return NotFound("no job " + std::to_string(id) + (scope.empty() ? "" : ": " + scope));
  }

  JobId id;
  std::string only_of;  // Empty = anybody's.
  std::string scope;
  std::string worker{};  // Only what has ranks on it in its newest attempt; empty = any.
};

}  // namespace muster::coordinator
