#include "trainer/rl/tabular/tabular_trainer.h"

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "trainer/metrics/metrics_writer.h"
#include "trainer/rl/episode_recorder.h"
#include "trainer/rl/tabular/tabular_task.h"

namespace muster::rl {
namespace {

constexpr std::string_view kEvaluationMetrics[] = {
    "evaluation/return", "evaluation/discounted_return", "evaluation/length", "time/evaluation_ms",
    "time/checkpoint_ms"};

// One attempt of one rank.
class TabularTrainer {
 public:
  TabularTrainer(const TabularOptions& options, const TrainingRun& run, Group& group,
                 ThreadPool& pool, TrainerHost& host)
      : options_(options), run_(run), group_(group), pool_(pool), host_(host) {}

  Result<TabularResult> Run();

 private:
  Status Prepare();
  Status Restore();
  Status TrainStep(bool& stop);
  Status Learn(bool& stop, bool& save);
  Status EvaluateIfDue();
  Status SaveIfDue(bool asked);
  Status WriteCheckpointFiles();
  void RecordEpisode(CheckpointContents& contents);
  // The mean of each column of [runs, columns] numbers, of which this rank has its own rows. The
  // runs are added up in their order, so the bits are the same on any number of ranks.
  Result<std::vector<double>> MeansOverRuns(std::span<const double> own, std::size_t columns);

  bool leads() const { return group_.rank() == 0; }
  std::size_t own_runs() const { return options_.runs / group_.size(); }
  bool finished() const { return state_.step == options_.steps || state_.converged; }
  // As far as is known.
  std::uint64_t steps_total() const { return finished() ? state_.step : options_.steps; }
  bool plays() const { return !UsesModel(options_.algorithm); }

  const TabularOptions& options_;
  const TrainingRun& run_;
  Group& group_;
  ThreadPool& pool_;
  TrainerHost& host_;

  TabularState state_;                                     // Its runs live in the learners.
  std::vector<std::unique_ptr<TabularLearner>> learners_;  // [own_runs]
  std::optional<TabularTask> evaluated_in_;                // Of policies.
  std::optional<MetricsWriter> metrics_;
  MetricsRow row_;
  bool improved_ = false;
  std::optional<double> score_;             // Of this step's evaluation.
  std::optional<CheckpointNotice> notice_;  // Written at this step, not yet handed over.
  Stopwatch since_save_;
};

Status TabularTrainer::Prepare() {
  MUSTER_RETURN_IF_ERROR(PlanTabular(options_, group_.size()).status());
  const std::size_t first = group_.rank() * own_runs();
  for (std::size_t i = 0; i < own_runs(); ++i) {
    MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<TabularLearner> learner,
                            MakeTabularLearner(options_, static_cast<std::uint32_t>(first + i)));
    learners_.push_back(std::move(learner));
  }
  if (options_.algorithm != TabularAlgorithm::kBandit && options_.evaluation_episodes > 0) {
    MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<envs::Env> env, MakeTabularEnvironment(options_));
    evaluated_in_.emplace(std::move(env));
  }
  if (!run_.resume_directory.empty()) {
    MUSTER_RETURN_IF_ERROR(Restore().During("resume from " + run_.resume_directory));
  }
  if (leads() && !run_.metrics_path.empty()) {
    MUSTER_ASSIGN_OR_RETURN(metrics_, MetricsWriter::Open(run_.metrics_path));
  }
  return {};
}

Status TabularTrainer::Restore() {
  MUSTER_ASSIGN_OR_RETURN(const Checkpoint checkpoint, ReadCheckpoint(run_.resume_directory));
  MUSTER_ASSIGN_OR_RETURN(state_,
                          ReadTabularState(checkpoint.contents, learners_[0]->Arrays(), options_));
  if (state_.step > options_.steps) {
    return FailedPrecondition("it is at step " + std::to_string(state_.step) + " of " +
                              std::to_string(options_.steps));
  }
  const std::size_t first = group_.rank() * own_runs();
  for (std::size_t i = 0; i < own_runs(); ++i) {
    MUSTER_RETURN_IF_ERROR(learners_[i]->Load(state_.runs[first + i]));
  }
  state_.runs.clear();
  return {};
}

