// Client side of a call: the token and a deadline on every request, and our Status back.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/status.h"
#include "wire/grpc_status.h"

namespace muster::wire {

// How a connection is secured, in PEM. Without an authority nothing is: for this machine only.
struct Security {
  std::string authority;    // Trusted alone; the server's name must be in its certificate.
  std::string certificate;  // Of this client, with its key; people have none.
  std::string key;
};

// A channel to "host:port" or "unix:PATH"; connects on first use, reconnects within a second.
// Messages of up to 64 MiB.
std::shared_ptr<grpc::Channel> Connect(const std::string& address, const Security& security = {});

// Adds `authorization: Bearer TOKEN`; nothing for an empty token.
void Authenticate(grpc::ClientContext& context, const std::string& token);

// Calls `method` of `stub` with a deadline from now.
template <class Stub, class Request, class Response>
Status Call(Stub& stub,
            grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
            const std::string& token, const Request& request, Response& response,
            std::chrono::milliseconds deadline) {
  grpc::ClientContext context;
  Authenticate(context, token);
  context.set_deadline(std::chrono::system_clock::now() + deadline);
  return FromGrpc((stub.*method)(&context, request, &response));
}

}  // namespace muster::wire
