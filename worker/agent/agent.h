// The worker agent: one per machine (or several, each with a number and a share of its cores).
// Registers with the coordinator, runs the ranks it is told to, forwards what they write, and
// leaves nothing of them behind.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "wire/client_call.h"
#include "wire/cluster_files.h"

namespace muster::agent {

struct AgentOptions {
  wire::ClusterFiles files;
  unsigned number = 0;           // Which worker of this state directory.
  std::string name;              // Empty = "<hostname>-<number>".
  std::uint32_t slots = 1;       // Ranks it can hold.
  std::vector<int> cores;        // Its share of the machine; empty = all it may run on.
  std::uint64_t memory_mib = 0;  // Its share of the machine; 0 = all there is.
  std::string coordinator;       // "host:port"; empty = read files.address() at every reconnect.
  std::string token;             // The worker token; empty for a worker that joined.
  wire::Security security;       // Of the way to `coordinator`, or to a local one that has TLS.
  std::string version;           // Of the program; the coordinator takes only its own.
  // What a rank is: EXECUTABLE ARGUMENTS... ASSIGNMENT.
  std::string rank_executable = "/proc/self/exe";
  std::vector<std::string> rank_arguments = {"rank"};
  std::chrono::milliseconds report_interval = std::chrono::milliseconds(500);
  std::chrono::milliseconds spool_poll = std::chrono::milliseconds(20);
  std::chrono::milliseconds orphan_timeout = std::chrono::minutes(10);
  // When it is asked to end: how long its ranks have to stop with a checkpoint.
  std::chrono::milliseconds leave = std::chrono::seconds(60);
  std::uint64_t data_bytes_max = std::uint64_t{20} << 30U;  // Of the cache of the cluster's data.
  std::string interface;  // Of gloo; empty = the one that leads to the coordinator.
  // "HOST:PORT" of /metrics and /healthz; empty = none. Beyond loopback only for one that joined.
  std::string http_listen;
};

// Runs until `stop` (an eventfd or the read end of a pipe) is readable, then has its ranks stop
// with a checkpoint and ends those that have not in time. Takes
// the calling thread, whose end would end the ranks, and all children of the process: it becomes a
// child subreaper. kAlreadyExists when another agent runs on the same worker directory. A
// coordinator that is away or refuses is no error: it is asked again, for ever.
Status RunAgent(const AgentOptions& options, int stop);

}  // namespace muster::agent
