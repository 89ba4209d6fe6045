#include "trainer/supervised/lane_runner.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <exception>
#include <mutex>
#include <utility>

#include "nn/optim/blocks.h"
#include "tensor/kernels/softmax_cross_entropy.h"
#include "trainer/data/data_order.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBucketFloats = 1U << 18U;  // 1 MiB: large enough to be efficient.
constexpr std::size_t kEvaluationBatch = 64;
// Columns of a step's scores.
enum Score : std::size_t { kLossSum, kCorrect, kStop, kSave, kScores };

double MillisecondsSince(Clock::time_point& start) {
  const auto now = Clock::now();
  return std::chrono::duration<double, std::milli>(now - std::exchange(start, now)).count();
}

// Side by side as far as there are threads; one by one when each op can have two or more.
std::size_t LanesAtOnce(std::size_t local_lanes, std::size_t threads) {
  if (threads >= 2 * local_lanes) return 1;
  return std::bit_floor(std::min(local_lanes, threads));
}

// Runs of neighbouring parameters, in the order in which backward completes them.
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

// What runs on one thread at a time.
struct LaneRunner::Block {
  Block(const nn::ParameterSet& parameters, ThreadPool* pool, MemoryBudget* memory,
        std::size_t rows, std::size_t features)
      : tape(TapeOptions{.pool = pool, .memory = memory}),
        evaluation_tape(TapeOptions{.inference = true, .pool = pool, .memory = memory}),
        images(rows * features),
        labels(rows) {
    for (const nn::ParameterSpec& spec : parameters.specs()) {
      bindings.push_back({spec.shape, nullptr, nullptr});
      offsets.push_back(spec.offset);
    }
  }

  // Binds the parameters to these flat vectors.
  void Bind(std::span<const float> values, std::span<float> gradients) {
    for (std::size_t i = 0; i < bindings.size(); ++i) {
      bindings[i].values = values.data() + offsets[i];
      bindings[i].gradient = gradients.empty() ? nullptr : gradients.data() + offsets[i];
    }
  }

  Tape tape;
  Tape evaluation_tape;
  std::vector<LeafBinding> bindings;
  std::vector<std::size_t> offsets;  // [parameters]
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  std::vector<ImageMove> moves;        // Of the lane's samples; empty without augmentation.
  std::size_t lane = 0;                // The local lane that is running.
  std::vector<std::size_t> remaining;  // [buckets] parameters that its backward still owes.
  double data_ms = 0.0;
  double forward_ms = 0.0;
  double backward_ms = 0.0;
};

LaneRunner::LaneRunner(Group& group, ThreadPool& pool, const nn::Model& model, const Dataset& train,
                       const Normalization& normalization, const LaneRunnerOptions& options)
    : group_(group),
      pool_(pool),
      model_(model),
      train_(train),
      normalization_(normalization),
      options_(options),
      local_lanes_(options.lanes / group.size()),
      lanes_at_once_(LanesAtOnce(local_lanes_, pool.threads())),
      waves_{options.lanes, group.size(), local_lanes_},
      layout_(model.parameters().trainable_elements(), nn::kFlatBlock, group.size()) {}

LaneRunner::~LaneRunner() = default;

Result<std::unique_ptr<LaneRunner>> LaneRunner::Create(Group& group, ThreadPool& pool,
                                                       const nn::Model& model, const Dataset& train,
                                                       const Normalization& normalization,
                                                       const LaneRunnerOptions& options) {
  MUSTER_RETURN_IF_ERROR(ValidateLanes(options.lanes, group.size()));
  MUSTER_CHECK(options.batch_size > 0 && options.batch_size % options.lanes == 0,
               "lanes divide the batch");
  std::unique_ptr<LaneRunner> runner(
      new LaneRunner(group, pool, model, train, normalization, options));
  MUSTER_RETURN_IF_ERROR(runner->Allocate());
  return runner;
}

// Waves are the ranks' together; their threads may differ.
Status LaneRunner::AgreeOnLanesAtOnce() {
  const double own = static_cast<double>(lanes_at_once_);
  std::vector<double> all(group_.size());
  MUSTER_RETURN_IF_ERROR(group_.AllGather(std::span(&own, 1), std::span(all)));
  lanes_at_once_ = static_cast<std::size_t>(*std::min_element(all.begin(), all.end()));
  waves_.at_once = lanes_at_once_;
  return {};
}

