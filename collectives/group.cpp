#include "collectives/group.h"

#include <cstring>

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

template <class T>
constexpr ElementType TypeOf() {
  if constexpr (std::is_same_v<T, float>) return ElementType::kFloat;
  if constexpr (std::is_same_v<T, double>) return ElementType::kDouble;
  if constexpr (std::is_same_v<T, std::uint64_t>) return ElementType::kUint64;
  return ElementType::kByte;
}

template <class T>
const std::byte* Bytes(std::span<const T> values) {
  return reinterpret_cast<const std::byte*>(values.data());
}

template <class T>
std::byte* WritableBytes(std::span<T> values) {
  return reinterpret_cast<std::byte*>(values.data());
}

// memcpy's pointers must not be null even for nothing.
template <class T>
void Copy(std::span<const T> from, std::span<T> to) {
  if (!from.empty() && from.data() != to.data()) {
    std::memmove(to.data(), from.data(), from.size_bytes());
  }
}

}  // namespace

std::string_view CollectiveName(Collective collective) {
  switch (collective) {
    case Collective::kAllReduce:
      return "all-reduce";
    case Collective::kReduceScatter:
      return "reduce-scatter";
    case Collective::kAllGather:
      return "all-gather";
    case Collective::kBroadcast:
      return "broadcast";
    case Collective::kAllToAll:
      return "all-to-all";
    case Collective::kBarrier:
      return "barrier";
    case Collective::kAllocate:
      return "allocate";
    case Collective::kSend:
      return "send";
    case Collective::kReceive:
      return "receive";
  }
  return "unknown operation";
}

std::size_t ElementBytes(ElementType type) {
  switch (type) {
    case ElementType::kFloat:
      return sizeof(float);
    case ElementType::kDouble:
      return sizeof(double);
    case ElementType::kUint64:
      return sizeof(std::uint64_t);
    case ElementType::kByte:
      return 1;
  }
  return 1;
}

std::string_view ElementName(ElementType type) {
  switch (type) {
    case ElementType::kFloat:
      return "floats";
    case ElementType::kDouble:
      return "doubles";
    case ElementType::kUint64:
      return "integers";
    case ElementType::kByte:
      return "bytes";
  }
  return "elements";
}

std::string CollectiveCall::Describe() const {
  std::string text = std::string(CollectiveName(collective)) + " #" + std::to_string(sequence);
  if (collective == Collective::kSend) text += " to rank " + std::to_string(root);
  if (collective == Collective::kReceive) text += " from rank " + std::to_string(root);
  if (collective == Collective::kBarrier) return text;
  text += " (" + std::to_string(count) + " " + std::string(ElementName(type));
  if (collective == Collective::kBroadcast) text += " from rank " + std::to_string(root);
  return text + ")";
}

