#include "trainer/lanes/lane_loop.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "nn/optim/blocks.h"

namespace muster {
namespace {

constexpr std::size_t kBucketFloats = 1U << 18U;  // 1 MiB: large enough to be efficient.

// Side by side as far as there are threads; one by one when each op can have two or more.
std::size_t LanesAtOnce(std::size_t local_lanes, std::size_t threads) {
  if (threads >= 2 * local_lanes) return 1;
  return std::bit_floor(std::min(local_lanes, threads));
}

// Runs of neighbouring parameters, in the order in which backward completes them; without the
// frozen ones, which are in no bucket.
std::vector<Bucket> CutBuckets(const nn::ParameterSet& parameters,
                               std::vector<std::size_t>& bucket_of) {
  std::vector<Bucket> buckets;
  bucket_of.resize(parameters.size());
  std::size_t begin = 0;
  for (const std::size_t number : parameters.ReadyOrder()) {
    const std::size_t offset = parameters[number].offset;
    if (offset - begin >= kBucketFloats) {
      buckets.push_back({begin, offset});
      begin = offset;
    }
    bucket_of[number] = buckets.size();
  }
  buckets.push_back({begin, parameters.trainable_elements()});
  return buckets;
}

}  // namespace

LaneLoop::Block::Block(std::size_t index, const nn::ParameterSet& parameters, ThreadPool* pool,
                       MemoryBudget* memory)
    : index_(index),
      tape_(TapeOptions{.pool = pool, .memory = memory}),
      inference_tape_(TapeOptions{.inference = true, .pool = pool, .memory = memory}) {
  for (const nn::ParameterSpec& spec : parameters.specs()) {
    bindings_.push_back({.shape = spec.shape, .frozen = spec.frozen});
    offsets_.push_back(spec.offset);
  }
}

// Binds the parameters to these flat vectors.
void LaneLoop::Block::Bind(std::span<const float> values, std::span<float> gradients) {
  for (std::size_t i = 0; i < bindings_.size(); ++i) {
    bindings_[i].values = values.data() + offsets_[i];
    const bool none = gradients.empty() || bindings_[i].frozen;
    bindings_[i].gradient = none ? nullptr : gradients.data() + offsets_[i];
  }
}

LaneLoop::LaneLoop(Group& group, ThreadPool& pool, const nn::ParameterSet& parameters,
                   const LaneLoopOptions& options)
    : group_(group),
      pool_(pool),
      parameters_(parameters),
      options_(options),
      local_lanes_(options.lanes / group.size()),
      lanes_at_once_(LanesAtOnce(local_lanes_, pool.threads())),
      waves_{options.lanes, group.size(), local_lanes_},
      layout_(parameters.trainable_elements(), nn::kFlatBlock, group.size()) {}

Result<std::unique_ptr<LaneLoop>> LaneLoop::Create(Group& group, ThreadPool& pool,
                                                   const nn::ParameterSet& parameters,
                                                   const LaneLoopOptions& options) {
  MUSTER_RETURN_IF_ERROR(ValidateLanes(options.lanes, group.size()));
  std::unique_ptr<LaneLoop> loop(new LaneLoop(group, pool, parameters, options));
  MUSTER_RETURN_IF_ERROR(loop->Allocate());
  return loop;
}

// Waves are the ranks' together; their threads may differ.
Status LaneLoop::AgreeOnLanesAtOnce() {
  const double own = static_cast<double>(lanes_at_once_);
  std::vector<double> all(group_.size());
  MUSTER_RETURN_IF_ERROR(group_.AllGather(std::span(&own, 1), std::span(all)));
  lanes_at_once_ = static_cast<std::size_t>(*std::min_element(all.begin(), all.end()));
  waves_.at_once = lanes_at_once_;
  return {};
}

Status LaneLoop::MakeReducer(std::vector<Bucket> buckets) {
  if (options_.zero_stage == 2) {
    MUSTER_RETURN_IF_ERROR(AgreeOnLanesAtOnce());
    MUSTER_ASSIGN_OR_RETURN(
        sharded_, ShardedReducer::Create(group_, {options_.lanes, layout_.count(), layout_.block(),
                                                  std::move(buckets), lanes_at_once_}));
    return {};
  }
  MUSTER_ASSIGN_OR_RETURN(
      reducer_, GradientReducer::Create(
                    group_, {options_.lanes, layout_.count(), std::move(buckets), lanes_at_once_}));
  return {};
}

Status LaneLoop::Allocate() {
  std::vector<Bucket> buckets = CutBuckets(parameters_, bucket_of_);
  bucket_parameters_.assign(buckets.size(), 0);
  for (const std::size_t number : parameters_.ReadyOrder())
    ++bucket_parameters_[bucket_of_[number]];
  MUSTER_RETURN_IF_ERROR(MakeReducer(std::move(buckets)));

  if (options_.memory_bytes > 0) {
    // What else the process still touches: the group's part of the gradients or the buckets that
    // lanes borrow, stacks, libraries.
    constexpr std::size_t kOther = std::size_t{32} << 20U;
    const std::size_t held = ResidentBytes() + layout_.count() * sizeof(float) + kOther;
    constexpr std::size_t kRound = std::size_t{64} << 20U;
    if (held >= options_.memory_bytes) {
      return FailedPrecondition(
          "resources.memory_mib_per_rank: " + std::to_string(options_.memory_bytes >> 20U) +
          " MiB are taken before the first step by the program, its data, the parameters and the "
          "optimizer's state; give " +
          std::to_string(((held + kRound) / kRound * kRound) >> 20U) + " or more");
    }
    step_memory_.emplace(options_.memory_bytes - held);
  }
  MemoryBudget* const memory = step_memory_ ? &*step_memory_ : nullptr;
  for (std::size_t i = 0; i < lanes_at_once_; ++i) {
    blocks_.push_back(std::unique_ptr<Block>(
        new Block(i, parameters_, lanes_at_once_ == 1 ? &pool_ : nullptr, memory)));
    ConnectTape(*blocks_.back());
  }
  return {};
}

void LaneLoop::ConnectTape(Block& block) {
  block.tape_.OnGradientReady([this, &block](std::size_t parameter) {
    const std::size_t bucket = bucket_of_[parameter];
    if (--block.remaining_[bucket] > 0) return;
    if (sharded_) {
      sharded_->LaneBucketReady(block.lane_, bucket);
    } else {
      reducer_->LaneBucketReady(block.lane_, bucket);
    }
  });
  if (!sharded_) return;
  block.tape_.OnGradientNeeded([this, &block](std::size_t parameter) {
    const nn::ParameterSpec& spec = parameters_[parameter];
    const std::size_t bucket = bucket_of_[parameter];
    const std::size_t at = spec.offset - sharded_->buckets()[bucket].begin;
    const std::span<float> own = sharded_->LaneBucket(block.lane_, bucket).subspan(at);
    // The gap up to the next parameter: a norm sums it too.
    const std::size_t elements = spec.shape.elements();
    const std::size_t gap =
        (nn::ParameterSet::kAlignment - elements % nn::ParameterSet::kAlignment) %
        nn::ParameterSet::kAlignment;
    std::fill_n(own.data() + elements, gap, 0.0F);
    return own.data();
  });
}

std::size_t LaneLoop::LocalLane(std::size_t block, std::size_t turn) const {
  return sharded_ ? turn * lanes_at_once_ + block : block * (local_lanes_ / lanes_at_once_) + turn;
}

Tape& LaneLoop::BeginStep(Block& block, std::size_t local_lane, std::span<const float> values) {
  block.lane_ = local_lane;
  block.remaining_ = bucket_parameters_;
  block.Bind(values, sharded_ ? std::span<float>() : reducer_->LaneGradients(local_lane));
  block.tape_.Begin(block.bindings_);
  return block.tape_;
}

Tape& LaneLoop::BeginInference(Block& block, std::span<const float> values) {
  block.Bind(values, {});
  block.inference_tape_.Begin(block.bindings_);
  return block.inference_tape_;
}

Result<std::span<float>> LaneLoop::ReducedGradients() {
  if (sharded_) {
    MUSTER_RETURN_IF_ERROR(sharded_->Wait());
    return sharded_->Gradients();
  }
  MUSTER_RETURN_IF_ERROR(reducer_->Wait());
  const std::span<float> all = reducer_->Gradients();
  if (options_.zero_stage == 0) return all;
  // Not in place: the gaps between parameters must stay zero.
  shard_.resize(layout_.ShardSize(group_.rank()));
  layout_.Take(group_.rank(), std::span<const float>(all), std::span(shard_));
  return std::span(shard_);
}

// The tree's lower levels lie within a wave's local lanes, the next between ranks, the upper
// between waves.
Status LaneLoop::SumLanes(std::span<double> rows, std::size_t width) {
  const auto sum_rows = [&](std::size_t first, std::size_t count) {
    for (std::size_t step = 1; step < count; step *= 2) {
      for (std::size_t row = first; row < first + count; row += 2 * step) {
        for (std::size_t i = 0; i < width; ++i) {
          rows[row * width + i] += rows[(row + step) * width + i];
        }
      }
    }
  };
  const std::size_t waves = waves_.waves();
  for (std::size_t wave = 0; wave < waves; ++wave) {
    sum_rows(wave * waves_.at_once, waves_.at_once);
    std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(wave * waves_.at_once * width), width,
                rows.begin() + static_cast<std::ptrdiff_t>(wave * width));
  }
  MUSTER_RETURN_IF_ERROR(group_.AllReduce(rows.first(waves * width)));
  sum_rows(0, waves);
  return {};
}

}  // namespace muster