Status LaneRunner::MakeReducer(std::vector<Bucket> buckets) {
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

Status LaneRunner::Allocate() {
  std::vector<Bucket> buckets = CutBuckets(model_.parameters(), bucket_of_);
  bucket_parameters_.assign(buckets.size(), 0);
  for (const std::size_t bucket : bucket_of_) ++bucket_parameters_[bucket];
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
  scores_.resize(local_lanes_ * kScores);
  const std::size_t rows = std::max(options_.batch_size / options_.lanes, kEvaluationBatch);
  for (std::size_t i = 0; i < lanes_at_once_; ++i) {
    blocks_.push_back(std::make_unique<Block>(model_.parameters(),
                                              lanes_at_once_ == 1 ? &pool_ : nullptr, memory, rows,
                                              train_.shape.count()));
    ConnectTape(*blocks_.back());
  }
  return {};
}

void LaneRunner::ConnectTape(Block& block) {
  block.tape.OnGradientReady([this, &block](std::size_t parameter) {
    const std::size_t bucket = bucket_of_[parameter];
    if (--block.remaining[bucket] > 0) return;
    if (sharded_) {
      sharded_->LaneBucketReady(block.lane, bucket);
    } else {
      reducer_->LaneBucketReady(block.lane, bucket);
    }
  });
  if (!sharded_) return;
  block.tape.OnGradientNeeded([this, &block](std::size_t parameter) {
    const nn::ParameterSpec& spec = model_.parameters()[parameter];
    const std::size_t bucket = bucket_of_[parameter];
    const std::size_t at = spec.offset - sharded_->buckets()[bucket].begin;
    const std::span<float> own = sharded_->LaneBucket(block.lane, bucket).subspan(at);
    // The gap up to the next parameter: a norm sums it too.
    const std::size_t elements = spec.shape.elements();
    const std::size_t gap =
        (nn::ParameterSet::kAlignment - elements % nn::ParameterSet::kAlignment) %
        nn::ParameterSet::kAlignment;
    std::fill_n(own.data() + elements, gap, 0.0F);
    return own.data();
  });
}

std::size_t LaneRunner::LocalLane(std::size_t block, std::size_t turn) const {
  return sharded_ ? turn * lanes_at_once_ + block : block * (local_lanes_ / lanes_at_once_) + turn;
}

// body(block, local lane): blocks side by side, the lanes of each in ascending order.
template <class Body>
void LaneRunner::ForLanes(const Body& body) {
  std::mutex mutex;
  std::exception_ptr failure;
  pool_.ParallelFor(lanes_at_once_, [&](std::size_t index) {
    try {
      for (std::size_t turn = 0; turn < local_lanes_ / lanes_at_once_; ++turn) {
        body(*blocks_[index], LocalLane(index, turn));
      }
    } catch (...) {
      {
        const std::scoped_lock lock(mutex);
        if (!failure) failure = std::current_exception();
      }
      if (sharded_) sharded_->Abandon();  // Or the other lanes would wait for this one.
    }
  });
  if (failure) std::rethrow_exception(failure);
}

std::span<const ImageMove> LaneRunner::DrawMoves(Block& block, std::size_t global_lane) {
  if (!options_.augment.any()) return {};
  block.moves.resize(options_.batch_size / options_.lanes);
  std::uint64_t sample = step_ * block.moves.size();
  for (ImageMove& move : block.moves) {
    move = DrawMove(options_.augment, options_.seed, static_cast<std::uint32_t>(global_lane),
                    sample++);
  }
  return block.moves;
}

void LaneRunner::RunLane(Block& block, std::size_t lane, std::span<const float> values,
                         std::span<const std::uint32_t> samples) {
  auto start = Clock::now();
  const FeatureShape& shape = train_.shape;
  const std::span<float> images(block.images.data(), samples.size() * shape.count());
  const std::span<std::int32_t> labels(block.labels.data(), samples.size());
  normalization_.Gather(train_, samples, images, labels, DrawMoves(block, LaneOf(lane)));
  block.data_ms += MillisecondsSince(start);

  block.lane = lane;
  block.remaining = bucket_parameters_;
  block.Bind(values, sharded_ ? std::span<float>() : reducer_->LaneGradients(lane));
  Tape& tape = block.tape;
  tape.Begin(block.bindings);
  const Tensor input =
      tape.Input({samples.size(), shape.height, shape.width, shape.channels}, images.data());
  const float scale = 1.0F / static_cast<float>(options_.batch_size);
  const ops::CrossEntropy result =
      ops::SoftmaxCrossEntropy(tape, model_.Forward(tape, input), labels, scale);
  scores_[lane * kScores + kLossSum] = result.score.loss_sum;
  scores_[lane * kScores + kCorrect] = static_cast<double>(result.score.correct);
  block.forward_ms += MillisecondsSince(start);
  tape.Backward(result.loss);
  block.backward_ms += MillisecondsSince(start);
}

Result<LaneRunner::StepOutcome> LaneRunner::Step(std::uint64_t step, std::span<const float> values,
                                                 std::span<const std::uint32_t> batch,
                                                 Flags flags) {
  MUSTER_CHECK(batch.size() == options_.batch_size, "a step takes a whole batch");
  step_ = step;
  for (const auto& block : blocks_) block->data_ms = block->forward_ms = block->backward_ms = 0.0;
  ForLanes([&](Block& block, std::size_t lane) {
    RunLane(block, lane, values, LaneSlice(batch, LaneOf(lane), options_.lanes));
  });
  auto start = Clock::now();
  MUSTER_ASSIGN_OR_RETURN(gradients_, ReducedGradients());
  for (std::size_t lane = 0; lane < local_lanes_; ++lane) {
    scores_[lane * kScores + kStop] = flags.stop ? 1.0 : 0.0;
    scores_[lane * kScores + kSave] = flags.save ? 1.0 : 0.0;
  }
  MUSTER_RETURN_IF_ERROR(SumScores(kScores));

  StepOutcome outcome;
  outcome.communication_ms = MillisecondsSince(start);
  outcome.loss = scores_[kLossSum] / static_cast<double>(options_.batch_size);
  outcome.accuracy = scores_[kCorrect] / static_cast<double>(options_.batch_size);
  outcome.flags = {scores_[kStop] > 0.0, scores_[kSave] > 0.0};
  for (const auto& block : blocks_) {
    outcome.data_ms = std::max(outcome.data_ms, block->data_ms);
    outcome.forward_ms = std::max(outcome.forward_ms, block->forward_ms);
    outcome.backward_ms = std::max(outcome.backward_ms, block->backward_ms);
  }
  return outcome;
}

Result<std::span<float>> LaneRunner::ReducedGradients() {
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

// Row 0 of `scores_` becomes the sum over all lanes: SumLanes without its allocations. The tree's
// lower levels lie within a wave's local lanes, the next between ranks, the upper between waves.
Status LaneRunner::SumScores(std::size_t width) {
  const auto sum_rows = [&](std::size_t first, std::size_t rows) {
    for (std::size_t step = 1; step < rows; step *= 2) {
      for (std::size_t row = first; row < first + rows; row += 2 * step) {
        for (std::size_t i = 0; i < width; ++i) {
          scores_[row * width + i] += scores_[(row + step) * width + i];
        }
      }
    }
  };
  const std::size_t waves = waves_.waves();
  for (std::size_t wave = 0; wave < waves; ++wave) {
    sum_rows(wave * waves_.at_once, waves_.at_once);
    std::copy_n(scores_.begin() + static_cast<std::ptrdiff_t>(wave * waves_.at_once * width), width,
                scores_.begin() + static_cast<std::ptrdiff_t>(wave * width));
  }
  MUSTER_RETURN_IF_ERROR(group_.AllReduce(std::span(scores_).first(waves * width)));
  sum_rows(0, waves);
  return {};
}

void LaneRunner::EvaluateLane(Block& block, std::size_t lane, std::span<const float> values,
                              const Dataset& set, std::span<const std::uint32_t> samples) {
  const std::size_t batches = (samples.size() + kEvaluationBatch - 1) / kEvaluationBatch;
  const std::size_t global_lane = LaneOf(lane);
  const std::size_t begin = batches * global_lane / options_.lanes;
  const std::size_t end = batches * (global_lane + 1) / options_.lanes;
  const FeatureShape& shape = set.shape;
  double loss_sum = 0.0;
  std::size_t correct = 0;
  block.Bind(values, {});
  for (std::size_t batch = begin; batch < end; ++batch) {
    const std::size_t at = batch * kEvaluationBatch;
    const auto rows = samples.subspan(at, std::min(kEvaluationBatch, samples.size() - at));
    const std::span<float> images(block.images.data(), rows.size() * shape.count());
    const std::span<std::int32_t> labels(block.labels.data(), rows.size());
    normalization_.Gather(set, rows, images, labels);
    Tape& tape = block.evaluation_tape;
    tape.Begin(block.bindings);
    const Tensor input =
        tape.Input({rows.size(), shape.height, shape.width, shape.channels}, images.data());
    const ClassificationScore score = ScoreClassification(model_.Forward(tape, input), labels);
    loss_sum += score.loss_sum;
    correct += score.correct;
  }
  scores_[lane * 2 + kLossSum] = loss_sum;
  scores_[lane * 2 + kCorrect] = static_cast<double>(correct);
}

Result<Evaluation> LaneRunner::Evaluate(std::span<const float> values, const Dataset& set,
                                        std::span<const std::uint32_t> samples) {
  MUSTER_CHECK(!samples.empty(), "an evaluation needs samples");
  ForLanes(
      [&](Block& block, std::size_t lane) { EvaluateLane(block, lane, values, set, samples); });
  MUSTER_RETURN_IF_ERROR(SumScores(2));
  const auto count = static_cast<double>(samples.size());
  return Evaluation{scores_[kLossSum] / count, scores_[kCorrect] / count};
}

}  // namespace muster
