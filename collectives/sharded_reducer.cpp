#include "collectives/sharded_reducer.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "collectives/lane_tree.h"
#include "collectives/ordered_sum.h"
#include "collectives/stopwatch.h"

namespace muster {
namespace {

// Completed buckets of one lane that may wait to be sent before its backward waits for them: enough
// that it runs on while the others' are sent.
constexpr std::size_t kAhead = 2;

Status Validate(const ShardedReducerOptions& options, std::size_t ranks) {
  MUSTER_RETURN_IF_ERROR(ValidateLanes(options.lanes, ranks));
  const std::size_t local = options.lanes / ranks;
  if (!std::has_single_bit(options.lanes_at_once) || options.lanes_at_once > local) {
    return InvalidArgument("lanes_at_once must be a power of two up to the rank's " +
                           std::to_string(local) + " lanes, not " +
                           std::to_string(options.lanes_at_once));
  }
  if (options.block == 0) return InvalidArgument("a block of shards needs elements");
  std::size_t at = 0;
  for (const Bucket& bucket : options.buckets) {
    if (bucket.begin != at || bucket.end <= bucket.begin) {
      return InvalidArgument(
          "buckets of shards must ascend without gap or overlap; one begins at " +
          std::to_string(bucket.begin) + " where " + std::to_string(at) + " was expected");
    }
    at = bucket.end;
  }
  if (at == options.count) return {};
  return InvalidArgument("gradient buckets end at element " + std::to_string(at) + " of " +
                         std::to_string(options.count));
}

}  // namespace

class ShardedReducer::Implementation {
 public:
  Implementation(Group& group, const ShardedReducerOptions& options);
  ~Implementation();
  Status Allocate();

  const ShardLayout& layout() const { return layout_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }
  std::span<float> LaneBucket(std::size_t lane, std::size_t bucket);
  void LaneBucketReady(std::size_t lane, std::size_t bucket);
  void Abandon();
  Status Wait();
  std::span<float> Gradients() {
    return std::span(shards_[0]).first(layout_.ShardSize(group_.rank()));
  }
  GradientReducer::Times times() const { return times_; }
  Memory memory();

 private:
  // Buckets are summed in the order of waves, and in a wave in theirs: `position` counts both.
  // Positions two waves apart share their cells, one after the other.
  struct Cell {
    enum class State : std::uint8_t { kFree, kOpen, kReady };
    std::vector<float> memory;
    State state = State::kFree;
    std::size_t position = 0;  // Whose it is, unless free.
    std::uint8_t arrived = 0;  // In slot n's cell: at inner node n of the tree over slots.
  };
  struct Slot {
    std::vector<std::vector<float>> free;
    std::size_t completed = 0;  // Buckets in this step.
    std::size_t behind = 0;     // Of them whose memory is not free again.
  };

  std::size_t PositionOf(std::size_t lane, std::size_t bucket) const {
    return lane / waves_.at_once * buckets_.size() + bucket;
  }
  Cell& CellOf(std::size_t position, std::size_t slot) {
    return cells_[position % (2 * buckets_.size()) * waves_.at_once + slot];
  }
  std::size_t SizeOf(std::size_t position) const {
    const Bucket& bucket = buckets_[position % buckets_.size()];
    return bucket.end - bucket.begin;
  }
  std::size_t positions() const { return waves_.waves() * buckets_.size(); }

  bool MayOpen(std::size_t slot, std::size_t position);
  std::vector<float> TakeMemory(Slot& slot, std::size_t size);
  void Release(std::size_t position, std::size_t slot);
  bool Summed(std::size_t position);
  void Finish(std::size_t position);
  void DropSummed();
  void Communicate();
  Status Send(std::size_t position, const float* values);
  Status ReduceStripe(std::size_t stripe, std::size_t wave);

