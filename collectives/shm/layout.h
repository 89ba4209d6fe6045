// What the ranks of a SharedGroup share: one block of memory, the same for threads and processes.
//
//   Header | Slot[size] | windows: std::byte[size][2][kWindowBytes] | Channel + ring [size][size]
//
// A slot is written by its rank alone, except `bell`. All memory is zero at first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "collectives/group.h"

namespace muster::shared {

inline constexpr std::size_t kRanksMax = 64;
inline constexpr std::size_t kLine = 64;
// Through a window go pieces of arrays that peers cannot reach directly. Two of them per rank, in
// turns, so that one is filled while peers still read the other; both fit the second-level cache.
inline constexpr std::size_t kWindowBytes = std::size_t{256} << 10;

// Where a rank stands: it has reached `tick`, the number of its meetings with all others so far.
// Meetings use two posts in turns: a rank can be one meeting ahead of a peer, never two, so a post
// is not overwritten before all have read it.
struct alignas(2 * kLine) Post {
  std::atomic<std::uint32_t> tick;
  std::uint32_t padding;
  CollectiveCall call;     // The call in which it meets the others.
  std::uint64_t location;  // Of the call's array: what Locate returned.
  std::uint64_t offset;
};
static_assert(sizeof(Post) == 2 * kLine);

enum class RankState : std::uint32_t { kAbsent, kPresent, kFailed, kLeft };

struct alignas(2 * kLine) Slot {
  Post posts[2];
  // A rank sleeps on its own bell; whoever has news for it rings.
  alignas(2 * kLine) std::atomic<std::uint32_t> bell;
  std::atomic<std::uint32_t> sleeping;
  alignas(2 * kLine) std::atomic<std::uint32_t> state;  // RankState.
  std::int32_t pid;
  std::uint64_t pid_namespace;  // Inode; 0 where the rank is a thread.
  // A hint for peers' error messages: the call that it is in (collective + 1, root, sequence), or
  // 0.
  std::atomic<std::uint64_t> doing;
  std::uint32_t failure_code;  // StatusCode and text, written before kFailed.
  char failure[384];
  std::uint32_t outcome_code;  // Of the last allocation: 0 = OK.
  char outcome[384];
};

inline std::uint64_t PackDoing(const CollectiveCall& call) {
  return (static_cast<std::uint64_t>(call.collective) + 1) << 56U |
         static_cast<std::uint64_t>(call.root & 0xffU) << 48U | (call.sequence & 0xffffffffffffU);
}

// A byte stream from one rank to another; positions count bytes modulo 2^32.
struct alignas(2 * kLine) Channel {
  alignas(kLine) std::atomic<std::uint32_t> written;
  alignas(kLine) std::atomic<std::uint32_t> read;
};

struct alignas(2 * kLine) Header {
  std::atomic<std::uint64_t> magic;  // kMagic once the rest is set.
  std::uint64_t generation;
  std::uint64_t size;
};
inline constexpr std::uint64_t kMagic = 0x4d55535445522d31;  // "MUSTER-1"; bump with the layout.

// Finds the parts of a block of TotalBytes(size) bytes, aligned to 128.
class Layout {
 public:
  Layout() = default;
  Layout(std::byte* base, std::size_t size) : base_(base), size_(size) {}

  static std::size_t RingBytes(std::size_t size) {
    std::size_t bytes = std::size_t{64} << 10;
    while (bytes > 4096 && bytes * size > (std::size_t{512} << 10)) bytes /= 2;
    return bytes;
  }
  static std::size_t TotalBytes(std::size_t size) {
    return sizeof(Header) + size * (sizeof(Slot) + 2 * kWindowBytes) +
           size * size * (sizeof(Channel) + RingBytes(size));
  }

  Header& header() const { return *reinterpret_cast<Header*>(base_); }
  Slot& slot(std::size_t rank) const {
    return reinterpret_cast<Slot*>(base_ + sizeof(Header))[rank];
  }
  std::byte* window(std::size_t rank, std::size_t turn) const {
    return base_ + sizeof(Header) + size_ * sizeof(Slot) + (2 * rank + turn % 2) * kWindowBytes;
  }
  Channel& channel(std::size_t from, std::size_t to) const {
    return *reinterpret_cast<Channel*>(ChannelBase(from, to));
  }
  std::byte* ring(std::size_t from, std::size_t to) const {
    return ChannelBase(from, to) + sizeof(Channel);
  }
  std::size_t ring_bytes() const { return RingBytes(size_); }

 private:
  std::byte* ChannelBase(std::size_t from, std::size_t to) const {
    return base_ + sizeof(Header) + size_ * (sizeof(Slot) + 2 * kWindowBytes) +
           (from * size_ + to) * (sizeof(Channel) + RingBytes(size_));
  }
  std::byte* base_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace muster::shared
