#include "collectives/shm/shared_group.h"

#include <sched.h>

#include <algorithm>
#include <cstring>

#include "collectives/failure.h"
#include "collectives/shm/futex.h"
#include "collectives/shm/shared_wait.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;
using shared::RankState;

// Longer than most meetings where each rank can have a core of its own; else not at all.
std::chrono::nanoseconds SpinAlone(std::size_t ranks) {
  cpu_set_t cores;
  const bool known = ::sched_getaffinity(0, sizeof(cores), &cores) == 0;
  const auto count = known ? static_cast<std::size_t>(CPU_COUNT(&cores)) : std::size_t{1};
  return count >= ranks ? std::chrono::microseconds(1) : std::chrono::microseconds(0);
}

template <std::size_t N>
void StoreText(char (&target)[N], const std::string& text) {
  const std::size_t length = std::min(text.size(), N - 1);
  std::memcpy(target, text.data(), length);
  target[length] = '\0';
}

}  // namespace

SharedGroup::SharedGroup(std::size_t rank, std::size_t size, const GroupOptions& options,
                         shared::Layout layout, std::shared_ptr<void> memory)
    : Group(rank, size, options),
      memory_(std::move(memory)),
      layout_(layout),
      spin_alone_(SpinAlone(size)) {
  MUSTER_CHECK(size <= shared::kRanksMax, "too many ranks for shared memory");
}

SharedGroup::~SharedGroup() {
  auto expected = static_cast<std::uint32_t>(RankState::kPresent);
  own().state.compare_exchange_strong(expected, static_cast<std::uint32_t>(RankState::kLeft));
  RingAll();
}

Status SharedGroup::Enter() {
  own().state.store(static_cast<std::uint32_t>(RankState::kPresent));
  RingAll();
  const auto absent = [&](std::size_t peer) {
    return layout_.slot(peer).state.load() == static_cast<std::uint32_t>(RankState::kAbsent);
  };
  const auto all = [&] {
    for (std::size_t peer = 0; peer < size(); ++peer) {
      if (absent(peer)) return false;
    }
    return true;
  };
  return WaitUntil({Collective::kBarrier, ElementType::kByte, 0, 0, 0, 0}, all, absent);
}

bool SharedGroup::AllPosted() const {
  for (std::size_t peer = 0; peer < size(); ++peer) {
    if (PostOf(peer).tick.load() != tick_) return false;
  }
  return true;
}

Status SharedGroup::Meet(const CollectiveCall& call, const std::byte* array, std::size_t bytes) {
  ++tick_;
  own().doing.store(shared::PackDoing(call), std::memory_order_relaxed);
  shared::Post& post = PostOf(rank());
  const Location location = array != nullptr ? Locate(array, bytes) : Location{};
  post.call = call;
  post.location = location.where;
  post.offset = location.offset;
  post.tick.store(tick_);
  MUSTER_RETURN_IF_ERROR(AllHere(call));
  return CheckCalls(call);
}

Status SharedGroup::Sync(const CollectiveCall& call) {
  ++tick_;
  PostOf(rank()).call = call;
  PostOf(rank()).tick.store(tick_);
  return AllHere(call);
}

Status SharedGroup::AllHere(const CollectiveCall& call) {
  RingAll();
  return WaitUntil(
      call, [this] { return AllPosted(); },
      [this](std::size_t peer) { return PostOf(peer).tick.load() != tick_; });
}

Status SharedGroup::CheckCalls(const CollectiveCall& call) const {
  for (std::size_t peer = 0; peer < size(); ++peer) {
    if (PostOf(peer).call != call) return Mismatch(call, peer, PostOf(peer).call);
  }
  return {};
}

