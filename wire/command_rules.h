// What a [command] and a [time_limit] may hold, beyond the rules of their single fields.
#pragma once

#include <string>

#include "muster/v1/job.pb.h"
#include "wire/job_file.h"

namespace muster::wire {

SpecProblem CommandProblem(const v1::CommandRecipe& command);
SpecProblem TimeLimitProblem(const v1::TimeLimit& limit);

// True for variables that Muster sets itself: MUSTER_..., RANK, WORLD_SIZE and their like.
bool IsReservedVariable(const std::string& name);

// The number of "SIGUSR1", "SIGUSR2", "SIGTERM" or "SIGINT"; 0 for any other text.
int WarningSignalOf(const std::string& name);

}  // namespace muster::wire
