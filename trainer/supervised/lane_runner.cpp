#include "trainer/supervised/lane_runner.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tensor/kernels/softmax_cross_entropy.h"
#include "trainer/data/data_order.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kEvaluationBatch = 64;
// Columns of a step's scores.
enum Score : std::size_t { kLossSum, kCorrect, kStop, kSave, kScores };

double MillisecondsSince(Clock::time_point& start) {
  const auto now = Clock::now();
  return std::chrono::duration<double, std::milli>(now - std::exchange(start, now)).count();
}

}  // namespace

// What one of the loop's blocks works with.
struct LaneRunner::Work {
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  std::vector<ImageMove> moves;  // Of the lane's samples; empty without augmentation.
  double data_ms = 0.0;
  double forward_ms = 0.0;
  double backward_ms = 0.0;
};

LaneRunner::LaneRunner(const nn::Model& model, const Dataset& train,
                       const Normalization& normalization, const LaneRunnerOptions& options)
    : model_(model), train_(train), normalization_(normalization), options_(options) {}

LaneRunner::~LaneRunner() = default;

Result<std::unique_ptr<LaneRunner>> LaneRunner::Create(Group& group, ThreadPool& pool,
                                                       const nn::Model& model, const Dataset& train,
                                                       const Normalization& normalization,
                                                       const LaneRunnerOptions& options) {
  MUSTER_CHECK(options.batch_size > 0 && options.batch_size % options.loop.lanes == 0,
               "lanes divide the batch");
  std::unique_ptr<LaneRunner> runner(new LaneRunner(model, train, normalization, options));
  MUSTER_ASSIGN_OR_RETURN(runner->loop_,
                          LaneLoop::Create(group, pool, model.parameters(), options.loop));
  const std::size_t rows = std::max(options.batch_size / options.loop.lanes, kEvaluationBatch);
  runner->work_.resize(runner->loop_->blocks());
  for (Work& work : runner->work_) {
    work.images.resize(rows * train.shape.count());
    work.labels.resize(rows);
  }
  runner->scores_.resize(runner->loop_->local_lanes() * kScores);
  return runner;
}

std::span<const ImageMove> LaneRunner::DrawMoves(Work& work, std::size_t global_lane) {
  if (!options_.augment.any()) return {};
  work.moves.resize(options_.batch_size / loop_->lanes());
  std::uint64_t sample = step_ * work.moves.size();
  for (ImageMove& move : work.moves) {
    move = DrawMove(options_.augment, options_.seed, static_cast<std::uint32_t>(global_lane),
                    sample++);
  }
  return work.moves;
}

void LaneRunner::RunLane(LaneLoop::Block& block, std::size_t lane, std::span<const float> values,
                         std::span<const std::uint32_t> samples) {
  Work& work = work_[block.index()];
  auto start = Clock::now();
  const FeatureShape& shape = train_.shape;
  const std::span<float> images(work.images.data(), samples.size() * shape.count());
  const std::span<std::int32_t> labels(work.labels.data(), samples.size());
  normalization_.Gather(train_, samples, images, labels, DrawMoves(work, loop_->LaneOf(lane)));
  work.data_ms += MillisecondsSince(start);

  Tape& tape = loop_->BeginStep(block, lane, values);
  const Tensor input =
      tape.Input({samples.size(), shape.height, shape.width, shape.channels}, images.data());
  const float scale = 1.0F / static_cast<float>(options_.batch_size);
  const ops::CrossEntropy result =
      ops::SoftmaxCrossEntropy(tape, model_.Forward(tape, input), labels, scale);
  scores_[lane * kScores + kLossSum] = result.score.loss_sum;
  scores_[lane * kScores + kCorrect] = static_cast<double>(result.score.correct);
  work.forward_ms += MillisecondsSince(start);
  tape.Backward(result.loss);
  work.backward_ms += MillisecondsSince(start);
}

Result<LaneRunner::StepOutcome> LaneRunner::Step(std::uint64_t step, std::span<const float> values,
                                                 std::span<const std::uint32_t> batch,
                                                 Flags flags) {
  MUSTER_CHECK(batch.size() == options_.batch_size, "a step takes a whole batch");
  step_ = step;
  for (Work& work : work_) work.data_ms = work.forward_ms = work.backward_ms = 0.0;
  loop_->ForLanes([&](LaneLoop::Block& block, std::size_t lane) {
    RunLane(block, lane, values, LaneSlice(batch, loop_->LaneOf(lane), loop_->lanes()));
  });
  auto start = Clock::now();
  MUSTER_ASSIGN_OR_RETURN(gradients_, loop_->ReducedGradients());
  for (std::size_t lane = 0; lane < loop_->local_lanes(); ++lane) {
    scores_[lane * kScores + kStop] = flags.stop ? 1.0 : 0.0;
    scores_[lane * kScores + kSave] = flags.save ? 1.0 : 0.0;
  }
  MUSTER_RETURN_IF_ERROR(loop_->SumLanes(scores_, kScores));

  StepOutcome outcome;
  outcome.communication_ms = MillisecondsSince(start);
  outcome.loss = scores_[kLossSum] / static_cast<double>(options_.batch_size);
  outcome.accuracy = scores_[kCorrect] / static_cast<double>(options_.batch_size);
  outcome.flags = {scores_[kStop] > 0.0, scores_[kSave] > 0.0};
  for (const Work& work : work_) {
    outcome.data_ms = std::max(outcome.data_ms, work.data_ms);
    outcome.forward_ms = std::max(outcome.forward_ms, work.forward_ms);
    outcome.backward_ms = std::max(outcome.backward_ms, work.backward_ms);
  }
  return outcome;
}

void LaneRunner::EvaluateLane(LaneLoop::Block& block, std::size_t lane,
                              std::span<const float> values, const Dataset& set,
                              std::span<const std::uint32_t> samples) {
  const std::size_t batches = (samples.size() + kEvaluationBatch - 1) / kEvaluationBatch;
  const std::size_t global_lane = loop_->LaneOf(lane);
  Work& work = work_[block.index()];
  const std::size_t begin = batches * global_lane / loop_->lanes();
  const std::size_t end = batches * (global_lane + 1) / loop_->lanes();
  const FeatureShape& shape = set.shape;
  double loss_sum = 0.0;
  std::size_t correct = 0;
  for (std::size_t batch = begin; batch < end; ++batch) {
    const std::size_t at = batch * kEvaluationBatch;
    const auto rows = samples.subspan(at, std::min(kEvaluationBatch, samples.size() - at));
    const std::span<float> images(work.images.data(), rows.size() * shape.count());
    const std::span<std::int32_t> labels(work.labels.data(), rows.size());
    normalization_.Gather(set, rows, images, labels);
    Tape& tape = loop_->BeginInference(block, values);
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
  loop_->ForLanes([&](LaneLoop::Block& block, std::size_t lane) {
    EvaluateLane(block, lane, values, set, samples);
  });
  MUSTER_RETURN_IF_ERROR(loop_->SumLanes(scores_, 2));
  const auto count = static_cast<double>(samples.size());
  return Evaluation{scores_[kLossSum] / count, scores_[kCorrect] / count};
}

}  // namespace muster
