#include "collectives/gradient_reducer.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/aligned_vector.h"
#include "collectives/lane_tree.h"
#include "collectives/ordered_sum.h"
#include "collectives/stopwatch.h"

namespace muster {
namespace {

Status ValidateBuckets(const std::vector<Bucket>& buckets, std::size_t count) {
  std::vector<Bucket> sorted = buckets;
  std::sort(sorted.begin(), sorted.end(),
            [](const Bucket& a, const Bucket& b) { return a.begin < b.begin; });
  std::size_t at = 0;
  for (const Bucket& bucket : sorted) {
    if (bucket.begin != at || bucket.end <= bucket.begin) {
      return InvalidArgument("gradient buckets must cut [0, " + std::to_string(count) +
                             ") without gap or overlap; one begins at " +
                             std::to_string(bucket.begin) + " where " + std::to_string(at) +
                             " was expected");
    }
    at = bucket.end;
  }
  if (at == count) return {};
  return InvalidArgument("gradient buckets end at element " + std::to_string(at) + " of " +
                         std::to_string(count));
}

}  // namespace

class GradientReducer::Implementation {
 public:
  Implementation(Group& group, const GradientReducerOptions& options);
  ~Implementation();
  Status Allocate();

  std::size_t local_lanes() const { return local_lanes_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }
  std::span<float> LaneGradients(std::size_t lane);
  void LaneBucketReady(std::size_t lane, std::size_t bucket);
  Status Wait();
  std::span<float> Gradients() { return buffers_[0]; }
  Times times() const { return times_; }

 private:
  // Lanes of a block run one after another, so that lane i of a block may write where the operands
  // of pending sums are not: these are one per 1 bit of i, as in a binary counter.
  std::size_t BufferOf(std::size_t lane) const {
    const auto ones = static_cast<std::size_t>(std::popcount(lane % block_lanes_));
    return lane / block_lanes_ * buffers_per_block_ + ones;
  }
  float* LaneBucket(std::size_t lane, std::size_t bucket) {
    return buffers_[BufferOf(lane)].data() + buckets_[bucket].begin;
  }
  void LocalSumReady(std::size_t bucket);
  void Communicate();

  Group& group_;
  const std::size_t count_;
  const std::vector<Bucket> buckets_;
  const std::size_t local_lanes_;
  const std::size_t block_lanes_;
  const std::size_t buffers_per_block_;
  std::vector<std::span<float>> buffers_;    // The first is the group's memory and ends as the sum.
  std::vector<AlignedVector<float>> plain_;  // The others.

  // Arrivals at the tree's inner nodes, [buckets, local_lanes]; node n >= 1, children 2n and 2n+1,
  // lane l is leaf local_lanes + l. The second arrival of two adds.
  std::vector<std::atomic<std::uint8_t>> arrived_;
  std::vector<std::atomic<std::size_t>> lane_buckets_;  // [local_lanes] ready in this step.

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<char> summed_;  // [buckets] local sum ready; under mutex_, as are the next ones.
  std::size_t reduced_ = 0;   // Buckets done in this step.
  bool ending_ = false;
  Status status_;
  Times times_;
  double communication_s_ = 0;
  std::thread communication_;
};

GradientReducer::Implementation::Implementation(Group& group, const GradientReducerOptions& options)
    : group_(group),
      count_(options.count),
      buckets_(options.buckets),
      local_lanes_(options.lanes / group.size()),
      block_lanes_(local_lanes_ / options.lanes_at_once),
      buffers_per_block_(static_cast<std::size_t>(std::bit_width(block_lanes_))),
      arrived_(buckets_.size() * local_lanes_),
      lane_buckets_(local_lanes_),
      summed_(buckets_.size(), 0) {}

Status GradientReducer::Implementation::Allocate() {
  auto first = group_.Allocate(count_);
  if (!first.ok()) return first.status();
  buffers_.push_back(*first);
  const std::size_t blocks = local_lanes_ / block_lanes_;
  plain_.resize(blocks * buffers_per_block_ - 1);
  for (auto& memory : plain_) {
    memory.resize(count_);
    buffers_.emplace_back(memory);
  }
  if (group_.size() > 1) communication_ = std::thread([this] { Communicate(); });
  return {};
}

GradientReducer::Implementation::~Implementation() {
  if (!communication_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  communication_.join();
}

std::span<float> GradientReducer::Implementation::LaneGradients(std::size_t lane) {
  MUSTER_CHECK(lane < local_lanes_, "no such lane on this rank");
  MUSTER_CHECK(lane % block_lanes_ == 0 || lane_buckets_[lane - 1].load() == buckets_.size(),
               "lane " + std::to_string(lane) + " begins before the lane before it has completed");
  return buffers_[BufferOf(lane)];
}

void GradientReducer::Implementation::LaneBucketReady(std::size_t lane, std::size_t bucket) {
  MUSTER_CHECK(lane < local_lanes_ && bucket < buckets_.size(), "no such lane or bucket");
  const std::size_t size = buckets_[bucket].end - buckets_[bucket].begin;
  // Up from the leaf: `first` is the leftmost lane of the node's subtree of `leaves` lanes.
  std::size_t first = lane;
  std::size_t leaves = 1;
  std::size_t node = local_lanes_ + lane;
  for (; node > 1; node /= 2, leaves *= 2) {
    std::atomic<std::uint8_t>& arrived = arrived_[bucket * local_lanes_ + node / 2];
    const std::uint8_t before = arrived.fetch_add(1, std::memory_order_acq_rel);
    MUSTER_CHECK(before < 2, "a lane reported a bucket twice in one step");
    if (before == 0) break;  // The sibling will add.
    first -= first % (2 * leaves);
    AddInto(LaneBucket(first, bucket), LaneBucket(first + leaves, bucket), size);
  }
  if (node == 1) LocalSumReady(bucket);
  // Last: it lets the next lane of the block write.
  MUSTER_CHECK(lane_buckets_[lane].fetch_add(1) < buckets_.size(), "a lane has too many buckets");
}

void GradientReducer::Implementation::LocalSumReady(std::size_t bucket) {
  {
    const std::scoped_lock lock(mutex_);
    MUSTER_CHECK(summed_[bucket] == 0, "a lane reported a bucket twice in one step");
    summed_[bucket] = 1;
  }
  changed_.notify_all();
}

void GradientReducer::Implementation::Communicate() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] {
      return ending_ || (status_.ok() && reduced_ < buckets_.size() && summed_[reduced_] != 0);
    });
    if (ending_) return;
    const Bucket bucket = buckets_[reduced_];
    lock.unlock();
    const auto start = Clock::now();
    Status status = group_.AllReduce(buffers_[0].subspan(bucket.begin, bucket.end - bucket.begin));
    const double seconds = SecondsSince(start);
    lock.lock();
    communication_s_ += seconds;
    status_ = std::move(status);
    ++reduced_;
    changed_.notify_all();
  }
}

