// GlooMesh: Gloo's connections between all ranks, with errors that name the rank.
//
// Gloo matches messages by slot and takes data of the wrong size for a fatal error, so every call
// begins with a first message of known size that names the call; its receive is posted before the
// call, so that it arrives without a round trip. Only for collectives/gloo.
#pragma once

#include <gloo/common/error.h>
#include <gloo/context.h>
#include <gloo/transport/unbound_buffer.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collectives/group.h"

namespace muster {

class GlooMesh {
 public:
  using Buffer = std::unique_ptr<gloo::transport::UnboundBuffer>;
  // Row p goes to (comes from) rank p; nullptr: nothing does.
  using RowTo = std::function<const std::byte*(std::size_t)>;
  using RowFrom = std::function<std::byte*(std::size_t)>;

  // Ends a call from deep inside; caught in Guarded.
  struct Failed {
    Status status;
  };

  // What a call's first message may carry beside the call itself.
  static constexpr std::size_t kRiderBytes = 4096;

  // `context` is connected. Posts the receives of the first call.
  GlooMesh(std::size_t rank, std::size_t size, std::chrono::milliseconds timeout,
           std::shared_ptr<gloo::Context> context);

  const std::shared_ptr<gloo::Context>& context() const { return context_; }

  // Runs a call's body; whatever Gloo or this class throws becomes its Status.
  template <class Body>
  static Status Guarded(const CollectiveCall& call, const Body& body) {
    try {
      body();
      return {};
    } catch (const Failed& failed) {
      return failed.status;
    } catch (const gloo::Exception& error) {
      return Unavailable(call.Describe() + ": " + Reason(error));
    }
  }

  // Exchanges first messages and checks that all peers make this call. Rows of up to kRiderBytes
  // bytes travel with them. Returns the bytes of rows sent. Throws Failed.
  std::size_t Meet(const CollectiveCall& call, const RowTo& to, const RowFrom& from);

  Buffer Wrap(const void* memory, std::size_t bytes) const {
    return context_->createUnboundBuffer(const_cast<void*>(memory), bytes);
  }
  // Starts a transfer from or to `peer`; an error is that peer's. Throws Failed.
  template <class Body>
  void Post(const CollectiveCall& call, std::size_t peer, const Body& body) const {
    try {
      body(static_cast<int>(peer));
    } catch (const gloo::Exception& error) {
      throw Failed{StatusOf(call, peer, error)};
    }
  }
  // Wait for one transfer with `peer`. Throw Failed.
  void WaitReceive(const CollectiveCall& call, const Buffer& buffer, std::size_t peer) const;
  // Where a failure is on its way already (not `must`) it need not succeed, only give the data a
  // chance to leave.
  void WaitSend(const CollectiveCall& call, const Buffer& buffer, std::size_t peer,
                bool must = true) const;

  // Every rank begins with its neighbour, so that not all talk to rank 0 at once.
  template <class Body>
  void ForPeers(const Body& body) const {
    for (std::size_t i = 1; i < size_; ++i) body((rank_ + i) % size_);
  }

  // Slots of a collective call's and of a message's transfers. The top byte keeps them apart from
  // each other and from those of Gloo's own collectives.
  static std::uint64_t CollectiveSlot(std::uint64_t sequence, std::uint64_t phase) {
    return std::uint64_t{0x40} << 56U | (sequence & 0xffffffffffU) << 16U | (phase & 0xffffU);
  }
  static std::uint64_t MessageSlot(std::uint64_t sequence, std::uint64_t phase) {
    return std::uint64_t{0x41} << 56U | (sequence & 0xffffffffffU) << 16U | (phase & 0xffffU);
  }

  static bool IsTimeout(const std::exception& error);
  // "[file:line] Connection closed by peer [address]" without the file.
  static std::string Reason(const std::exception& error);

 private:
  static constexpr std::size_t kFirstBytes = sizeof(CollectiveCall) + kRiderBytes;

  // Where the next call's first message of a peer arrives.
  struct First {
    std::unique_ptr<std::byte[]> memory;
    Buffer buffer;
    std::string lost;  // Why nothing will arrive, when that is known already.
  };

  void ExpectFirst(std::uint64_t sequence);
  Status ReceiveFirst(const CollectiveCall& call, std::size_t rider, const RowFrom& from);
  Status TryReceive(const CollectiveCall& call, const Buffer& buffer, std::size_t peer,
                    std::chrono::milliseconds timeout) const;
  Status StatusOf(const CollectiveCall& call, std::size_t peer, const std::exception& error) const;

  const std::size_t rank_;
  const std::size_t size_;
  const std::chrono::milliseconds timeout_;
  const std::shared_ptr<gloo::Context> context_;
  std::vector<First> first_;  // [size]
};

}  // namespace muster