  Group& group_;
  const ShardLayout layout_;
  const std::vector<Bucket> buckets_;
  const LaneWaves waves_;
  std::span<float> stripe_;                 // Being filled; the group's memory.
  std::vector<std::vector<float>> shards_;  // Partial ones; the first ends as the sum.

  std::mutex mutex_;  // Of all below.
  std::condition_variable changed_;
  std::vector<Cell> cells_;  // [2 waves, buckets, slots]
  std::vector<Slot> slots_;  // [lanes at once]
  std::size_t next_ = 0;     // The position that is sent next.
  std::size_t lane_floats_ = 0;
  bool ending_ = false;
  bool abandoned_ = false;
  Status status_;
  GradientReducer::Times times_;
  double communication_s_ = 0;
  std::thread communication_;
};

ShardedReducer::Implementation::Implementation(Group& group, const ShardedReducerOptions& options)
    : group_(group),
      layout_(options.count, options.block, group.size()),
      buckets_(options.buckets),
      waves_{options.lanes, group.size(), options.lanes_at_once},
      cells_(2 * buckets_.size() * options.lanes_at_once),
      slots_(options.lanes_at_once) {}

Status ShardedReducer::Implementation::Allocate() {
  // A reduce-scatter's rows are equally long: so are all shards here, some to no use.
  const std::size_t last = layout_.stripes() == 0 ? 0 : layout_.stripes() - 1;
  const std::size_t size = last * layout_.block() + layout_.Width(last);
  shards_.resize(static_cast<std::size_t>(std::bit_width(waves_.waves())));
  for (auto& shard : shards_) shard.resize(size);
  if (layout_.count() == 0) return {};
  MUSTER_ASSIGN_OR_RETURN(stripe_, group_.Allocate(layout_.Width(0) * group_.size()));
  communication_ = std::thread([this] { Communicate(); });
  return {};
}

ShardedReducer::Implementation::~Implementation() {
  if (!communication_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  communication_.join();
}

// A lane waits for memory only when it has completed what is sent next: whoever has not runs on, so
// the next position is completed on every rank, is sent, and gives memory back.
bool ShardedReducer::Implementation::MayOpen(std::size_t slot, std::size_t position) {
  if (CellOf(position, slot).state != Cell::State::kFree) return false;
  if (!status_.ok() || CellOf(next_, slot).state != Cell::State::kReady) return true;
  return slots_[slot].behind < kAhead;
}

// The smallest that is free and large enough. Otherwise one grows, so that the memory of a slot is
// bounded by what it has in use at a time.
std::vector<float> ShardedReducer::Implementation::TakeMemory(Slot& slot, std::size_t size) {
  auto best = slot.free.end();
  for (auto at = slot.free.begin(); at != slot.free.end(); ++at) {
    if (best == slot.free.end()) best = at;
    const bool fits = at->size() >= size;
    const bool best_fits = best->size() >= size;
    if (fits != best_fits ? fits : fits == (at->size() < best->size())) best = at;
  }
  std::vector<float> memory;
  if (best != slot.free.end()) {
    memory = std::move(*best);
    slot.free.erase(best);
  }
  if (memory.size() >= size) return memory;
  lane_floats_ += size - memory.size();
  memory = {};  // First: both at once would be a peak.
  memory.resize(size);
  return memory;
}

std::span<float> ShardedReducer::Implementation::LaneBucket(std::size_t lane, std::size_t bucket) {
  MUSTER_CHECK(lane < waves_.lanes / waves_.ranks && bucket < buckets_.size(),
               "no such lane or bucket on this rank");
  const std::size_t position = PositionOf(lane, bucket);
  const std::size_t slot = lane % waves_.at_once;
  std::unique_lock lock(mutex_);
  MUSTER_CHECK(slots_[slot].completed >= position - bucket,
               "lane " + std::to_string(lane) + " begins before the lane before it has completed");
  Cell& cell = CellOf(position, slot);
  const bool own = cell.state != Cell::State::kFree && cell.position == position;
  MUSTER_CHECK(position >= next_ && (!own || cell.state == Cell::State::kOpen),
               "a lane asks for a bucket that it has completed in this step");
  if (!own) {
    changed_.wait(lock, [&] { return abandoned_ || MayOpen(slot, position); });
    MUSTER_CHECK(!abandoned_, "another lane of this rank failed");
    cell.memory = TakeMemory(slots_[slot], SizeOf(position));
    cell.state = Cell::State::kOpen;
    cell.position = position;
  }
  return std::span(cell.memory).first(SizeOf(position));
}

void ShardedReducer::Implementation::Release(std::size_t position, std::size_t slot) {
  slots_[slot].free.push_back(std::move(CellOf(position, slot).memory));
  --slots_[slot].behind;
}

void ShardedReducer::Implementation::LaneBucketReady(std::size_t lane, std::size_t bucket) {
  MUSTER_CHECK(lane < waves_.lanes / waves_.ranks && bucket < buckets_.size(),
               "no such lane or bucket on this rank");
  const std::size_t position = PositionOf(lane, bucket);
  const std::size_t slot = lane % waves_.at_once;
  std::unique_lock lock(mutex_);
  Cell& own = CellOf(position, slot);
  MUSTER_CHECK(own.state == Cell::State::kOpen && own.position == position,
               "a lane reports a bucket that it has not asked for, or twice in one step");
  own.state = Cell::State::kReady;
  ++slots_[slot].completed;
  ++slots_[slot].behind;
  // Up from the leaf, as in GradientReducer: the second arrival of two adds.
  std::size_t first = slot;
  std::size_t leaves = 1;
  std::size_t node = waves_.at_once + slot;
  for (; node > 1; node /= 2, leaves *= 2) {
    if (++CellOf(position, node / 2).arrived < 2) break;  // The sibling will add.
    first -= first % (2 * leaves);
    float* const left = CellOf(position, first).memory.data();
    const float* const right = CellOf(position, first + leaves).memory.data();
    lock.unlock();
    AddInto(left, right, SizeOf(position));
    lock.lock();
    Release(position, first + leaves);
  }
  if (node == 1) {
    CellOf(position, 0).arrived = 2;
    if (!status_.ok()) Finish(position);  // Nobody will send it.
  }
  changed_.notify_all();
}

// Node 0 of the tree stands for "the root is done".
bool ShardedReducer::Implementation::Summed(std::size_t position) {
  return CellOf(position, 0).arrived == 2;
}

void ShardedReducer::Implementation::Finish(std::size_t position) {
  Release(position, 0);
  for (std::size_t slot = 0; slot < waves_.at_once; ++slot) {
    Cell& cell = CellOf(position, slot);
    cell.state = Cell::State::kFree;
    cell.arrived = 0;
  }
}

void ShardedReducer::Implementation::Communicate() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(
        lock, [&] { return ending_ || (status_.ok() && next_ < positions() && Summed(next_)); });
    if (ending_) return;
    const float* const values = CellOf(next_, 0).memory.data();
    const std::size_t position = next_;
    lock.unlock();
    const auto start = Clock::now();
    Status status = Send(position, values);
    const double seconds = SecondsSince(start);
    lock.lock();
    communication_s_ += seconds;
    status_ = std::move(status);
    Finish(position);
    ++next_;
    if (!status_.ok()) DropSummed();
    changed_.notify_all();
  }
}

