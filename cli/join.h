// How a machine becomes a worker of a cluster whose coordinator runs elsewhere.
#pragma once

#include <string>

#include "base/status.h"

namespace muster::cli {

struct JoinArgs {
  std::string state;        // Of the worker; empty = the default one.
  unsigned number = 0;      // Of the agent on its host.
  std::string coordinator;  // "HOST:PORT", as named in the coordinator's certificate.
  std::string token_file;   // What `muster join-token` has printed.
  bool json = false;
};

// Makes a key, proves the token, and keeps what the agent needs in its folder. Asked again after an
// answer was lost it goes on where it was. kUnauthenticated for a token that does not count,
// kUnavailable when nobody answers or the coordinator's certificate is not the token's authority's.
Status JoinCluster(const JoinArgs& args);

}  // namespace muster::cli
