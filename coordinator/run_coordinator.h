// The coordinator as a process: lock, journal, gRPC and HTTP servers, until it is told to stop.
#pragma once

#include <string>

#include "base/status.h"

namespace muster::coordinator {

struct RunOptions {
  std::string state;  // State directory (wire/cluster_files.h), absolute.
  std::string address =
      "127.0.0.1:7420";  // gRPC; with TLS beyond loopback. Port 0: the port it had last, or any.
  int http_port = 7421;  // On the same host; 0 likewise.
  std::int64_t worker_timeout_ms = 3'000;
  std::uint64_t store_bytes_max = 0;  // Of data; 0 = 80 % of the disk that is free at the start.
};

// Returns when SIGTERM or SIGINT arrives (OK), or with the error that kept it from serving:
// kAlreadyExists when another coordinator holds the state directory, kFailedPrecondition for an
// address beyond loopback when the state directory has no certificates, kUnavailable when a port is
// taken.
Status RunCoordinator(const RunOptions& options);

}  // namespace muster::coordinator