// After a failure lanes still complete their backward.
void ShardedReducer::Implementation::DropSummed() {
  const std::size_t end = std::min(positions(), next_ + 2 * buckets_.size());
  for (std::size_t position = next_; position < end; ++position) {
    if (Summed(position)) Finish(position);
  }
}

Status ShardedReducer::Implementation::Send(std::size_t position, const float* values) {
  const Bucket& bucket = buckets_[position % buckets_.size()];
  for (std::size_t at = bucket.begin; at < bucket.end;) {
    const std::size_t stripe = at / (layout_.block() * group_.size());
    const Part part = layout_.Stripe(stripe);
    const std::size_t end = std::min(bucket.end, part.end);
    std::copy(values + (at - bucket.begin), values + (end - bucket.begin),
              stripe_.data() + (at - part.begin));
    at = end;
    if (at == part.end) {
      MUSTER_RETURN_IF_ERROR(ReduceStripe(stripe, position / buckets_.size()));
    }
  }
  return {};
}

// The wave's sum of this rank's block joins those of earlier waves. Partial sums are those of the 1
// bits of `wave`, as in a binary counter.
Status ShardedReducer::Implementation::ReduceStripe(std::size_t stripe, std::size_t wave) {
  const std::size_t width = layout_.Width(stripe);
  const std::span<float> rows = stripe_.first(width * group_.size());
  const std::size_t filled = layout_.Stripe(stripe).size();
  std::fill(rows.begin() + static_cast<std::ptrdiff_t>(filled), rows.end(), 0.0F);
  auto level = static_cast<std::size_t>(std::popcount(wave));
  const auto block = [&](std::size_t of) {
    return std::span(shards_[of]).subspan(stripe * layout_.block(), width);
  };
  MUSTER_RETURN_IF_ERROR(group_.ReduceScatter(rows, block(level)));
  for (std::size_t bits = wave; bits % 2 == 1; bits /= 2, --level) {
    AddInto(block(level - 1).data(), block(level).data(), width);
  }
  return {};
}