// Around every call: one at a time, its time and what it sent, and what a failure leaves behind.
class Group::Running {
 public:
  Running(Group& group, Collective collective) : group_(group), start_(Clock::now()) {
    MUSTER_CHECK(!group.busy_.exchange(true, std::memory_order_acquire),
                 "two threads are in one group at the same time");
    group.current_ = &group.statistics_[static_cast<std::size_t>(collective)];
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() {
    ++group_.current_->calls;
    group_.current_->seconds += std::chrono::duration<double>(Clock::now() - start_).count();
    group_.busy_.store(false, std::memory_order_release);
  }
  Status End(Status status) {
    if (!status.ok() && group_.broken_.ok()) {
      group_.broken_ = status;
      group_.Announce(status);
    }
    return status;
  }

 private:
  Group& group_;
  const Clock::time_point start_;
};

Group::Group(std::size_t rank, std::size_t size, const GroupOptions& options)
    : rank_(rank), size_(size), options_(options), sent_(size), received_(size) {
  MUSTER_CHECK(size > 0 && rank < size, "a group's rank lies in [0, size)");
  MUSTER_CHECK(options.timeout.count() > 0, "a group's timeout is positive");
}

void Group::CountSent(std::uint64_t bytes, std::uint64_t messages) {
  current_->bytes += bytes;
  current_->messages += messages;
}

CollectiveCall Group::NextCall(Collective collective, ElementType type, std::size_t count,
                               std::size_t root) {
  return {collective, type, ++sequence_, count, static_cast<std::uint32_t>(root), 0};
}

Result<std::span<float>> Group::Allocate(std::size_t count) {
  Running running(*this, Collective::kAllocate);
  if (!broken_.ok()) return broken_;
  const CollectiveCall call = NextCall(Collective::kAllocate, ElementType::kFloat, count);
  if (size_ > 1) {
    auto memory = DoAllocate(call);
    if (!memory.ok()) return running.End(memory.status());
    return memory;
  }
  return AllocatePlain(count);
}

std::span<float> Group::AllocatePlain(std::size_t count) {
  constexpr std::size_t kAlignment = 64;
  const std::size_t bytes = (count * sizeof(float) + kAlignment) / kAlignment * kAlignment;
  auto* memory = static_cast<float*>(std::aligned_alloc(kAlignment, bytes));
  MUSTER_CHECK(memory != nullptr, "out of memory for a buffer of " + std::to_string(bytes));
  std::memset(memory, 0, bytes);
  plain_.emplace_back(memory);
  return {memory, count};
}

template <class T>
Status Group::AllReduceOf(std::span<T> values) {
  Running running(*this, Collective::kAllReduce);
  if (!broken_.ok()) return broken_;
  const CollectiveCall call = NextCall(Collective::kAllReduce, TypeOf<T>(), values.size());
  if (size_ == 1) return {};
  return running.End(DoAllReduce(call, WritableBytes(values)));
}

Status Group::AllReduce(std::span<float> values) { return AllReduceOf(values); }
Status Group::AllReduce(std::span<double> values) { return AllReduceOf(values); }
Status Group::AllReduce(std::span<std::uint64_t> values) { return AllReduceOf(values); }

Status Group::ReduceScatter(std::span<const float> input, std::span<float> output) {
  MUSTER_CHECK(input.size() == size_ * output.size(), "reduce-scatter: input is [size, count]");
  Running running(*this, Collective::kReduceScatter);
  if (!broken_.ok()) return broken_;
  const auto call = NextCall(Collective::kReduceScatter, ElementType::kFloat, output.size());
  if (size_ == 1) {
    Copy(input, output);
    return {};
  }
  return running.End(DoReduceScatter(call, Bytes(input), WritableBytes(output)));
}

template <class T>
Status Group::AllGatherOf(std::span<const T> input, std::span<T> output) {
  MUSTER_CHECK(output.size() == size_ * input.size(), "all-gather: output is [size, count]");
  Running running(*this, Collective::kAllGather);
  if (!broken_.ok()) return broken_;
  const auto call = NextCall(Collective::kAllGather, TypeOf<T>(), input.size());
  if (size_ == 1) {
    Copy(input, output);
    return {};
  }
  return running.End(DoAllGather(call, Bytes(input), WritableBytes(output)));
}

Status Group::AllGather(std::span<const float> input, std::span<float> output) {
  return AllGatherOf(input, output);
}
Status Group::AllGather(std::span<const double> input, std::span<double> output) {
  return AllGatherOf(input, output);
}
Status Group::AllGather(std::span<const std::byte> input, std::span<std::byte> output) {
  return AllGatherOf(input, output);
}

template <class T>
Status Group::BroadcastOf(std::span<T> values, std::size_t root) {
  MUSTER_CHECK(root < size_, "broadcast: the root is a rank of the group");
  Running running(*this, Collective::kBroadcast);
  if (!broken_.ok()) return broken_;
  const auto call = NextCall(Collective::kBroadcast, TypeOf<T>(), values.size(), root);
  if (size_ == 1) return {};
  return running.End(DoBroadcast(call, WritableBytes(values)));
}

Status Group::Broadcast(std::span<float> values, std::size_t root) {
  return BroadcastOf(values, root);
}
Status Group::Broadcast(std::span<std::byte> values, std::size_t root) {
  return BroadcastOf(values, root);
}

Status Group::AllToAll(std::span<const float> input, std::span<float> output) {
  MUSTER_CHECK(input.size() == output.size() && input.size() % size_ == 0,
               "all-to-all: input and output are [size, count]");
  Running running(*this, Collective::kAllToAll);
  if (!broken_.ok()) return broken_;
  const auto call = NextCall(Collective::kAllToAll, ElementType::kFloat, input.size() / size_);
  if (size_ == 1) {
    Copy(input, output);
    return {};
  }
  return running.End(DoAllToAll(call, Bytes(input), WritableBytes(output)));
}

Status Group::Barrier() {
  Running running(*this, Collective::kBarrier);
  if (!broken_.ok()) return broken_;
  const auto call = NextCall(Collective::kBarrier, ElementType::kByte, 0);
  if (size_ == 1) return {};
  return running.End(DoBarrier(call));
}

Group::Outgoing Group::NextOutgoing(std::size_t to, std::span<const float> values) {
  MUSTER_CHECK(to < size_ && to != rank_, "send: the other end is another rank of the group");
  const auto peer = static_cast<std::uint32_t>(to);
  return {{Collective::kSend, ElementType::kFloat, ++sent_[to], values.size(), peer, 0},
          std::as_bytes(values),
          true};
}

Group::Incoming Group::NextIncoming(std::size_t from, std::span<float> values) {
  MUSTER_CHECK(from < size_ && from != rank_, "receive: the other end is another rank");
  const auto peer = static_cast<std::uint32_t>(from);
  return {{Collective::kReceive, ElementType::kFloat, ++received_[from], values.size(), peer, 0},
          std::as_writable_bytes(values),
          true};
}

Status Group::Send(std::size_t to, std::span<const float> values) {
  Running running(*this, Collective::kSend);
  if (!broken_.ok()) return broken_;
  return running.End(DoSendReceive(NextOutgoing(to, values), {}));
}

Status Group::Receive(std::size_t from, std::span<float> values) {
  Running running(*this, Collective::kReceive);
  if (!broken_.ok()) return broken_;
  return running.End(DoSendReceive({}, NextIncoming(from, values)));
}

Status Group::SendReceive(std::size_t to, std::span<const float> outgoing, std::size_t from,
                          std::span<float> incoming) {
  Running running(*this, Collective::kSend);
  if (!broken_.ok()) return broken_;
  return running.End(DoSendReceive(NextOutgoing(to, outgoing), NextIncoming(from, incoming)));
}

}  // namespace muster
