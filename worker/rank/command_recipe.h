// [command]: any program as a rank of the job.
#pragma once

#include "muster/v1/agent.pb.h"
#include "worker/rank/agent_client.h"
#include "worker/rank/exit_report.h"

namespace muster::rank {

// Meets the other ranks, starts the program, passes on signals (the agent's SIGTERM, the warning
// before the time limit), publishes what it leaves in its checkpoint folder, and returns how it
// ended. A program killed by SIGKILL takes this process along in the same way: whose doing that was
// the agent judges. Call from the main thread, once.
RankEnd RunCommand(const v1::RankAssignment& assignment, AgentClient& agent);

}  // namespace muster::rank
