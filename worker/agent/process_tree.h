// Which processes belong to a rank, found in /proc, and what a rank leaves in shared memory.
//
// A rank may fork, leave its session and clear its environment. The agent is a child subreaper, so
// whatever a rank starts stays below the agent; what cannot be given to another live rank counts as
// part of the one that ends.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace muster::agent {

// The environment variable that marks every process of a rank:
// "<agent's tag>/<job>/<attempt>/<rank>".
inline constexpr const char* kAttemptVariable = "MUSTER_ATTEMPT";

struct ProcessInfo {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  char state = '?';
  int threads = 0;

  // A zombie has ended, unless other threads of it go on.
  bool alive() const { return (state != 'Z' && state != 'X') || threads > 1; }
};

// All processes that this one can see; one that ends meanwhile may be missing.
std::vector<ProcessInfo> ListProcesses();

// The value of `name` in the environment that process `pid` was started with; empty when it has
// none or may not be read.
std::string EnvironmentOf(pid_t pid, const std::string& name);

// `processes` whose ancestors include `ancestor`, without it.
std::vector<ProcessInfo> DescendantsOf(const std::vector<ProcessInfo>& processes, pid_t ancestor);

struct RankTree {
  pid_t agent = 0;                    // The subreaper.
  pid_t root = 0;                     // The rank's first process; it may be a zombie.
  std::string tag;                    // Its MUSTER_ATTEMPT.
  std::map<pid_t, std::string> live;  // First process -> tag of the agent's other live ranks.
};

// What is alive of `tree` among `processes`.
std::vector<ProcessInfo> ProcessesOf(const RankTree& tree,
                                     const std::vector<ProcessInfo>& processes);

// Ends every process whose MUSTER_ATTEMPT starts with `tag` or that holds a file whose path starts
// with `files` open for writing (its output still goes there), and their descendants; returns when
// two scans in a row find none. Returns how many there were. Never the calling process. For what an
// agent that was killed left behind: it is no longer below any agent, so one that has cleared its
// environment and closed its output too is not found.
int EndTagged(const std::string& tag, const std::string& files);

// Removes what /dev/shm holds under names that start with `prefix` (non-empty). Mappings stay
// valid. Returns how many there were.
int RemoveSharedMemory(const std::string& prefix);

}  // namespace muster::agent
