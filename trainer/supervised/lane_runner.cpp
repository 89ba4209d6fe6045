#include "trainer/supervised/lane_runner.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <utility>

#include "collectives/lane_tree.h"
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
  buckets.push_back({begin, parameters.flat_elements()});
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
      first_lane_(LanesOfRank(group.rank(), group.size(), options.lanes).first),
      local_lanes_(options.lanes / group.size()),
      lanes_at_once_(LanesAtOnce(local_lanes_, pool.threads())) {}

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

Status LaneRunner::Allocate() {
  GradientReducerOptions reducer;
  reducer.lanes = options_.lanes;
  reducer.count = model_.parameters().flat_elements();
  reducer.buckets = CutBuckets(model_.parameters(), bucket_of_);
  reducer.lanes_at_once = lanes_at_once_;
  bucket_parameters_.assign(reducer.buckets.size(), 0);
  for (const std::size_t bucket : bucket_of_) ++bucket_parameters_[bucket];
  auto created = GradientReducer::Create(group_, reducer);
  if (!created.ok()) return created.status();
  reducer_ = std::move(*created);

  if (options_.memory_bytes > 0) {
    // What else the process still touches: the group's part of the gradients, stacks, libraries.
    constexpr std::size_t kOther = std::size_t{32} << 20U;
    const std::size_t held = ResidentBytes() + reducer.count * sizeof(float) + kOther;
    step_memory_.emplace(options_.memory_bytes - std::min(options_.memory_bytes, held));
  }
  MemoryBudget* const memory = step_memory_ ? &*step_memory_ : nullptr;
  scores_.resize(local_lanes_ * kScores);
  const std::size_t rows = std::max(options_.batch_size / options_.lanes, kEvaluationBatch);
  for (std::size_t i = 0; i < lanes_at_once_; ++i) {
    blocks_.push_back(std::make_unique<Block>(model_.parameters(),
                                              lanes_at_once_ == 1 ? &pool_ : nullptr, memory, rows,
                                              train_.shape.count()));
    Block& block = *blocks_.back();
    block.tape.OnGradientReady([this, &block](std::size_t parameter) {
      const std::size_t bucket = bucket_of_[parameter];
      if (--block.remaining[bucket] == 0) reducer_->LaneBucketReady(block.lane, bucket);
    });
  }
  return {};
}

void LaneRunner::RunLane(Block& block, std::size_t lane, std::span<const float> values,
                         std::span<const std::uint32_t> samples) {
  auto start = Clock::now();
  const FeatureShape& shape = train_.shape;
  const std::span<float> images(block.images.data(), samples.size() * shape.count());
  const std::span<std::int32_t> labels(block.labels.data(), samples.size());
  normalization_.Gather(train_, samples, images, labels);
  block.data_ms += MillisecondsSince(start);

  block.lane = lane;
  block.remaining = bucket_parameters_;
  block.Bind(values, reducer_->LaneGradients(lane));
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

Result<LaneRunner::StepOutcome> LaneRunner::Step(std::span<const float> values,
                                                 std::span<const std::uint32_t> batch,
                                                 Flags flags) {
  MUSTER_CHECK(batch.size() == options_.batch_size, "a step takes a whole batch");
  const std::size_t block_lanes = local_lanes_ / lanes_at_once_;
  pool_.ParallelFor(lanes_at_once_, [&](std::size_t index) {
    Block& block = *blocks_[index];
    block.data_ms = block.forward_ms = block.backward_ms = 0.0;
    for (std::size_t lane = index * block_lanes; lane < (index + 1) * block_lanes; ++lane) {
      RunLane(block, lane, values, LaneSlice(batch, first_lane_ + lane, options_.lanes));
    }
  });
  auto start = Clock::now();
  MUSTER_RETURN_IF_ERROR(reducer_->Wait());
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

// Row 0 of `scores_` becomes the sum over all lanes: SumLanes without its allocations.
Status LaneRunner::SumScores(std::size_t width) {
  for (std::size_t step = 1; step < local_lanes_; step *= 2) {
    for (std::size_t row = 0; row < local_lanes_; row += 2 * step) {
      for (std::size_t i = 0; i < width; ++i) {
        scores_[row * width + i] += scores_[(row + step) * width + i];
      }
    }
  }
  return group_.AllReduce(std::span(scores_).first(width));
}

void LaneRunner::EvaluateLane(Block& block, std::size_t lane, std::span<const float> values,
                              const Dataset& set, std::span<const std::uint32_t> samples) {
  const std::size_t batches = (samples.size() + kEvaluationBatch - 1) / kEvaluationBatch;
  const std::size_t global_lane = first_lane_ + lane;
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
  const std::size_t block_lanes = local_lanes_ / lanes_at_once_;
  pool_.ParallelFor(lanes_at_once_, [&](std::size_t index) {
    for (std::size_t lane = index * block_lanes; lane < (index + 1) * block_lanes; ++lane) {
      EvaluateLane(*blocks_[index], lane, values, set, samples);
    }
  });
  MUSTER_RETURN_IF_ERROR(SumScores(2));
  const auto count = static_cast<double>(samples.size());
  return Evaluation{scores_[kLossSum] / count, scores_[kCorrect] / count};
}

}  // namespace muster
