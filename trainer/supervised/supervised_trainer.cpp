#include "trainer/supervised/supervised_trainer.h"

#include <chrono>
#include <cmath>
#include <new>
#include <numeric>
#include <utility>
#include <vector>

#include "nn/optim/gradient_norm.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/data/data_order.h"
#include "trainer/metrics/metrics_writer.h"
#include "trainer/supervised/lane_runner.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

constexpr std::string_view kNotEveryStep[] = {"validation/loss", "validation/accuracy", "test/loss",
                                              "test/accuracy"};

void PutEvaluation(MetricsRow& row, const std::string& prefix, const Evaluation& evaluation) {
  Put(row, prefix + "/loss", evaluation.loss);
  Put(row, prefix + "/accuracy", evaluation.accuracy);
}

// One attempt of one rank.
class SupervisedTrainer {
 public:
  SupervisedTrainer(const SupervisedOptions& options, const TrainingRun& run, Group& group,
                    ThreadPool& pool, TrainerHost& host)
      : options_(options), run_(run), group_(group), pool_(pool), host_(host) {}

  Result<SupervisedResult> Run();

 private:
  Status Prepare();
  Status Restore();
  Status TrainStep(bool& stop);
  Status ApplyGradients();
  Result<Evaluation> Evaluate(const std::string& name, const Dataset& set,
                              std::span<const std::uint32_t> samples);
  Status EvaluateIfDue();
  Status SaveIfDue(bool asked);
  Status WriteCheckpointFiles();

  bool leads() const { return group_.rank() == 0; }
  bool ended_early() const {
    return state_->early_stop && state_->early_stop->Ends(options_.early_stop);
  }
  bool finished() const { return state_->step == plan_.steps_total || ended_early(); }
  // As far as is known.
  std::uint64_t steps_total() const { return ended_early() ? state_->step : plan_.steps_total; }
  std::string WhyEndedEarly() const;
  std::size_t lane_batch() const { return options_.batch_size / options_.lanes; }

  const SupervisedOptions& options_;
  const TrainingRun& run_;
  Group& group_;
  ThreadPool& pool_;
  TrainerHost& host_;

  TrainingData data_;
  SupervisedPlan plan_;
  SampleSplit split_;
  std::vector<std::uint32_t> test_samples_;
  std::unique_ptr<nn::Model> model_;
  std::optional<Normalization> normalization_;
  std::optional<BatchOrder> order_;
  std::optional<TrainingState> state_;
  std::unique_ptr<LaneRunner> lanes_;
  nn::ScheduleOptions schedule_;

  std::optional<MetricsWriter> metrics_;
  MetricsRow row_;
  bool evaluated_ = false;  // At this step, on validation samples.
  bool improved_ = false;
  std::optional<CheckpointNotice> notice_;  // Written at this step, not yet handed over.
  Clock::time_point saved_at_ = Clock::now();
};

Status SupervisedTrainer::Prepare() {
  MUSTER_RETURN_IF_ERROR(ValidateOptions(options_, group_.size()));
  MUSTER_ASSIGN_OR_RETURN(data_, ReadTrainingData(options_.data));
  MUSTER_ASSIGN_OR_RETURN(plan_, PlanSupervised(options_, group_.size(), SummaryOf(data_)));
  split_ = SplitSamples(static_cast<std::uint32_t>(data_.train.samples), data_.validation_samples,
                        options_.seed);
  if (data_.test) {
    test_samples_.resize(data_.test->samples);
    std::iota(test_samples_.begin(), test_samples_.end(), 0U);
  }
  MUSTER_ASSIGN_OR_RETURN(model_,
                          MakeClassifier(options_.model, plan_.data.shape, plan_.data.classes));
  MUSTER_ASSIGN_OR_RETURN(normalization_, Normalization::Create(options_.data.normalization,
                                                                data_.train, split_.train));
  order_.emplace(split_.train, options_.batch_size, options_.seed);
  state_.emplace(*model_, options_.optimizer, options_.seed, RecipeOf(options_), data_.sha256,
                 options_.zero_stage > 0 ? &group_ : nullptr);
  if (options_.early_stop.patience > 0) state_->early_stop.emplace();
  schedule_ = ScheduleOf(options_, plan_.steps_total);
  if (!run_.resume_directory.empty()) MUSTER_RETURN_IF_ERROR(Restore());
  if (leads() && !run_.metrics_path.empty()) {
    MUSTER_ASSIGN_OR_RETURN(metrics_, MetricsWriter::Open(run_.metrics_path));
  }
  return {};
}

