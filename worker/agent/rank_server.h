// RankService: how the ranks of this agent reach it, and the coordinator through it.
#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "muster/v1/agent.grpc.pb.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/spool_forwarder.h"

namespace muster::agent {

class RankServer {
 public:
  using OnBeat = std::function<bool(const v1::BeatRequest&)>;

  // Makes a folder that only this user can enter and listens on a Unix socket in it.
  // `remembered_in`: a file that keeps the folder's name, so that the next agent removes it.
  static Result<std::unique_ptr<RankServer>> Start(CoordinatorLink& link, SpoolForwarder& spool,
                                                   OnBeat on_beat,
                                                   const std::string& remembered_in);
  // After link.Stop(); ends calls that are running.
  ~RankServer();

  // "unix:PATH".
  const std::string& address() const { return address_; }

 private:
  class Service;
  RankServer();

  std::string folder_;
  std::string address_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace muster::agent
