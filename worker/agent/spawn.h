// Starts a rank's process: own session, nothing inherited, ends with the agent.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace muster::agent {

// The read end of the lifeline in the new process: end of file = the agent is gone.
inline constexpr int kLifelineDescriptor = 3;

struct SpawnOptions {
  std::string executable;
  std::vector<std::string> arguments;    // With argv[0].
  std::vector<std::string> environment;  // All of it: "NAME=value".
  std::string directory;                 // Where it starts.
  std::string log;                       // stdout and stderr are appended to this file.
  std::vector<int> cores;                // It may run on; empty = as the agent.
  std::string cgroup;                    // Folder of the cgroup it starts in; empty = the agent's.
};

struct Spawned {
  pid_t pid = 0;
  FileDescriptor pidfd;     // Readable once the process has ended.
  FileDescriptor lifeline;  // Closing it tells the rank that the agent is gone.
  Status cgroup;            // Why it runs in the agent's cgroup instead of its own.
};

// Call from one long-lived thread: the parent-death signal (SIGKILL) fires when the thread that
// called this ends. An executable that cannot be started is an error here, not an exit later.
Result<Spawned> Spawn(const SpawnOptions& options);

}  // namespace muster::agent
