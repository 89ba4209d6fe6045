// A TCP port that programs of this host's jobs do not get in each other's way with.
#pragma once

#include <string>

#include "base/file.h"
#include "base/status.h"

namespace muster::rank {

// Holds a port until it goes: no other ReservedPort on this host gets it, but nothing is bound to
// it, so that the job's own program can listen there. Programs that are no ranks and ask for just
// this port may still take it; those that ask for any do not, since it lies outside of the range
// that the kernel deals from, where there is such a port.
class ReservedPort {
 public:
  // `folder` is shared by all users of the host and made when it is missing; a file in it locks a
  // port. `seed` spreads where different jobs begin to look. kUnavailable when no port is free.
  static Result<ReservedPort> Acquire(const std::string& folder, std::uint64_t seed);

  int port() const { return port_; }

 private:
  ReservedPort(int port, FileDescriptor lock) : port_(port), lock_(std::move(lock)) {}

  int port_ = 0;
  FileDescriptor lock_;  // flock: ends with the process.
};

inline constexpr const char* kPortFolder = "/tmp/.muster-ports";

}  // namespace muster::rank