Result<TabularResult> TabularTrainer::Run() {
  const Status prepared = Prepare();
  MUSTER_RETURN_IF_ERROR(AgreeOnStart(group_, prepared, state_.step));
  host_.Started(state_.step, steps_total());
  bool stop = false;
  while (!finished() && !stop) MUSTER_RETURN_IF_ERROR(TrainStep(stop));
  TabularResult result;
  result.step = state_.step;
  result.stopped = !finished();
  result.ended_early = state_.converged && state_.step < options_.steps;
  result.evaluation = state_.evaluation;
  if (result.ended_early) {
    host_.EndedEarly("ended early after step " + std::to_string(state_.step) + " of " +
                     std::to_string(options_.steps) + ": " + NameOf(options_.algorithm) +
                     " has converged");
  } else if (finished() && !plays() && !state_.converged) {
    host_.Note(std::string(NameOf(options_.algorithm)) + " has not converged after " +
               std::to_string(state_.step) + " steps; more tabular.steps may help");
  }
  return result;
}

Result<std::vector<double>> TabularTrainer::MeansOverRuns(std::span<const double> own,
                                                          std::size_t columns) {
  std::vector<double> all(own.size() * group_.size());
  MUSTER_RETURN_IF_ERROR(group_.AllGather(own, std::span(all)));
  std::vector<double> means(columns);
  for (std::size_t i = 0; i < all.size(); ++i) means[i % columns] += all[i];
  for (double& mean : means) mean /= static_cast<double>(options_.runs);
  return means;
}

// A step of every run, and what any rank asks for: one message for both.
Status TabularTrainer::Learn(bool& stop, bool& save) {
  Stopwatch watch;
  const std::span<const std::string_view> names = MeasuredNames(options_.algorithm);
  const std::size_t columns = names.size() + 2;
  std::vector<double> own(own_runs() * columns);
  const double every_ms = run_.cadence.every_seconds * 1e3;
  own[names.size()] = host_.StopRequested() ? 1 : 0;
  own[names.size() + 1] = leads() && every_ms > 0 && since_save_.total_ms() >= every_ms ? 1 : 0;
  for (std::size_t i = 0; i < own_runs(); ++i) {
    MUSTER_RETURN_IF_ERROR(
        learners_[i]
            ->Step(state_.step, std::span(own).subspan(i * columns, names.size()))
            .During("step " + std::to_string(state_.step + 1)));
  }
  const double learn_ms = watch.lap_ms();
  MUSTER_ASSIGN_OR_RETURN(const std::vector<double> means, MeansOverRuns(own, columns));
  Put(row_, "time/learn_ms", learn_ms);
  Put(row_, "time/communication_ms", watch.lap_ms());
  for (std::size_t i = 0; i < names.size(); ++i) Put(row_, names[i], means[i]);
  stop = means[names.size()] > 0;
  save = means[names.size() + 1] > 0;
  if (plays()) {
    // A mean over runs times the runs; whole again after rounding.
    const bool bandit = options_.algorithm == TabularAlgorithm::kBandit;
    const double length = bandit ? 1 : means[2] * static_cast<double>(options_.episodes_per_step);
    const auto steps =
        static_cast<std::uint64_t>(length * static_cast<double>(options_.runs) + 0.5);
    state_.environment_steps += steps;
    Put(row_, "charts/global_step", static_cast<double>(state_.environment_steps));
    Put(row_, "charts/SPS", static_cast<double>(steps) / learn_ms * 1000);
    if (!bandit && options_.algorithm != TabularAlgorithm::kRandom) {
      Put(row_, "charts/epsilon", options_.td.EpsilonAt(state_.step, options_.steps));
    }
  }
  ++state_.step;
  state_.converged = learners_[0]->converged();  // Only what has one run does.
  return {};
}

Status TabularTrainer::TrainStep(bool& stop) {
  const Stopwatch watch;
  Forget(row_, kEvaluationMetrics);
  bool save = false;
  MUSTER_RETURN_IF_ERROR(Learn(stop, save));
  MUSTER_RETURN_IF_ERROR(EvaluateIfDue());
  MUSTER_RETURN_IF_ERROR(SaveIfDue(save || stop));
  Put(row_, "time/step_ms", watch.total_ms());
  if (metrics_) MUSTER_RETURN_IF_ERROR(metrics_->Append(state_.step, row_));
  // Only now: the notice tells how far the metrics go.
  if (notice_) {
    notice_->metrics_bytes = metrics_ ? metrics_->bytes_written() : 0;
    MUSTER_RETURN_IF_ERROR(host_.SaveCheckpoint(*notice_));
    notice_.reset();
  }
  host_.StepDone(state_.step, steps_total());
  return {};
}

