// A server stream that is produced on demand: one message is written at a time, and whoever has
// news calls Wake.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "base/status.h"
#include "coordinator/event_loop.h"
#include "coordinator/service/access.h"
#include "wire/grpc_status.h"

namespace muster::coordinator {

// Owns itself from Begin until gRPC is done with it. Produce runs on the readers' loop only.
template <class Message>
class WriteStream : public grpc::ServerWriteReactor<Message>,
                    public std::enable_shared_from_this<WriteStream<Message>> {
 public:
  // Makes a Stream for the caller and starts producing.
  template <class Stream, class... Arguments>
  static Stream* Begin(EventLoop& readers, const Access& access, Caller caller,
                       Arguments&&... arguments) {
    auto stream = std::make_shared<Stream>(std::forward<Arguments>(arguments)...);
    stream->readers_ = &readers;
    stream->access_ = &access;
    stream->caller_ = std::move(caller);
    stream->self_ = stream;
    if (stream->caller_.seat != nullptr) {
      stream->caller_.seat->OnEnd([weak = stream->weak_from_this()](const Status& status) {
        if (const auto still = weak.lock()) still->End(status);
      });
    }
    static_cast<WriteStream*>(stream.get())->Start();
    return stream.get();
  }

  // Has the next message produced, unless one is being written. From any thread.
  void Wake() {
    const bool posted = readers_->Post([weak = this->weak_from_this()] {
      if (const auto stream = weak.lock()) stream->Pump();
    });
    if (!posted) End({StatusCode::kUnavailable, "the coordinator is shutting down, or busy"});
  }

  // Finishes the stream once; later messages are not written.
  void End(const Status& status) {
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      ended_ = true;
    }
    access_->Record(caller_, job_, status);
    this->Finish(wire::ToGrpc(status));
  }

  void OnWriteDone(bool ok) override {
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
    }
    if (ok) {
      Wake();
    } else {
      End(Status(StatusCode::kCancelled, "the client has gone"));
    }
  }
  void OnCancel() override { End(Status(StatusCode::kCancelled, "the client has gone")); }
  void OnDone() override {
    Gone();
    self_.reset();
  }

 protected:
  enum class Next : std::uint8_t { kWrite, kWait };
  // First call, on the thread of the request: arrange for Wake or End.
  virtual void Start() { Wake(); }
  // Fills `message`, or arranges for a later Wake, or calls End and returns kWait.
  virtual Next Produce(Message& message) = 0;
  // The stream is over.
  virtual void Gone() {}
  // The job that the stream is about, as its caller may name it.
  JobClaim Claim(JobId job) {
    job_ = job;
    return caller_.Claim(job);
  }

 private:
  void Pump() {
    {
      const std::lock_guard lock(mutex_);
      if (ended_ || writing_) return;
    }
    message_.Clear();
    if (Produce(message_) == Next::kWait) return;
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      writing_ = true;
    }
    this->StartWrite(&message_);
  }

  EventLoop* readers_ = nullptr;
  const Access* access_ = nullptr;
  Caller caller_;
  std::atomic<JobId> job_ = 0;
  std::shared_ptr<WriteStream> self_;
  std::mutex mutex_;
  bool writing_ = false;
  bool ended_ = false;
  Message message_;
};

}  // namespace muster::coordinator
