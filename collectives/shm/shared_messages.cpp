// Messages of SharedGroup: a byte stream (ring buffer) per pair of ranks and direction, in which
// each message is its CollectiveCall followed by its bytes.
#include <algorithm>
#include <cstring>

#include "collectives/failure.h"
#include "collectives/shm/shared_group.h"
#include "collectives/shm/shared_wait.h"

namespace muster {
namespace {

constexpr std::size_t kHeaderBytes = sizeof(CollectiveCall);

// Where a message is: the first kHeaderBytes positions are its header, the others its bytes.
struct Cursor {
  std::byte* header;
  std::byte* bytes;
  std::size_t total;
  std::size_t at = 0;

  bool done() const { return at == total; }
  // The next contiguous piece of memory.
  std::byte* memory() const { return at < kHeaderBytes ? header + at : bytes + at - kHeaderBytes; }
  std::size_t contiguous() const { return (at < kHeaderBytes ? kHeaderBytes : total) - at; }
};

// Bytes [position, ...) of a ring up to its end.
struct RingView {
  std::byte* memory;
  std::size_t bytes;

  std::size_t UntilEnd(std::uint32_t position) const { return bytes - position % bytes; }
  std::byte* At(std::uint32_t position) const { return memory + position % bytes; }
};

// Copies as much as fits; true when something moved.
bool PushSome(Cursor& cursor, shared::Channel& channel, RingView ring) {
  bool moved = false;
  while (!cursor.done()) {
    const std::uint32_t written = channel.written.load(std::memory_order_relaxed);
    const std::size_t room = ring.bytes - (written - channel.read.load());
    const std::size_t bytes = std::min({room, ring.UntilEnd(written), cursor.contiguous()});
    if (bytes == 0) break;
    std::memcpy(ring.At(written), cursor.memory(), bytes);
    cursor.at += bytes;
    channel.written.store(written + static_cast<std::uint32_t>(bytes));
    moved = true;
  }
  return moved;
}

bool PullSome(Cursor& cursor, shared::Channel& channel, RingView ring, std::size_t limit) {
  bool moved = false;
  while (cursor.at < limit) {
    const std::uint32_t read = channel.read.load(std::memory_order_relaxed);
    const std::size_t there = channel.written.load() - read;
    const std::size_t bytes = std::min({there, ring.UntilEnd(read), cursor.contiguous()});
    if (bytes == 0) break;
    std::memcpy(cursor.memory(), ring.At(read), bytes);
    cursor.at += bytes;
    channel.read.store(read + static_cast<std::uint32_t>(bytes));
    moved = true;
  }
  return moved;
}

// The receiver's call as its sender must have made it.
CollectiveCall SentAs(CollectiveCall call, std::size_t receiver) {
  call.collective = Collective::kSend;
  call.root = static_cast<std::uint32_t>(receiver);
  return call;
}

}  // namespace

Status SharedGroup::DoSendReceive(const Outgoing& outgoing, const Incoming& incoming) {
  const std::size_t to = outgoing.active ? outgoing.call.root : rank();
  const std::size_t from = incoming.active ? incoming.call.root : rank();
  shared::Channel& out = layout().channel(rank(), to);
  shared::Channel& in = layout().channel(from, rank());
  const RingView out_ring{layout().ring(rank(), to), layout().ring_bytes()};
  const RingView in_ring{layout().ring(from, rank()), layout().ring_bytes()};

  CollectiveCall out_header = outgoing.call;
  CollectiveCall in_header;
  Cursor push{reinterpret_cast<std::byte*>(&out_header),
              const_cast<std::byte*>(outgoing.bytes.data()),
              outgoing.active ? kHeaderBytes + outgoing.bytes.size() : 0};
  Cursor pull{reinterpret_cast<std::byte*>(&in_header), incoming.bytes.data(),
              incoming.active ? kHeaderBytes + incoming.bytes.size() : 0};
  bool header_checked = !incoming.active;
  while (!push.done() || !pull.done()) {
    bool moved = PushSome(push, out, out_ring);
    if (moved) Ring(to);
    if (PullSome(pull, in, in_ring, header_checked ? pull.total : kHeaderBytes)) {
      moved = true;
      Ring(from);
    }
    if (!header_checked && pull.at == kHeaderBytes) {
      if (in_header != SentAs(incoming.call, rank())) {
        return Mismatch(incoming.call, from, in_header);
      }
      header_checked = moved = true;
    }
    if (moved) continue;
    const auto can_push = [&] {
      return !push.done() && out.written.load() - out.read.load() < out_ring.bytes;
    };
    const auto can_pull = [&] { return !pull.done() && in.written.load() != in.read.load(); };
    const CollectiveCall& waiting = pull.done() ? outgoing.call : incoming.call;
    own().doing.store(shared::PackDoing(waiting), std::memory_order_relaxed);
    MUSTER_RETURN_IF_ERROR(WaitUntil(
        waiting, [&] { return can_push() || can_pull(); },
        [&](std::size_t peer) {
          return (!push.done() && peer == to) || (!pull.done() && peer == from);
        }));
  }
  if (outgoing.active) CountSent(outgoing.bytes.size(), 1);
  return {};
}

}  // namespace muster
