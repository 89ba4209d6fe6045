#include "trainer/rl/ppo_trainer.h"

#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/lanes/lane_loop.h"
#include "trainer/metrics/metrics_writer.h"
#include "trainer/rl/behavior_policies.h"
#include "trainer/rl/learner.h"
#include "trainer/rl/ppo_state.h"
#include "trainer/rl/rollout.h"
#include "trainer/rl/rollout_intake.h"

namespace muster::rl {
namespace {

constexpr std::string_view kNotEveryStep[] = {"charts/episodic_return",
                                              "charts/episodic_length",
                                              "evaluation/return",
                                              "evaluation/return_std",
                                              "evaluation/return_min",
                                              "evaluation/return_max",
                                              "evaluation/length",
                                              "train/behaviour_logprob_difference",
                                              "train/behaviour_logprob_difference_max"};

// Columns of what a step's rollouts sum up over lanes, before the normalisers' moments and, in an
// asynchronous job, how many of them lag by 0, 1, ... updates; behind them, where numerics may
// differ, the largest difference of each lane's rank.
enum RolloutSum : std::size_t {
  kEpisodes,
  kEpisodeReturns,
  kLengths,
  kStop,
  kSave,
  kDropped,
  kCollectedHere,
  kDifferences,
  kActionsCompared,
  kFixedSums
};

std::string Printed(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

// One attempt of one rank.
class PpoTrainer {
 public:
  PpoTrainer(const PpoOptions& options, const TrainingRun& run, Group& group, ThreadPool& pool,
             TrainerHost& host, RemoteRollouts* remote)
      : options_(options), run_(run), group_(group), pool_(pool), host_(host), remote_(remote) {}

  Result<PpoResult> Run();

 private:
  Status Prepare();
  Status Restore();
  Status MakeLoop();
  Status TrainStep(bool& stop);
  Status Collect();
  Status TakeWhatHasCome();
  void BeginElsewhere(std::size_t wanted);
  void FinishElsewhere();
  Status TakeRollouts(const RolloutResult& result, PpoState::Lane& lane);
  Status CollectHere();
  Status SumRollouts(bool& stop, bool& save);
  Status EvaluateIfDue();
  Status SaveIfDue(bool asked);
  Status WriteCheckpointFiles();
  void RecordEpisode(CheckpointContents& contents);
  void PutLags(std::span<const double> counts);
  void PutDifferences(std::span<const double> largest);
  void PutUpdate(const PolicyUpdate& update, const UpdateRates& rates);
  UpdateRates RatesNow() const;

  bool leads() const { return group_.rank() == 0; }
  bool finished() const { return state_->reached || state_->update == plan_.updates_total; }
  std::uint64_t lag_max() const { return options_.max_policy_lag; }
  std::uint64_t updates_total() const {
    return state_->reached ? state_->update : plan_.updates_total;
  }

  const PpoOptions& options_;
  const TrainingRun& run_;
  Group& group_;
  ThreadPool& pool_;
  TrainerHost& host_;
  RemoteRollouts* const remote_;

  PpoPlan plan_;
  std::unique_ptr<Policy> policy_;
  std::unique_ptr<PpoState> state_;
  std::unique_ptr<LaneLoop> loop_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<PolicyEvaluator> evaluator_;
  std::vector<Collector> collectors_;  // [local lanes]
  std::vector<Trajectory> batch_;      // [local lanes] that this update trains on.
  std::vector<Trajectory> spare_;      // [local lanes] memory of the rollout that is done with.
  std::vector<Status> collected_;      // [local lanes]
  // Rollouts of the newest policy that were given out: by others, or here if they do not come.
  struct Wanted {
    std::uint64_t version = 0;
    std::vector<float> values;  // Kept while others collect: the learner changes its own.
    NormalizerMoments moments;
    std::vector<std::size_t> elsewhere;  // [local lanes]
    std::vector<std::size_t> here;       // [local lanes]
  };
  Wanted wanted_;
  std::unique_ptr<BehaviorPolicies> behavior_;  // Where numerics may differ.
  std::unique_ptr<RolloutIntake> intake_;       // Of an asynchronous job.
  std::uint64_t dropped_told_ = 0, collected_here_told_ = 0;
  std::vector<double> sums_;  // [local lanes, width]
  std::optional<MetricsWriter> metrics_;
  MetricsRow row_;
  bool evaluated_ = false, improved_ = false;  // At this update.
  std::optional<CheckpointNotice> notice_;     // Written at this update, not yet handed over.
  Stopwatch since_save_;
};

Status PpoTrainer::Prepare() {
  MUSTER_ASSIGN_OR_RETURN(plan_, PlanPpo(options_, group_.size()));
  MUSTER_ASSIGN_OR_RETURN(
      policy_, Policy::Create(options_.policy, plan_.spec.observation, plan_.spec.action));
  const LaneRange own = LanesOfRank(group_.rank(), group_.size(), options_.lanes);
  MUSTER_ASSIGN_OR_RETURN(state_, PpoState::Create(options_, *policy_, own.first, own.count));
  if (!run_.resume_directory.empty()) MUSTER_RETURN_IF_ERROR(Restore());
  if (leads() && !run_.metrics_path.empty()) {
    MUSTER_ASSIGN_OR_RETURN(metrics_, MetricsWriter::Open(run_.metrics_path));
  }
  return {};
}

Status PpoTrainer::Restore() {
  MUSTER_ASSIGN_OR_RETURN(const Checkpoint checkpoint, ReadCheckpoint(run_.resume_directory));
  return state_->Restore(checkpoint.contents).During("resume from " + run_.resume_directory);
}

Status PpoTrainer::MakeLoop() {
  LaneLoopOptions options;
  options.lanes = options_.lanes;
  options.memory_bytes = run_.memory_bytes;
  MUSTER_ASSIGN_OR_RETURN(loop_, LaneLoop::Create(group_, pool_, policy_->parameters(), options));
  learner_ = MakeLearner(options_, *policy_, *loop_, state_->model, pool_);
  if (options_.evaluation.episodes > 0) {
    MUSTER_ASSIGN_OR_RETURN(evaluator_,
                            PolicyEvaluator::Create(options_.environment, options_.evaluation,
                                                    options_.seed, *policy_, *loop_));
  }
  collectors_.resize(loop_->local_lanes());
  batch_.resize(loop_->local_lanes());
  spare_.resize(loop_->local_lanes());
  collected_.resize(loop_->local_lanes());
  wanted_.elsewhere.resize(loop_->local_lanes());
  wanted_.here.resize(loop_->local_lanes());
  if (options_.any_rollout_numerics) behavior_ = std::make_unique<BehaviorPolicies>(*policy_);
  if (!options_.asynchronous) return {};
  RolloutIntake::Rank rank;
  if (behavior_) rank.receive = [this](Trajectory& each) { return behavior_->Recompute(each); };
  rank.now_ms = [clock = Stopwatch()] { return clock.total_ms(); };
  rank.collect = [this](std::span<const std::size_t> local_lanes) {
    wanted_.version = state_->update;
    for (const std::size_t local : local_lanes) wanted_.here[local] = 1;
    return CollectHere();
  };
  intake_ = std::make_unique<RolloutIntake>(options_, *policy_, state_->lanes, loop_->LaneOf(0),
                                            remote_, std::move(rank));
  return {};
}

Result<PpoResult> PpoTrainer::Run() {
  const Status prepared = Prepare();
  MUSTER_RETURN_IF_ERROR(AgreeOnStart(group_, prepared, prepared.ok() ? state_->update : 0));
  MUSTER_RETURN_IF_ERROR(MakeLoop());
  if (!run_.not_repeatable.empty()) {
    host_.Note("no two runs of this job have the same bits: " + run_.not_repeatable);
  }
  host_.Started(state_->update, updates_total());
  bool stop = false;
  while (!finished() && !stop) MUSTER_RETURN_IF_ERROR(TrainStep(stop));
  if (state_->reached && state_->update < plan_.updates_total) {
    host_.EndedEarly("ended early after update " + std::to_string(state_->update) + " of " +
                     std::to_string(plan_.updates_total) + ": an evaluation's return of " +
                     Printed(state_->evaluation->return_mean) + " is at least " +
                     Printed(options_.evaluation.stop_at_return));
  }
  PpoResult result;
  result.updates = state_->update;
  result.reached = state_->reached;
  result.stopped = !finished();
  result.evaluation = state_->evaluation;
  result.values.assign(state_->model.values().begin(), state_->model.values().end());
  return result;
}

UpdateRates PpoTrainer::RatesNow() const {
  const float left =
      1.0F - static_cast<float>(state_->update) / static_cast<float>(plan_.updates_total);
  UpdateRates rates{.learning_rate = options_.learning_rate, .clip_range = options_.clip_range};
  if (options_.vpg) rates.value_learning_rate = options_.vpg->value_learning_rate;
  if (options_.anneal_learning_rate) {
    rates.learning_rate *= left;
    rates.value_learning_rate *= left;
  }
  if (options_.anneal_clip_range) rates.clip_range *= left;
  return rates;
}

// The rollouts of this update and of as many later ones as policies may lag. What others collect
// for later updates they collect while this rank trains.
Status PpoTrainer::Collect() {
  if (intake_) return TakeWhatHasCome();
  FinishElsewhere();
  MUSTER_RETURN_IF_ERROR(CollectHere());
  BeginElsewhere(static_cast<std::size_t>(
      std::min<std::uint64_t>(options_.max_policy_lag + 1, plan_.updates_total - state_->update)));
  const bool waits = std::any_of(state_->lanes.begin(), state_->lanes.end(),
                                 [](const PpoState::Lane& lane) { return lane.pending.empty(); });
  if (waits) FinishElsewhere();
  MUSTER_RETURN_IF_ERROR(CollectHere());
  for (std::size_t local = 0; local < state_->lanes.size(); ++local) {
    std::deque<Trajectory>& pending = state_->lanes[local].pending;
    batch_[local] = std::move(pending.front());
    pending.pop_front();
  }
  return {};
}

Status PpoTrainer::TakeWhatHasCome() {
  if (remote_ != nullptr) {
    remote_->SetPolicy(state_->update, state_->model.values(), state_->moments);
    const std::uint64_t oldest = state_->update - std::min(state_->update, lag_max());
    if (behavior_) behavior_->Keep(state_->update, state_->model.values(), oldest);
  }
  return intake_->Take(state_->update, batch_);
}

// All lanes' missing rollouts are of the policy as it is now.
void PpoTrainer::BeginElsewhere(std::size_t wanted) {
  wanted_.version = state_->update;
  const bool somebody = remote_ != nullptr && remote_->workers() > 0;
  if (somebody) {
    wanted_.values.assign(state_->model.values().begin(), state_->model.values().end());
    wanted_.moments = state_->moments;
    remote_->SetPolicy(wanted_.version, wanted_.values, wanted_.moments);
    if (behavior_) behavior_->Keep(wanted_.version, wanted_.values, wanted_.version);
  }
  for (std::size_t local = 0; local < state_->lanes.size(); ++local) {
    const PpoState::Lane& lane = state_->lanes[local];
    const std::size_t missing = wanted - lane.pending.size();
    if (missing > 0 && somebody &&
        remote_->Begin({loop_->LaneOf(local), missing, lane.StateBytes()})) {
      wanted_.elsewhere[local] = missing;
    } else {
      wanted_.here[local] = missing;
    }
  }
}

// What does not come back, or is damaged, is collected here.
void PpoTrainer::FinishElsewhere() {
  for (std::size_t local = 0; local < state_->lanes.size(); ++local) {
    const std::size_t rollouts = std::exchange(wanted_.elsewhere[local], 0);
    if (rollouts == 0) continue;
    const std::optional<RolloutResult> result = remote_->Finish(loop_->LaneOf(local));
    const bool whole = result && result->trajectories.size() == rollouts;
    if (!whole || !TakeRollouts(*result, state_->lanes[local]).ok()) {
      wanted_.here[local] = rollouts;
    }
  }
}

Status PpoTrainer::TakeRollouts(const RolloutResult& result, PpoState::Lane& lane) {
  std::vector<Trajectory> trajectories(result.trajectories.size());
  for (std::size_t i = 0; i < trajectories.size(); ++i) {
    envs::ByteReader from(result.trajectories[i]);
    MUSTER_RETURN_IF_ERROR(
        trajectories[i].Load(from, *policy_, options_.rollout_steps, options_.lane_envs()));
    if (from.left() > 0 || trajectories[i].version != wanted_.version) return DataLoss("damaged");
    if (behavior_) MUSTER_RETURN_IF_ERROR(behavior_->Recompute(trajectories[i]));
  }
  for (Trajectory& trajectory : trajectories) lane.pending.push_back(std::move(trajectory));
  lane.remote_state = result.state;
  return {};
}

Status PpoTrainer::CollectHere() {
  // The learner has changed its values since others were asked.
  const bool now = wanted_.version == state_->update;
  const std::span<const float> values = now ? state_->model.values() : wanted_.values;
  const NormalizerMoments& moments = now ? state_->moments : wanted_.moments;
  loop_->ForLanes([&](LaneLoop::Block& block, std::size_t local) {
    const auto begin = [&]() -> Tape& { return loop_->BeginInference(block, values); };
    PpoState::Lane& lane = state_->lanes[local];
    if (wanted_.here[local] > 0) collected_[local] = lane.TakeHome();
    for (; collected_[local].ok() && wanted_.here[local] > 0; --wanted_.here[local]) {
      lane.pending.push_back(std::exchange(spare_[local], {}));
      lane.pending.back().version = wanted_.version;
      collected_[local] = collectors_[local].Collect(
          *policy_, begin, moments, options_.rollout_steps, *lane.envs, lane.pending.back());
    }
  });
  for (Status& status : collected_) {
    if (!status.ok())
      return std::move(status).During("update " + std::to_string(state_->update + 1));
  }
  return {};
}

// Episodes, moments and what any rank asks for, over all lanes.
Status PpoTrainer::SumRollouts(bool& stop, bool& save) {
  NormalizerMoments& moments = state_->moments;
  const std::size_t seen = moments.observations.mean.size(), paid = moments.rewards.mean.size();
  const std::size_t lags = intake_ ? options_.max_policy_lag + 1 : 0;
  const std::size_t maxima = behavior_ ? options_.lanes : 0;
  const std::size_t width = kFixedSums + 2 + 2 * (seen + paid) + lags + maxima;
  sums_.assign(loop_->local_lanes() * width, 0.0);
  for (std::size_t local = 0; local < loop_->local_lanes(); ++local) {
    const Trajectory& trajectory = batch_[local];
    double* to = sums_.data() + local * width;
    for (const envs::FinishedEpisode& episode : trajectory.episodes) {
      to[kEpisodes] += 1;
      to[kEpisodeReturns] += episode.episode_return;
      to[kLengths] += static_cast<double>(episode.length);
    }
    to[kStop] = stop ? 1.0 : 0.0;
    to[kSave] = save ? 1.0 : 0.0;
    if (intake_ && local == 0) {
      to[kDropped] = static_cast<double>(intake_->dropped() -
                                         std::exchange(dropped_told_, intake_->dropped()));
      to[kCollectedHere] =
          static_cast<double>(intake_->collected_here() -
                              std::exchange(collected_here_told_, intake_->collected_here()));
    }
    if (behavior_ && local == 0) {
      const BehaviorPolicies::Difference apart = behavior_->Take();
      to[kDifferences] = apart.sum;
      to[kActionsCompared] = apart.actions;
      to[width - maxima + loop_->LaneOf(0)] = apart.largest;
    }
    to += kFixedSums;
    for (const envs::MomentSums* const sums :
         {&trajectory.observation_sums, &trajectory.reward_sums}) {
      *to++ = sums->count;
      to = std::copy(sums->sum.begin(), sums->sum.end(), to);
      to = std::copy(sums->square.begin(), sums->square.end(), to);
    }
    if (intake_) to[state_->update - trajectory.version] = 1;
  }
  MUSTER_RETURN_IF_ERROR(loop_->SumLanes(sums_, width));
  auto take = [from = sums_.data() + kFixedSums](envs::Moments& to) mutable {
    const std::size_t elements = to.mean.size();
    envs::MomentSums sums{
        *from, {from + 1, from + 1 + elements}, {from + 1 + elements, from + 1 + 2 * elements}};
    from += 1 + 2 * elements;
    if (elements > 0) to.Add(sums);
  };
  take(moments.observations);
  take(moments.rewards);
  stop = sums_[kStop] > 0;
  save = sums_[kSave] > 0;
  if (intake_) PutLags(std::span(sums_).subspan(width - maxima - lags, lags));
  if (behavior_) PutDifferences(std::span(sums_).subspan(width - maxima, maxima));
  state_->episodes += static_cast<std::uint64_t>(sums_[kEpisodes]);
  if (sums_[kEpisodes] > 0) {
    Put(row_, "charts/episodic_return", sums_[kEpisodeReturns] / sums_[kEpisodes]);
    Put(row_, "charts/episodic_length", sums_[kLengths] / sums_[kEpisodes]);
  }
  return {};
}

// `counts`: how many rollouts lag by 0, 1, ... updates.
void PpoTrainer::PutLags(std::span<const double> counts) {
  double rollouts = 0, sum = 0, most = 0;
  for (std::size_t lag = 0; lag < counts.size(); ++lag) {
    rollouts += counts[lag];
    sum += counts[lag] * static_cast<double>(lag);
    if (counts[lag] > 0) most = static_cast<double>(lag);
  }
  Put(row_, "train/policy_lag", sum / rollouts);
  Put(row_, "train/policy_lag_max", most);
  Put(row_, "train/rollouts_dropped", sums_[kDropped]);
  Put(row_, "train/rollouts_by_learner", sums_[kCollectedHere]);
}

// `largest`: of each rank at its first lane.
void PpoTrainer::PutDifferences(std::span<const double> largest) {
  if (sums_[kActionsCompared] == 0) return;
  Put(row_, "train/behaviour_logprob_difference", sums_[kDifferences] / sums_[kActionsCompared]);
  Put(row_, "train/behaviour_logprob_difference_max",
      *std::max_element(largest.begin(), largest.end()));
}

Status PpoTrainer::TrainStep(bool& stop) {
  Stopwatch watch;
  Forget(row_, kNotEveryStep);
  stop = host_.StopRequested();
  bool save = leads() && run_.cadence.every_seconds > 0.0 &&
              since_save_.total_ms() >= run_.cadence.every_seconds * 1e3;
  MUSTER_RETURN_IF_ERROR(Collect());
  Put(row_, "time/rollout_ms", watch.lap_ms());
  const UpdateRates rates = RatesNow();
  std::vector<const Trajectory*> rollouts;
  for (const Trajectory& each : batch_) rollouts.push_back(&each);
  MUSTER_ASSIGN_OR_RETURN(const PolicyUpdate update,
                          learner_->Update(state_->update, rates, rollouts));
  MUSTER_RETURN_IF_ERROR(SumRollouts(stop, save));
  std::swap(batch_, spare_);
  ++state_->update;
  PutUpdate(update, rates);
  Put(row_, "time/update_ms", watch.lap_ms());
  Put(row_, "charts/SPS", static_cast<double>(options_.batch_size()) / watch.total_ms() * 1e3);
  MUSTER_RETURN_IF_ERROR(EvaluateIfDue());
  Put(row_, "time/evaluation_ms", watch.lap_ms());
  MUSTER_RETURN_IF_ERROR(SaveIfDue(save || stop));
  Put(row_, "time/checkpoint_ms", watch.lap_ms());
  Put(row_, "time/step_ms", watch.total_ms());
  if (metrics_) MUSTER_RETURN_IF_ERROR(metrics_->Append(state_->update, row_));
  // Only now: the notice tells how far the metrics go.
  if (notice_) {
    notice_->metrics_bytes = metrics_ ? metrics_->bytes_written() : 0;
    MUSTER_RETURN_IF_ERROR(host_.SaveCheckpoint(*notice_));
    notice_.reset();
  }
  host_.StepDone(state_->update, updates_total());
  return {};
}

void PpoTrainer::PutUpdate(const PolicyUpdate& update, const UpdateRates& rates) {
  Put(row_, "charts/global_step",
      static_cast<double>(state_->update) * static_cast<double>(options_.batch_size()));
  Put(row_, "charts/learning_rate", static_cast<double>(rates.learning_rate));
  Put(row_, "charts/episodes", static_cast<double>(state_->episodes));
  Put(row_, "losses/policy_loss", update.policy_loss);
  Put(row_, "losses/value_loss", update.value_loss);
  Put(row_, "losses/entropy", update.entropy);
  Put(row_, "losses/old_approx_kl", update.approx_kl_k1);
  Put(row_, "losses/approx_kl", update.approx_kl);
  if (!options_.vpg) {
    Put(row_, "losses/clipfrac", update.clip_fraction);
    Put(row_, "train/epochs", static_cast<double>(update.epochs));
    Put(row_, "train/clip_range", static_cast<double>(rates.clip_range));
  }
  Put(row_, "losses/explained_variance", update.explained_variance);
  Put(row_, "train/gradient_norm", update.gradient_norm);
  Put(row_, "train/advantage", update.advantage_mean);
  Put(row_, "train/value", update.value_mean);
  if (!intake_) Put(row_, "train/policy_lag", update.policy_lag);
  if (remote_ != nullptr) {
    Put(row_, "train/rollout_workers", static_cast<double>(remote_->workers()));
  }
  Put(row_, "time/forward_ms", update.forward_ms);
  Put(row_, "time/backward_ms", update.backward_ms);
  Put(row_, "time/communication_ms", update.communication_ms);
  Put(row_, "time/optimizer_ms", update.optimizer_ms);
}

Status PpoTrainer::EvaluateIfDue() {
  evaluated_ = improved_ = false;
  const std::uint64_t every = options_.evaluation.every_updates;
  const bool due =
      state_->update == plan_.updates_total || (every > 0 && state_->update % every == 0);
  if (!due || !evaluator_) return {};
  MUSTER_ASSIGN_OR_RETURN(state_->evaluation,
                          evaluator_->Run(state_->model.values(), state_->moments));
  const PolicyEvaluation& result = *state_->evaluation;
  evaluated_ = true;
  improved_ = !state_->best_return || result.return_mean > *state_->best_return;
  if (improved_) {
    state_->best_return = result.return_mean;
    state_->best_update = state_->update;
  }
  state_->reached =
      options_.evaluation.stops && result.return_mean >= options_.evaluation.stop_at_return;
  Put(row_, "evaluation/return", result.return_mean);
  Put(row_, "evaluation/return_std", result.return_std);
  Put(row_, "evaluation/return_min", result.return_min);
  Put(row_, "evaluation/return_max", result.return_max);
  Put(row_, "evaluation/length", result.length_mean);
  return {};
}

Status PpoTrainer::SaveIfDue(bool asked) {
  const CheckpointCadence& cadence = run_.cadence;
  const bool due = asked || finished() || (cadence.on_best && improved_) ||
                   (cadence.every_steps > 0 && state_->update % cadence.every_steps == 0);
  if (!due || run_.staging_directory.empty()) return {};  // All ranks agree.
  // An asynchronous job keeps what has come; the rest is collected again from where that ends.
  if (!intake_) FinishElsewhere();
  MUSTER_RETURN_IF_ERROR(CollectHere());
  MUSTER_RETURN_IF_ERROR(state_->Gather(group_));
  if (leads()) MUSTER_RETURN_IF_ERROR(WriteCheckpointFiles());
  since_save_ = {};
  return {};
}

Status PpoTrainer::WriteCheckpointFiles() {
  Stopwatch watch;
  CheckpointContents contents = state_->Contents();
  contents.provenance = Provenance(group_, pool_);
  RecordEpisode(contents);
  if (!run_.not_repeatable.empty()) contents.provenance["not_repeatable"] = run_.not_repeatable;
  CheckpointNotice notice;
  notice.step = state_->update;
  notice.directory = run_.staging_directory + "/step-" + std::to_string(state_->update);
  if (evaluated_) notice.score = state_->evaluation->return_mean;
  notice.last = finished();
  MUSTER_ASSIGN_OR_RETURN(notice.sha256, WriteCheckpoint(notice.directory, contents));
  notice.write_ms = static_cast<std::int64_t>(watch.total_ms());
  notice_ = std::move(notice);
  return {};
}

// Beside the last checkpoint, for people: what goes wrong with it costs them the picture, no more.
void PpoTrainer::RecordEpisode(CheckpointContents& contents) {
  if (!finished() || !options_.evaluation.record_episode || !evaluator_) return;
  Result<std::string> gif =
      evaluator_->Record(state_->model.values(), state_->moments, *state_->evaluation);
  if (!gif.ok()) {
    host_.Note("no episode was recorded: " + gif.status().message());
  } else if (!gif->empty()) {
    contents.others[kEpisodeFile] = std::move(*gif);
  }
}

}  // namespace

Result<PpoResult> TrainPpo(const PpoOptions& options, const TrainingRun& run, Group& group,
                           ThreadPool& pool, TrainerHost& host, RemoteRollouts* remote) {
  try {
    return PpoTrainer(options, run, group, pool, host, remote).Run();
  } catch (const OutOfMemory& error) {
    return Status(StatusCode::kFailedPrecondition, error.what());
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kFailedPrecondition,
                  "out of memory; fewer envs, rollout_steps or a smaller policy need less");
  }
}

}  // namespace muster::rl
