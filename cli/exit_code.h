// The program's exit codes, and how an error is told.
#pragma once

#include "base/status.h"
#include "muster/v1/cluster.pb.h"

namespace muster::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitJobFailed = 1,       // By its own fault.
  kExitUsage = 2,           // Wrong arguments, an invalid job, a thing that does not exist.
  kExitUnreachable = 3,     // No cluster answers.
  kExitNotAllowed = 4,      // No valid token, or not for this role.
  kExitInfrastructure = 5,  // The cluster failed, after all retries.
  kExitCancelled = 6,
  kExitInterrupted = 130,
};

int ExitCodeOf(const Status& status);

// Of a job that has ended.
int VerdictOf(const v1::JobInfo& job);
bool HasEnded(const v1::JobInfo& job);

// Prints "muster: MESSAGE" to stderr unless the status is OK; returns its exit code.
int Report(const Status& status);

}  // namespace muster::cli
