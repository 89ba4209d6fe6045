// One control group (cgroup v2) per rank: the kernel's own list of what a rank has started.
//
// A process cannot leave it by forking, by leaving its session or by clearing its environment, and
// cgroup.kill ends all of it at once, also what is being forked. Used where this process may write
// to its part of the hierarchy; elsewhere /proc is searched (process_tree.h), which is done
// afterwards in any case. Reference: Linux, Documentation/admin-guide/cgroup-v2.rst.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "worker/agent/rank_key.h"

namespace muster::agent {

// The folder of this process's cgroup, from the text of /proc/self/mountinfo and /proc/self/cgroup;
// kFailedPrecondition when there is no cgroup2 mount that shows it.
Result<std::string> FindOwnCgroup(const std::string& mountinfo, const std::string& cgroup);

// Moves this process from cgroup `path` to one below it, which lets `path` have controllers for its
// children. For a service manager's unit: kFailedPrecondition when others are in it too.
Status StepDown(const std::string& path);

// From memory.events: how often the group was at its own limit with nothing to reclaim, and how
// many of its processes the kernel killed for lack of memory, its own or the machine's.
struct MemoryEvents {
  std::uint64_t at_limit = 0;
  std::uint64_t killed = 0;
};
MemoryEvents ParseMemoryEvents(const std::string& text);

// Ends every cgroup in the folder `parent` whose name starts with `prefix` and removes it with all
// below it, unless it holds the calling process. Waits at most `patience` for each to empty; one
// that does not is left. Returns how many were removed. Does nothing outside a cgroup2 file system.
int EndCgroups(const std::string& parent, const std::string& prefix,
               std::chrono::milliseconds patience = std::chrono::seconds(5));

// One rank's; a default one is none: it holds nothing and needs nothing done. Not thread-safe.
class RankCgroup {
 public:
  RankCgroup() = default;

  bool exists() const { return !path_.empty(); }
  const std::string& path() const { return path_; }
  // Whether the kernel keeps the rank to its limit.
  bool limits_memory() const { return limits_memory_; }
  MemoryEvents memory_events() const;
  // SIGKILL to all of it; returns at once.
  void Kill() const;
  // Whether something in it is alive; zombies are not.
  bool Populated() const;
  // Removes it, and what the rank made below it; an error when something in it is alive.
  Status Remove();

 private:
  friend class RankCgroups;
  std::string path_;
  bool limits_memory_ = false;
};

// Where the cgroups of an agent's ranks are: below the agent's own. Not thread-safe.
class RankCgroups {
 public:
  RankCgroups() = default;  // Nowhere: Make makes none.

  // Tries it out for real with a cgroup of its own; the error tells what is missing. `tag`: the
  // agent's alone.
  static Result<RankCgroups> Detect(const std::string& tag);

  const std::string& parent() const { return parent_; }
  // Why the kernel does not keep ranks to their memory; empty when it does.
  const std::string& no_memory_limit() const { return no_memory_limit_; }
  // "muster-<tag>-": how the names of the agent's cgroups start.
  static std::string Prefix(const std::string& tag) { return "muster-" + tag + "-"; }

  // An empty cgroup for the rank; none when there is nowhere to make it. It may hold
  // `memory_mib_max`, 0 = any amount.
  Result<RankCgroup> Make(const RankKey& rank, std::uint64_t memory_mib_max) const;

 private:
  std::string parent_;
  std::string prefix_;
  std::string no_memory_limit_;
};

}  // namespace muster::agent