Status GradientReducer::Implementation::Wait() {
  std::unique_lock lock(mutex_);
  MUSTER_CHECK(
      std::count(summed_.begin(), summed_.end(), 1) == static_cast<std::ptrdiff_t>(buckets_.size()),
      "Wait before all lanes completed all buckets");
  if (group_.size() > 1) {
    const auto start = Clock::now();
    changed_.wait(lock, [&] { return !status_.ok() || reduced_ == buckets_.size(); });
    times_ = {communication_s_, SecondsSince(start)};
  }
  if (!status_.ok()) return status_;
  // The communication thread now waits for summed_[0], and no lane runs: nobody else looks at
  // these.
  std::fill(summed_.begin(), summed_.end(), 0);
  for (auto& node : arrived_) node.store(0, std::memory_order_relaxed);
  for (auto& buckets : lane_buckets_) buckets.store(0, std::memory_order_relaxed);
  reduced_ = 0;
  communication_s_ = 0;
  return {};
}

GradientReducer::GradientReducer(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}
GradientReducer::~GradientReducer() = default;

Result<std::unique_ptr<GradientReducer>> GradientReducer::Create(
    Group& group, const GradientReducerOptions& options) {
  MUSTER_RETURN_IF_ERROR(ValidateLanes(options.lanes, group.size()));
  const std::size_t local = options.lanes / group.size();
  if (!std::has_single_bit(options.lanes_at_once) || options.lanes_at_once > local) {
    return InvalidArgument("lanes_at_once must be a power of two up to the rank's " +
                           std::to_string(local) + " lanes, not " +
                           std::to_string(options.lanes_at_once));
  }
  MUSTER_RETURN_IF_ERROR(ValidateBuckets(options.buckets, options.count));
  auto implementation = std::make_unique<Implementation>(group, options);
  MUSTER_RETURN_IF_ERROR(implementation->Allocate());
  return std::unique_ptr<GradientReducer>(new GradientReducer(std::move(implementation)));
}

std::size_t GradientReducer::local_lanes() const { return implementation_->local_lanes(); }
const std::vector<Bucket>& GradientReducer::buckets() const { return implementation_->buckets(); }
std::span<float> GradientReducer::LaneGradients(std::size_t lane) {
  return implementation_->LaneGradients(lane);
}
void GradientReducer::LaneBucketReady(std::size_t lane, std::size_t bucket) {
  implementation_->LaneBucketReady(lane, bucket);
}
Status GradientReducer::Wait() { return implementation_->Wait(); }
std::span<float> GradientReducer::Gradients() { return implementation_->Gradients(); }
GradientReducer::Times GradientReducer::times() const { return implementation_->times(); }

std::vector<Bucket> BucketsFromTheEnd(std::span<const std::size_t> boundaries, std::size_t count,
                                      std::size_t bucket_bytes) {
  MUSTER_CHECK(count == 0 || (!boundaries.empty() && boundaries.front() == 0),
               "the first parameter starts at 0");
  std::vector<Bucket> buckets;
  std::size_t end = count;
  for (std::size_t i = boundaries.size(); i-- > 0;) {
    const std::size_t begin = boundaries[i];
    MUSTER_CHECK(begin <= end, "parameters start in ascending order, inside the array");
    if (begin == end || ((end - begin) * sizeof(float) < bucket_bytes && i > 0)) continue;
    buckets.push_back({begin, end});
    end = begin;
  }
  return buckets;
}

}  // namespace muster