Status SupervisedTrainer::Restore() {
  MUSTER_ASSIGN_OR_RETURN(const Checkpoint checkpoint, ReadCheckpoint(run_.resume_directory));
  MUSTER_RETURN_IF_ERROR(state_->Restore(checkpoint.contents, options_.lanes, lane_batch())
                             .During("resume from " + run_.resume_directory));
  if (state_->step <= plan_.steps_total) return {};
  return FailedPrecondition("resume from " + run_.resume_directory + ": it is at step " +
                            std::to_string(state_->step) + " of " +
                            std::to_string(plan_.steps_total));
}

Result<SupervisedResult> SupervisedTrainer::Run() {
  const Status prepared = Prepare();
  MUSTER_RETURN_IF_ERROR(AgreeOnStart(group_, prepared, prepared.ok() ? state_->step : 0));
  LaneRunnerOptions lanes;
  lanes.loop.lanes = options_.lanes;
  lanes.batch_size = options_.batch_size;
  lanes.loop.memory_bytes = run_.memory_bytes;
  lanes.loop.zero_stage = options_.zero_stage;
  lanes.augment = options_.augment;
  lanes.seed = options_.seed;
  MUSTER_ASSIGN_OR_RETURN(
      lanes_, LaneRunner::Create(group_, pool_, *model_, data_.train, *normalization_, lanes));
  for (const std::string& note : data_.notes) host_.Note(note);
  host_.Started(state_->step, steps_total());
  bool stop = false;
  while (!finished() && !stop) MUSTER_RETURN_IF_ERROR(TrainStep(stop));
  const bool early = finished() && state_->step < plan_.steps_total;
  if (early) host_.EndedEarly(WhyEndedEarly());
  SupervisedResult result;
  result.step = state_->step;
  result.steps_total = plan_.steps_total;
  result.ended_early = early;
  result.stopped = !finished();
  result.validation = state_->validation;
  result.test = state_->test;
  return result;
}

std::string SupervisedTrainer::WhyEndedEarly() const {
  const std::uint64_t without = state_->early_stop->without;
  std::string why = "ended early after step " + std::to_string(state_->step) + " of " +
                    std::to_string(plan_.steps_total) + ": " + std::to_string(without) +
                    (without == 1 ? " evaluation" : " evaluations") +
                    " without a validation accuracy above " +
                    std::to_string(*state_->early_stop->best);
  if (options_.early_stop.min_delta > 0.0) {
    why += " + " + std::to_string(options_.early_stop.min_delta);
  }
  return why;
}

Status SupervisedTrainer::TrainStep(bool& stop) {
  const auto start = Clock::now();
  Forget(row_, kNotEveryStep);
  LaneRunner::Flags flags;
  flags.stop = host_.StopRequested();
  const double since_save_s = std::chrono::duration<double>(start - saved_at_).count();
  flags.save =
      leads() && run_.cadence.every_seconds > 0.0 && since_save_s >= run_.cadence.every_seconds;
  const auto batch = order_->Batch(state_->step);
  const double order_ms = MillisecondsSince(start);
  MUSTER_ASSIGN_OR_RETURN(const LaneRunner::StepOutcome outcome,
                          lanes_->Step(state_->step, state_->model.values(), batch, flags));
  if (!std::isfinite(outcome.loss)) {
    return FailedPrecondition(
        "step " + std::to_string(state_->step + 1) +
        ": the loss is not a number; a lower learning_rate or a gradient_clip_norm "
        "may help");
  }
  MUSTER_RETURN_IF_ERROR(ApplyGradients());
  const double train_ms = MillisecondsSince(start);
  MUSTER_RETURN_IF_ERROR(EvaluateIfDue());
  stop = outcome.flags.stop;
  MUSTER_RETURN_IF_ERROR(SaveIfDue(outcome.flags.save || stop));

  Put(row_, "train/loss", outcome.loss);
  Put(row_, "train/accuracy", outcome.accuracy);
  Put(row_, "train/images_per_second",
      static_cast<double>(options_.batch_size) / train_ms * 1000.0);
  Put(row_, "time/data_ms", order_ms + outcome.data_ms);
  Put(row_, "time/forward_ms", outcome.forward_ms);
  Put(row_, "time/backward_ms", outcome.backward_ms);
  Put(row_, "time/communication_ms", outcome.communication_ms);
  Put(row_, "time/step_ms", MillisecondsSince(start));
  if (metrics_) MUSTER_RETURN_IF_ERROR(metrics_->Append(state_->step, row_));
  // Only now: the notice tells how far the metrics go.
  if (notice_) {
    notice_->metrics_bytes = metrics_ ? metrics_->bytes_written() : 0;
    MUSTER_RETURN_IF_ERROR(host_.SaveCheckpoint(*notice_));
    notice_.reset();
  }
  host_.StepDone(state_->step, steps_total());
  return {};
}