Status TabularTrainer::EvaluateIfDue() {
  improved_ = false;
  score_.reset();
  const std::uint64_t every = options_.evaluate_every_steps;
  if (!evaluated_in_ || !(finished() || (every > 0 && state_.step % every == 0))) return {};
  const Stopwatch watch;
  const std::uint64_t episodes = options_.evaluation_episodes;
  std::vector<double> own;
  for (const auto& learner : learners_) {
    // Seeds that no run learns from.
    MUSTER_ASSIGN_OR_RETURN(const EpisodeSums sums,
                            PlayPolicy(*evaluated_in_, learner->Policy(), episodes,
                                       options_.seed + options_.runs, options_.discount));
    const auto n = static_cast<double>(episodes);
    for (const double sum :
         {sums.reward, sums.discounted_reward, static_cast<double>(sums.steps)}) {
      own.push_back(sum / n);
    }
  }
  MUSTER_ASSIGN_OR_RETURN(const std::vector<double> means, MeansOverRuns(own, 3));
  state_.evaluation = TabularEvaluation{means[0], means[1], means[2]};
  score_ = means[0];
  improved_ = !state_.best_reward || means[0] > *state_.best_reward;
  if (improved_) {
    state_.best_reward = means[0];
    state_.best_step = state_.step;
  }
  Put(row_, "evaluation/return", means[0]);
  Put(row_, "evaluation/discounted_return", means[1]);
  Put(row_, "evaluation/length", means[2]);
  Put(row_, "time/evaluation_ms", watch.total_ms());
  return {};
}

Status TabularTrainer::SaveIfDue(bool asked) {
  const bool due = asked || finished() || (run_.cadence.on_best && improved_) ||
                   (run_.cadence.every_steps > 0 && state_.step % run_.cadence.every_steps == 0);
  if (!due) return {};  // All ranks agree on it.
  const Stopwatch watch;
  std::vector<RunState> own;
  for (const auto& learner : learners_) {
    MUSTER_ASSIGN_OR_RETURN(RunState run, learner->Save());
    own.push_back(std::move(run));
  }
  MUSTER_ASSIGN_OR_RETURN(state_.runs, GatherRuns(group_, own));
  if (leads()) {
    MUSTER_RETURN_IF_ERROR(WriteCheckpointFiles());
    since_save_ = Stopwatch();
  }
  state_.runs.clear();
  Put(row_, "time/checkpoint_ms", watch.total_ms());
  return {};
}

Status TabularTrainer::WriteCheckpointFiles() {
  const Stopwatch watch;
  TabularCheckpoint checkpoint(state_, learners_[0]->Arrays(), options_);
  checkpoint.contents().provenance = Provenance(group_, pool_);
  RecordEpisode(checkpoint.contents());
  CheckpointNotice notice;
  notice.step = state_.step;
  notice.directory = run_.staging_directory + "/step-" + std::to_string(state_.step);
  notice.score = score_;
  notice.last = finished();
  MUSTER_ASSIGN_OR_RETURN(notice.sha256, WriteCheckpoint(notice.directory, checkpoint.contents()));
  notice.write_ms = static_cast<std::int64_t>(watch.total_ms());
  notice_ = std::move(notice);
  return {};
}

// Beside the last checkpoint, for people: what goes wrong with it costs them the picture, no more.
void TabularTrainer::RecordEpisode(CheckpointContents& contents) {
  if (!finished() || !options_.record_episode || !evaluated_in_) return;
  Result<std::string> gif = RecordPolicy(*evaluated_in_, learners_[0]->Policy(),
                                         options_.seed + options_.runs, state_.evaluation->steps);
  if (!gif.ok()) {
    host_.Note("no episode was recorded: " + gif.status().message());
  } else if (!gif->empty()) {
    contents.others[kEpisodeFile] = std::move(*gif);
  }
}

}  // namespace

Result<TabularResult> TrainTabular(const TabularOptions& options, const TrainingRun& run,
                                   Group& group, ThreadPool& pool, TrainerHost& host) {
  try {
    return TabularTrainer(options, run, group, pool, host).Run();
  } catch (const std::bad_alloc&) {
    return FailedPrecondition("out of memory; fewer tabular.runs need less");
  }
}

}  // namespace muster::rl