Status SharedGroup::AgreeOn(const CollectiveCall& call, const Status& outcome) {
  own().outcome_code = static_cast<std::uint32_t>(outcome.code());
  StoreText(own().outcome, outcome.message());
  MUSTER_RETURN_IF_ERROR(Sync(call));
  Status first;
  for (std::size_t peer = 0; peer < size() && first.ok(); ++peer) {
    const shared::Slot& slot = layout_.slot(peer);
    if (slot.outcome_code == 0) continue;
    first = Status(static_cast<StatusCode>(slot.outcome_code),
                   call.Describe() + ": rank " + std::to_string(peer) + ": " + slot.outcome);
  }
  // Outcomes may be written anew only after all have read them.
  MUSTER_RETURN_IF_ERROR(Sync(call));
  return first;
}

void SharedGroup::Announce(const Status& failure) {
  own().failure_code = static_cast<std::uint32_t>(failure.code());
  StoreText(own().failure, failure.message());
  own().state.store(static_cast<std::uint32_t>(RankState::kFailed));
  RingAll();
}

Status SharedGroup::Sleep(const CollectiveCall& call, const Ready& ready, const Missing& missing) {
  constexpr auto kSlice = std::chrono::milliseconds(100);  // Between looks at peers' health.
  shared::Slot& slot = own();
  const auto deadline = Clock::now() + options().timeout;
  Status status;
  while (true) {
    // Whoever changes what ready() reads does so before it looks at `sleeping`, and this rank looks
    // at it after setting `sleeping` (all in one total order): one of the two sees the other.
    slot.sleeping.store(1);
    const std::uint32_t bell = slot.bell.load();
    if (ready()) break;
    status = CheckPeers(call, ready, missing);
    if (!status.ok()) break;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      status = TimedOut(call, missing);
      break;
    }
    FutexWait(slot.bell, bell, std::min(kSlice, left));
  }
  slot.sleeping.store(0);
  return status;
}

Status SharedGroup::CheckPeers(const CollectiveCall& call, const Ready& ready,
                               const Missing& missing) {
  for (std::size_t peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    const shared::Slot& slot = layout_.slot(peer);
    const auto state = static_cast<RankState>(slot.state.load());
    const bool gone = missing(peer) && (state == RankState::kLeft || Gone(peer));
    if (state != RankState::kFailed && !gone) continue;
    if (ready()) return {};  // It came before it went.
    if (state == RankState::kFailed) {
      return {static_cast<StatusCode>(slot.failure_code),
              call.Describe() + ": rank " + std::to_string(peer) + " gave up: " + slot.failure};
    }
    return Lost(call, peer,
                state == RankState::kLeft ? "it has left the group" : "its process ended");
  }
  return {};
}

Status SharedGroup::TimedOut(const CollectiveCall& call, const Missing& missing) const {
  std::vector<std::size_t> ranks;
  std::string hints;
  for (std::size_t peer = 0; peer < size(); ++peer) {
    if (!missing(peer)) continue;
    ranks.push_back(peer);
    hints += Hint(peer);
  }
  return NoWord(call, ranks, options().timeout, hints);
}

std::string SharedGroup::Hint(std::size_t rank) const {
  const std::uint64_t doing = layout_.slot(rank).doing.load(std::memory_order_relaxed);
  if (doing == 0) return {};
  const auto collective = static_cast<Collective>((doing >> 56U) - 1);
  std::string text = "; rank " + std::to_string(rank) + " was last seen in " +
                     std::string(CollectiveName(collective)) + " #" +
                     std::to_string(doing & 0xffffffffffffU);
  const std::string other = std::to_string((doing >> 48U) & 0xffU);
  if (collective == Collective::kSend) text += " to rank " + other;
  if (collective == Collective::kReceive) text += " from rank " + other;
  return text;
}

void SharedGroup::Ring(std::size_t rank) const {
  shared::Slot& slot = layout_.slot(rank);
  if (slot.sleeping.load() == 0) return;
  slot.bell.fetch_add(1);
  FutexWake(slot.bell);
}

void SharedGroup::RingAll() const {
  for (std::size_t peer = 0; peer < size(); ++peer) {
    if (peer != rank()) Ring(peer);
  }
}

}  // namespace muster