// Clips and takes the optimiser's step: the same one on every rank, or each its part of it.
Status SupervisedTrainer::ApplyGradients() {
  const auto start = Clock::now();
  const std::span<const float> gradients = lanes_->Gradients();
  MUSTER_ASSIGN_OR_RETURN(const double norm, state_->model.GradientNorm(gradients, &pool_));
  if (!std::isfinite(norm)) {
    return FailedPrecondition("step " + std::to_string(state_->step + 1) +
                              ": the gradient's norm is " + std::to_string(norm) +
                              "; a lower learning_rate may help");
  }
  nn::OptimizerStep step;
  step.learning_rate = nn::LearningRate(schedule_, state_->step);
  step.gradient_scale = nn::ClipScale(norm, options_.gradient_clip_norm);
  MUSTER_RETURN_IF_ERROR(state_->model.Step(step, gradients, &pool_));
  ++state_->step;
  Put(row_, "train/gradient_norm", norm);
  Put(row_, "train/learning_rate", static_cast<double>(step.learning_rate));
  Put(row_, "time/optimizer_ms", MillisecondsSince(start));
  return {};
}

// The mean over `samples`; what is not finite ends the job, and could not be written down anyway.
Result<Evaluation> SupervisedTrainer::Evaluate(const std::string& name, const Dataset& set,
                                               std::span<const std::uint32_t> samples) {
  MUSTER_ASSIGN_OR_RETURN(const Evaluation result,
                          lanes_->Evaluate(state_->model.values(), set, samples));
  if (!std::isfinite(result.loss)) {
    return FailedPrecondition("step " + std::to_string(state_->step) + ": the " + name +
                              " loss is " + std::to_string(result.loss) +
                              "; a lower learning_rate may help");
  }
  PutEvaluation(row_, name, result);
  return result;
}

Status SupervisedTrainer::EvaluateIfDue() {
  evaluated_ = improved_ = false;
  const auto start = Clock::now();
  const std::uint64_t every = options_.evaluate_every_steps;
  const bool due = finished() || (every > 0 && state_->step % every == 0);
  if (due && !split_.validation.empty()) {
    MUSTER_ASSIGN_OR_RETURN(state_->validation,
                            Evaluate("validation", data_.train, split_.validation));
    evaluated_ = true;
    improved_ = !state_->best_accuracy || state_->validation->accuracy > *state_->best_accuracy;
    if (improved_) {
      state_->best_accuracy = state_->validation->accuracy;
      state_->best_step = state_->step;
    }
    if (state_->early_stop) {
      state_->early_stop->Observe(options_.early_stop, state_->validation->accuracy);
    }
  }
  if (finished() && data_.test) {
    MUSTER_ASSIGN_OR_RETURN(state_->test, Evaluate("test", *data_.test, test_samples_));
  }
  Put(row_, "time/evaluation_ms", MillisecondsSince(start));
  return {};
}

Status SupervisedTrainer::SaveIfDue(bool asked) {
  const auto start = Clock::now();
  const CheckpointCadence& cadence = run_.cadence;
  const bool kept = !run_.staging_directory.empty();
  const bool due = asked || finished() || (cadence.on_best && improved_) ||
                   (cadence.every_steps > 0 && state_->step % cadence.every_steps == 0);
  // All ranks agree on `due`.
  if (due && kept) MUSTER_RETURN_IF_ERROR(state_->model.Gather(leads()));
  if (due && kept && leads()) {
    MUSTER_RETURN_IF_ERROR(WriteCheckpointFiles());
    saved_at_ = Clock::now();
  }
  state_->model.Drop();
  Put(row_, "time/checkpoint_ms", MillisecondsSince(start));
  return {};
}

Status SupervisedTrainer::WriteCheckpointFiles() {
  const auto start = Clock::now();
  CheckpointContents contents = state_->Contents(options_.lanes, lane_batch());
  contents.provenance = Provenance(group_, pool_);
  CheckpointNotice notice;
  notice.step = state_->step;
  notice.directory = run_.staging_directory + "/step-" + std::to_string(state_->step);
  if (evaluated_) notice.score = state_->validation->accuracy;
  notice.last = finished();
  MUSTER_ASSIGN_OR_RETURN(notice.sha256, WriteCheckpoint(notice.directory, contents));
  notice.write_ms = static_cast<std::int64_t>(MillisecondsSince(start));
  notice_ = std::move(notice);
  return {};
}

}  // namespace

Result<SupervisedResult> TrainSupervised(const SupervisedOptions& options, const TrainingRun& run,
                                         Group& group, ThreadPool& pool, TrainerHost& host) {
  try {
    return SupervisedTrainer(options, run, group, pool, host).Run();
  } catch (const OutOfMemory& error) {
    return Status(StatusCode::kFailedPrecondition, error.what());
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kFailedPrecondition,
                  "out of memory; a smaller batch_size or model needs less");
  }
}

}  // namespace muster
