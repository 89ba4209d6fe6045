// SharedGroup: the collectives of ranks that share memory; what `local` and `shm` have in common.
//
// Ranks meet: each posts its call and waits for the others' posts. Where all arrays can be reached
// by all ranks ("direct": always between threads, for Allocate's memory between processes) rank r
// then sums its part of the arrays and writes the sum into every rank's array, and they meet again;
// no byte is copied. Other arrays go through small windows of the shared block, piece by piece.
// Waiting spins for some microseconds, giving way to others, and then sleeps on a futex.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "collectives/group.h"
#include "collectives/shm/layout.h"

namespace muster {

class SharedGroup : public Group {
 public:
  ~SharedGroup() override;

 protected:
  // `layout` lies in `memory`, which the group keeps alive.
  SharedGroup(std::size_t rank, std::size_t size, const GroupOptions& options,
              shared::Layout layout, std::shared_ptr<void> memory);

  // An address that peers understand. `where` 0: they cannot reach it.
  struct Location {
    std::uint64_t where = 0;
    std::uint64_t offset = 0;
  };
  virtual Location Locate(const std::byte* memory, std::size_t bytes) const = 0;
  // What rank `rank` located, as an address of this rank.
  virtual std::byte* Resolve(std::size_t rank, Location location) const = 0;
  // Whether the rank can no longer come; asked now and then while waiting for it. May be slow.
  virtual bool Gone(std::size_t /*rank*/) { return false; }

  const shared::Layout& layout() const { return layout_; }
  shared::Slot& own() const { return layout_.slot(rank()); }

  // Says that this rank is there and waits for all others. Before any other operation.
  Status Enter();

  // Waits until all ranks have come to this call, and checks that it is the same call. `array` is
  // this rank's array for the call, or null.
  Status Meet(const CollectiveCall& call, const std::byte* array = nullptr, std::size_t bytes = 0);
  // Waits for all ranks inside a call in which they have met.
  Status Sync(const CollectiveCall& call);

  // For allocations, where one rank may fail alone: all learn of it.
  Status AgreeOn(const CollectiveCall& call, const Status& outcome);

  Status DoAllReduce(const CollectiveCall& call, std::byte* values) override;
  Status DoReduceScatter(const CollectiveCall& call, const std::byte* input,
                         std::byte* output) override;
  Status DoAllGather(const CollectiveCall& call, const std::byte* input,
                     std::byte* output) override;
  Status DoBroadcast(const CollectiveCall& call, std::byte* values) override;
  Status DoAllToAll(const CollectiveCall& call, const std::byte* input, std::byte* output) override;
  Status DoBarrier(const CollectiveCall& call) override;
  Status DoSendReceive(const Outgoing& outgoing, const Incoming& incoming) override;
  void Announce(const Status& failure) override;

 private:
  using Pointers = std::array<std::byte*, shared::kRanksMax>;
  // Takes elements [begin, end) of all ranks' rows; sources[r] points at element `begin`.
  using Consume = std::function<void(const Pointers& sources, std::size_t begin, std::size_t end)>;

  // One row of each rank to this rank: row `rank()` of their input when `rows`, else all of it.
  // Only `from` is read where it is a rank.
  Status Exchange(const CollectiveCall& call, const std::byte* input, bool rows, std::size_t from,
                  const Consume& consume);

  template <class T>
  Status AllReduceOf(const CollectiveCall& call, T* values);
  template <class T>
  Status AllReduceSmall(const CollectiveCall& call, T* values);
  template <class T>
  Status AllReduceDirect(const CollectiveCall& call, const Pointers& arrays);
  template <class T>
  Status AllReduceThroughWindows(const CollectiveCall& call, T* values);

  // All ranks' arrays of the last Meet; false when one of them cannot be reached.
  bool Reach(Pointers& arrays, std::size_t from) const;
  shared::Post& PostOf(std::size_t rank) const { return layout_.slot(rank).posts[tick_ % 2]; }
  bool AllPosted() const;
  Status CheckCalls(const CollectiveCall& call) const;

  using Ready = std::function<bool()>;
  using Missing = std::function<bool(std::size_t rank)>;
  // Spins, then sleeps until `ready()`. `missing(r)` says for an error message whether rank r is
  // waited for; `call` is what this rank is doing.
  template <class AnyReady, class AnyMissing>
  Status WaitUntil(const CollectiveCall& call, const AnyReady& ready, const AnyMissing& missing);
  Status Sleep(const CollectiveCall& call, const Ready& ready, const Missing& missing);
  // The reason why waiting is hopeless, or OK.
  Status CheckPeers(const CollectiveCall& call, const Ready& ready, const Missing& missing);
  Status TimedOut(const CollectiveCall& call, const Missing& missing) const;
  std::string Hint(std::size_t rank) const;
  Status AllHere(const CollectiveCall& call);
  void Ring(std::size_t rank) const;
  void RingAll() const;

  const std::shared_ptr<void> memory_;
  const shared::Layout layout_;
  const std::chrono::nanoseconds spin_alone_;  // Before a waiting rank offers its core to others.
  std::uint32_t tick_ = 0;                     // Meetings so far.
  std::size_t window_turn_ = 0;                // Uses of the windows so far.
};

}  // namespace muster
