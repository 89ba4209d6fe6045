// Where a cluster's processes on one machine find each other: the layout of a state directory.
#pragma once

#include <string>

#include "base/status.h"

namespace muster::wire {

struct ClusterFiles {
  std::string state;  // Absolute.

  std::string address() const { return state + "/address"; }            // gRPC "host:port".
  std::string http_address() const { return state + "/http_address"; }  // "host:port".
  std::string user_token() const { return state + "/user.token"; }
  std::string worker_token() const { return state + "/worker.token"; }
  std::string up_lock() const { return state + "/up.lock"; }                    // `muster up`.
  std::string coordinator_lock() const { return state + "/coordinator.lock"; }  // Its process.
  std::string coordinator() const { return state + "/coordinator"; }  // Journal, logs, store.
  std::string coordinator_log() const { return state + "/coordinator.log"; }
  std::string workers() const { return state + "/workers"; }
  // One agent's: its lock, spool and staging.
  std::string worker(unsigned n) const { return workers() + "/" + std::to_string(n); }
  std::string worker_lock(unsigned n) const { return worker(n) + "/lock"; }
  std::string worker_log(unsigned n) const { return worker(n) + "/agent.log"; }
  std::string cache() const { return state + "/cache"; }
};

// MUSTER_STATE, else $XDG_STATE_HOME/muster, else ~/.local/state/muster; absolute.
std::string DefaultStateDirectory();

// The files of `state` (empty = the default one), made absolute.
ClusterFiles FilesOf(const std::string& state);

}  // namespace muster::wire
