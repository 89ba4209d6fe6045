// The way to the coordinator: where it is now, when it was last heard of, and calls that end when
// the agent does.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/status.h"
#include "muster/v1/agent.grpc.pb.h"
#include "wire/client_call.h"

namespace muster::agent {

// All functions are thread-safe.
class CoordinatorLink {
 public:
  using Stub = v1::AgentService::Stub;

  // `address` "host:port", or the file that holds it, which is read at every Connect.
  CoordinatorLink(std::string address, std::string address_file, std::string token,
                  wire::Security security);

  // Makes new channels to where the coordinator is now. kNotFound when nobody has said where.
  Status Connect();
  // For small, urgent calls; null before the first Connect.
  std::shared_ptr<Stub> control() const;
  // For bulk: a connection of its own, so that it does not hold up the other.
  std::shared_ptr<Stub> bulk() const;
  // The bulk connection, for services other than the agent's.
  std::shared_ptr<grpc::Channel> bulk_channel() const;
  const std::string& token() const { return token_; }

  // An answer came from the coordinator, be it an error of its own.
  void Heard();
  std::chrono::milliseconds Silence() const;
  // The coordinator has answered a report that was made at `asked`. What ranks live by: it knows
  // of that report, while other answers say nothing of what it has heard of the worker.
  void Answered(std::chrono::steady_clock::time_point asked);
  std::chrono::milliseconds SinceAnswered() const;
  // Whether this error may be answered otherwise a little later: the coordinator is away.
  static bool IsAway(StatusCode code);

  // Cancels all calls, now and later.
  void Stop();
  bool stopped() const { return stopped_; }
  // Waits; false when stopped.
  bool Pause(std::chrono::milliseconds time);

  // A client context with the token, cancelled by Stop.
  class Context {
   public:
    explicit Context(CoordinatorLink& link);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    grpc::ClientContext& operator*() { return context_; }
    grpc::ClientContext* operator->() { return &context_; }
    void SetDeadline(std::chrono::milliseconds from_now);

   private:
    CoordinatorLink& link_;
    grpc::ClientContext context_;
  };

  // A call without a stream on the bulk (`urgent`: control) channel.
  template <class Request, class Response>
  Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
              bool urgent, const Request& request, Response& response,
              std::chrono::milliseconds deadline) {
    const std::shared_ptr<Stub> stub = urgent ? control() : bulk();
    if (stub == nullptr) return Unavailable("the coordinator's address is not known yet");
    Context context(*this);
    context.SetDeadline(deadline);
    return Finish((*stub.*method)(&*context, request, &response));
  }
  // Our Status for `status`; notes a sign of life in it.
  Status Finish(const grpc::Status& status);

 private:
  const std::string address_;
  const std::string address_file_;
  const std::string token_;
  const wire::Security security_;
  mutable std::mutex mutex_;
  std::condition_variable stop_signal_;
  std::shared_ptr<Stub> control_, bulk_;
  std::shared_ptr<grpc::Channel> bulk_channel_;
  std::set<grpc::ClientContext*> active_;
  std::atomic<std::chrono::steady_clock::rep> heard_;
  std::atomic<std::chrono::steady_clock::rep> answered_;
  std::atomic<bool> stopped_ = false;
};

}  // namespace muster::agent
