// Where a cluster's processes on one machine find each other: the layout of a state directory.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace muster::wire {

// What is kept of a coordinator's disk for its journal: with less free it takes no job.
inline constexpr std::uint64_t kJournalReserveBytes = 32U << 20U;

// Of an agent that has joined a coordinator on another machine.
struct WorkerFiles {
  std::string directory;

  std::string authority() const { return directory + "/authority.pem"; }
  std::string certificate() const { return directory + "/worker.pem"; }  // There = has joined.
  std::string key() const { return directory + "/worker.key"; }
  std::string name() const { return directory + "/name"; }
  std::string coordinator() const { return directory + "/coordinator"; }  // "HOST:PORT".
  std::string request() const { return directory + "/request.pem"; }      // While it joins.
  std::string next_key() const { return directory + "/next.key"; }        // While it joins.
};

struct ClusterFiles {
  std::string state;  // Absolute.

  std::string address() const { return state + "/address"; }            // gRPC "host:port".
  std::string http_address() const { return state + "/http_address"; }  // "host:port".
  std::string user_token() const { return state + "/user.token"; }
  std::string worker_token() const { return state + "/worker.token"; }
  std::string up_lock() const { return state + "/up.lock"; }                    // `muster up`.
  std::string coordinator_lock() const { return state + "/coordinator.lock"; }  // Its process.
  std::string coordinator() const { return state + "/coordinator"; }  // Journal, logs, store.
  // There while the last coordinator has stopped because it was asked to.
  std::string stopped() const { return state + "/coordinator.stopped"; }
  std::string coordinator_log() const { return state + "/coordinator.log"; }
  std::string workers() const { return state + "/workers"; }
  // One agent's: its lock, spool and staging.
  std::string worker(unsigned n) const { return workers() + "/" + std::to_string(n); }
  std::string worker_lock(unsigned n) const { return worker(n) + "/lock"; }
  std::string worker_http_address(unsigned n) const { return worker(n) + "/http_address"; }
  std::string worker_log(unsigned n) const { return worker(n) + "/agent.log"; }
  std::string cache() const { return state + "/cache"; }
  WorkerFiles joined(unsigned n) const { return {worker(n) + "/tls"}; }
  // For clusters of several machines. Clients need the authority's certificate alone.
  std::string tls() const { return state + "/tls"; }
  std::string authority() const { return tls() + "/authority.pem"; }
  std::string authority_key() const { return tls() + "/authority.key"; }
  std::string coordinator_certificate() const { return tls() + "/coordinator.pem"; }
  std::string coordinator_key() const { return tls() + "/coordinator.key"; }
};

// Where a server is, as its address file says: "HOST:PORT", and "tls" on a second line.
struct Endpoint {
  std::string address;
  bool tls = false;
};
Result<Endpoint> ReadEndpoint(const std::string& path);
Status WriteEndpoint(const std::string& path, const Endpoint& endpoint);

// MUSTER_STATE, else $XDG_STATE_HOME/muster, else ~/.local/state/muster; absolute.
std::string DefaultStateDirectory();

// The files of `state` (empty = the default one), made absolute.
ClusterFiles FilesOf(const std::string& state);

}  // namespace muster::wire
