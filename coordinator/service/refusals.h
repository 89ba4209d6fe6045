// Answers that end a call before it has begun.
#pragma once

#include <grpcpp/support/server_callback.h>

#include "base/status.h"
#include "wire/grpc_status.h"

namespace muster::coordinator {

inline grpc::ServerUnaryReactor* Refuse(grpc::ServerUnaryReactor* reactor, const Status& status) {
  reactor->Finish(wire::ToGrpc(status));
  return reactor;
}

template <class Message>
class RefusedStream final : public grpc::ServerWriteReactor<Message> {
 public:
  explicit RefusedStream(const Status& status) { this->Finish(wire::ToGrpc(status)); }
  void OnDone() override { delete this; }
};

template <class Message>
class RefusedUpload final : public grpc::ServerReadReactor<Message> {
 public:
  explicit RefusedUpload(const Status& status) { this->Finish(wire::ToGrpc(status)); }
  void OnDone() override { delete this; }
};

template <class In, class Out>
class RefusedBidi final : public grpc::ServerBidiReactor<In, Out> {
 public:
  explicit RefusedBidi(const Status& status) { this->Finish(wire::ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace muster::coordinator