void ShardedReducer::Implementation::Abandon() {
  {
    const std::scoped_lock lock(mutex_);
    abandoned_ = true;
  }
  changed_.notify_all();
}

Status ShardedReducer::Implementation::Wait() {
  std::unique_lock lock(mutex_);
  for (const Slot& slot : slots_) {
    MUSTER_CHECK(slot.completed == positions(), "Wait before all lanes completed all buckets");
  }
  const auto start = Clock::now();
  changed_.wait(lock, [&] { return !status_.ok() || next_ == positions(); });
  times_ = {communication_s_, SecondsSince(start)};
  if (!status_.ok()) return status_;
  for (Slot& slot : slots_) slot.completed = 0;
  next_ = 0;
  communication_s_ = 0;
  return {};
}

ShardedReducer::Memory ShardedReducer::Implementation::memory() {
  const std::scoped_lock lock(mutex_);
  return {lane_floats_, shards_.size() * shards_[0].size() + stripe_.size()};
}

ShardedReducer::ShardedReducer(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}
ShardedReducer::~ShardedReducer() = default;

Result<std::unique_ptr<ShardedReducer>> ShardedReducer::Create(
    Group& group, const ShardedReducerOptions& options) {
  MUSTER_RETURN_IF_ERROR(Validate(options, group.size()));
  auto implementation = std::make_unique<Implementation>(group, options);
  MUSTER_RETURN_IF_ERROR(implementation->Allocate());
  return std::unique_ptr<ShardedReducer>(new ShardedReducer(std::move(implementation)));
}

const ShardLayout& ShardedReducer::layout() const { return implementation_->layout(); }
const std::vector<Bucket>& ShardedReducer::buckets() const { return implementation_->buckets(); }
std::span<float> ShardedReducer::LaneBucket(std::size_t lane, std::size_t bucket) {
  return implementation_->LaneBucket(lane, bucket);
}
void ShardedReducer::LaneBucketReady(std::size_t lane, std::size_t bucket) {
  implementation_->LaneBucketReady(lane, bucket);
}
void ShardedReducer::Abandon() { implementation_->Abandon(); }
Status ShardedReducer::Wait() { return implementation_->Wait(); }
std::span<float> ShardedReducer::Gradients() { return implementation_->Gradients(); }
GradientReducer::Times ShardedReducer::times() const { return implementation_->times(); }
ShardedReducer::Memory ShardedReducer::memory() const { return implementation_->memory(); }

}  // namespace muster
