// How the end of a rank's process is told: whose fault it was and why.
#pragma once

#include <optional>
#include <string>

#include "muster/v1/agent.pb.h"

namespace muster::agent {

struct ExitFacts {
  bool signaled = false;
  int status = 0;                      // Exit code, or the signal's number.
  std::optional<v1::RankExit> report;  // What the rank itself left behind.
  std::string last_log_line;           // Of its output; empty = none.
  std::string ended_because;           // Why the agent ended it for its own fault; else empty.
  std::uint64_t steps_done = 0;        // As last heard.
  bool disk_full = false;              // Of the agent's folder.
  bool machine_out_of_memory = false;  // The kernel killed it for lack of memory not its own.
};

// The agent's own reason wins, then the rank's own report; without either, SIGKILL, SIGTERM
// and a full disk count as infrastructure, any other end as the rank's own failure.
v1::RankExit JudgeExit(const ExitFacts& facts);

// "SIGSEGV"; "signal 40" for one without a name.
std::string SignalName(int signal);

}  // namespace muster::agent
