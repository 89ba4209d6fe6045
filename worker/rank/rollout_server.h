// The learner's side of rollouts that others collect: a gRPC server in each learner's rank.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "trainer/rl/remote_rollouts.h"

namespace muster::rank {

struct RolloutServerOptions {
  std::string host = "127.0.0.1";  // Where to listen; a port is chosen.
  std::size_t lanes = 1;           // Of this rank: they are dealt out evenly.
  bool asynchronous = false;       // Rollouts are taken as they come.
  // Who comes and goes, in a sentence, from any thread; may be empty.
  std::function<void(const std::string&)> note{};
};

// A worker that dies, hangs (it answers no ping for some seconds) or is cut off loses nothing: its
// tasks are given to others, or back to the trainer. A lane goes to the worker that had it last
// while the load allows it, which then needs no state sent.
class RolloutServer : public rl::RemoteRollouts {
 public:
  // kUnavailable when it cannot listen.
  static Result<std::unique_ptr<RolloutServer>> Start(const RolloutServerOptions& options);

  // "HOST:PORT SECRET", for the rendezvous of the attempt: who has it may attend.
  virtual std::string Invitation() const = 0;
};

// The key of a rank's invitation.
std::string InvitationKey(std::uint32_t rank);

}  // namespace muster::rank
