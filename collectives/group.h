// Group: the ranks of one job, and the operations in which they take part together.
//
// Every transport (threads of a process, shared memory, Gloo over TCP) gives the same bits: sums
// are taken element by element in one fixed binary tree over ranks (see ordered_sum.h):
//   2 ranks: r0+r1    3: (r0+r1)+r2    4: (r0+r1)+(r2+r3)    5: ((r0+r1)+(r2+r3))+r4
//
// Collective operations are called by all ranks in the same order and with the same sizes. A call
// that does not match is detected and named, on every rank. The wait for a peer is bounded:
// "all-reduce #17 (4096 floats): no word from rank 2 for 30 s". After any error the group is
// broken: later calls return that error; build a new group to go on.
//
// Threads: one call at a time (checked); calls may come from different threads one after another.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace muster {

struct GroupOptions {
  // How long a call waits for a peer that shows no sign of life before it gives up with
  // kDeadlineExceeded. Also bounds the group's creation.
  std::chrono::milliseconds timeout = std::chrono::seconds(30);
};

enum class Collective : std::uint32_t {
  kAllReduce,
  kReduceScatter,
  kAllGather,
  kBroadcast,
  kAllToAll,
  kBarrier,
  kAllocate,
  kSend,
  kReceive,
};
inline constexpr std::size_t kCollectives = 9;
std::string_view CollectiveName(Collective collective);  // "all-reduce"

enum class ElementType : std::uint32_t { kFloat, kDouble, kUint64, kByte };

// One call, as its peers must make it too. Sequence numbers count a group's collective calls from
// 1; messages are counted per pair of ranks and direction.
struct CollectiveCall {
  Collective collective = Collective::kBarrier;
  ElementType type = ElementType::kByte;
  std::uint64_t sequence = 0;
  std::uint64_t count = 0;  // Elements: of the shorter of the call's two spans where they differ.
  std::uint32_t root = 0;   // Broadcast's source; a message's other rank.
  std::uint32_t padding = 0;

  bool operator==(const CollectiveCall&) const = default;
  // "all-reduce #17 (4096 floats)".
  std::string Describe() const;
};

// What this rank sent and how long its calls took, for one kind of call.
struct CollectiveStatistics {
  std::uint64_t calls = 0;
  std::uint64_t bytes = 0;     // Payload handed to other ranks.
  std::uint64_t messages = 0;  // Pieces in which it went.
  double seconds = 0;          // Wall time inside the calls, waiting included.
};
// Indexed by Collective.
using GroupStatistics = std::array<CollectiveStatistics, kCollectives>;

class Group {
 public:
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  virtual ~Group() = default;

  std::size_t rank() const { return rank_; }
  std::size_t size() const { return size_; }
  const GroupOptions& options() const { return options_; }
  // "local", "shm" or "gloo".
  virtual std::string_view transport() const = 0;

  // Zeroed memory that the transport reaches without a copy, aligned to 64 bytes, alive as long as
  // the group. Collective. kResourceExhausted when the memory is not to be had.
  Result<std::span<float>> Allocate(std::size_t count);

  // Replaces `values` by the sum over ranks. Integers wrap.
  Status AllReduce(std::span<float> values);
  Status AllReduce(std::span<double> values);
  Status AllReduce(std::span<std::uint64_t> values);

  // `input` is [size, count], `output` [count]: the sum over ranks of their row `rank()`.
  Status ReduceScatter(std::span<const float> input, std::span<float> output);

  // `input` is [count], `output` [size, count]: row r is rank r's input. No overlap.
  Status AllGather(std::span<const float> input, std::span<float> output);
  Status AllGather(std::span<const double> input, std::span<double> output);
  Status AllGather(std::span<const std::byte> input, std::span<std::byte> output);

  // Replaces `values` by those of rank `root`.
  Status Broadcast(std::span<float> values, std::size_t root);
  Status Broadcast(std::span<std::byte> values, std::size_t root);

  // Both are [size, count]: output row r is rank r's input row `rank()`. No overlap.
  Status AllToAll(std::span<const float> input, std::span<float> output);

  Status Barrier();

  // Messages between two ranks, in order; the sizes at both ends must match. Send may return before
  // the peer receives, but need not: two ranks that send to each other use SendReceive.
  Status Send(std::size_t to, std::span<const float> values);
  Status Receive(std::size_t from, std::span<float> values);
  // Both at once, without deadlock. `outgoing` and `incoming` do not overlap.
  Status SendReceive(std::size_t to, std::span<const float> outgoing, std::size_t from,
                     std::span<float> incoming);

  // Read between calls.
  const GroupStatistics& statistics() const { return statistics_; }
  void ResetStatistics() { statistics_ = {}; }

 protected:
  Group(std::size_t rank, std::size_t size, const GroupOptions& options);

  // One side of a message; `bytes` is empty and `active` false where there is none.
  struct Outgoing {
    CollectiveCall call;
    std::span<const std::byte> bytes;
    bool active = false;
  };
  struct Incoming {
    CollectiveCall call;
    std::span<std::byte> bytes;
    bool active = false;
  };

  // What a transport does. Only called when size() > 1; must check that the peers' calls match.
  // Pointers hold call.count elements of call.type (times size() where said).
  virtual Result<std::span<float>> DoAllocate(const CollectiveCall& call) = 0;
  virtual Status DoAllReduce(const CollectiveCall& call, std::byte* values) = 0;
  virtual Status DoReduceScatter(const CollectiveCall& call,
                                 const std::byte* input,  // [size,count]
                                 std::byte* output) = 0;
  virtual Status DoAllGather(const CollectiveCall& call, const std::byte* input,
                             std::byte* output) = 0;  // [size, count]
  virtual Status DoBroadcast(const CollectiveCall& call, std::byte* values) = 0;
  virtual Status DoAllToAll(const CollectiveCall& call, const std::byte* input,  // Both
                            std::byte* output) = 0;                              // [size, count].
  virtual Status DoBarrier(const CollectiveCall& call) = 0;
  virtual Status DoSendReceive(const Outgoing& outgoing, const Incoming& incoming) = 0;

  // Zeroed plain memory that lives as long as the group.
  std::span<float> AllocatePlain(std::size_t count);

  // Told once, when a call failed: a transport passes the reason on to peers that wait.
  virtual void Announce(const Status& /*failure*/) {}

  // For the statistics of the call that is running.
  void CountSent(std::uint64_t bytes, std::uint64_t messages);

 private:
  class Running;

  CollectiveCall NextCall(Collective collective, ElementType type, std::size_t count,
                          std::size_t root = 0);
  Outgoing NextOutgoing(std::size_t to, std::span<const float> values);
  Incoming NextIncoming(std::size_t from, std::span<float> values);
  template <class T>
  Status AllReduceOf(std::span<T> values);
  template <class T>
  Status AllGatherOf(std::span<const T> input, std::span<T> output);
  template <class T>
  Status BroadcastOf(std::span<T> values, std::size_t root);

  const std::size_t rank_;
  const std::size_t size_;
  const GroupOptions options_;
  GroupStatistics statistics_;
  CollectiveStatistics* current_ = nullptr;
  Status broken_;                               // The first error; every later call's answer.
  std::uint64_t sequence_ = 0;                  // Of collective calls.
  std::vector<std::uint64_t> sent_, received_;  // [size] messages so far, per peer.
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  std::vector<std::unique_ptr<float[], Free>> plain_;
  std::atomic<bool> busy_ = false;
};

// Bytes of one element, and its name in the plural ("floats").
std::size_t ElementBytes(ElementType type);
std::string_view ElementName(ElementType type);

}  // namespace muster
