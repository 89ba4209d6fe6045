#include "tests/sim/sim_agent.h"

#include <algorithm>
#include <utility>

namespace muster::sim {

SimAgent::SimAgent(SimMachine machine, Bug bug, SimRandom& random, Referee& referee,
                   JobPlans& plans, World world)
    : machine_(std::move(machine)),
      bug_(bug),
      random_(random),
      referee_(referee),
      plans_(plans),
      world_(std::move(world)),
      lists_undrained_(random.PerMille(500)) {
  referee_.WorkerIs(name(), machine_.numerics_class, machine_.memory_mib_per_slot);
}

std::string SimAgent::incarnation() const {
  return name() + "#" + std::to_string(bug_ == Bug::kKeepIncarnation ? 1 : incarnations_);
}

const SimRank* SimAgent::Find(const RankId& id, Millis now) const {
  const auto rank = ranks_.find(id);
  if (!alive_ || now < ranks_paused_until_ || rank == ranks_.end()) return nullptr;
  return &rank->second;
}

void SimAgent::Crash(Millis now, Millis down_ms) {
  if (!alive_) return;
  alive_ = false;
  restart_at_ = now + down_ms;
}

// A new process: it first ends what its predecessor left, then registers. Half of the time it finds
// spool files that are not stored yet and reports their ranks until they are.
void SimAgent::Restart(Millis now) {
  alive_ = true;
  ++incarnations_;
  obeyed_ = {};
  desired_.clear();
  if (!machine_.upgraded_class.empty() && now >= machine_.upgrade_at) {
    machine_.numerics_class = machine_.upgraded_class;
    referee_.WorkerIs(name(), machine_.numerics_class, machine_.memory_mib_per_slot);
  }
  paused_until_ = ranks_paused_until_ = 0;
  leave_until_ = -1;
  report_at_ = now;
  std::erase_if(ranks_, [&](const auto& entry) {
    return random_.PerMille(500) || now >= entry.second.drained_at;
  });
  for (auto& [id, rank] : ranks_) {
    if (!rank.Exited()) Exit(rank, ExitKind::kInfrastructure, "its agent was killed", now);
    rank.released_at = now;
  }
}

void SimAgent::Pause(Millis until, bool ranks_too) {
  paused_until_ = until;
  if (ranks_too) ranks_paused_until_ = until;
}

void SimAgent::Leave(Millis now, Millis most_ms) {
  if (!alive_ || now < paused_until_) return;
  leave_until_ = now + most_ms;
  report_at_ = now;
  for (auto& [id, rank] : ranks_) {
    if (plans_.at(id.attempt.job).request.fenced && !IsHelper(plans_, id)) {
      rank.stopping = true;
    } else if (!rank.Exited()) {
      Exit(rank, ExitKind::kInfrastructure, "its worker shuts down", now);
    }
  }
}

void SimAgent::KillRank(Millis now) {
  if (ranks_.empty()) return;
  SimRank& rank =
      std::next(ranks_.begin(), random_.Below(static_cast<std::uint32_t>(ranks_.size())))->second;
  if (!rank.Exited()) Exit(rank, ExitKind::kInfrastructure, "killed by signal 9", now);
}

void SimAgent::Step(Millis now) {
  if (!alive_) {
    if (now < restart_at_) return;
    Restart(now);
  }
  if (now >= ranks_paused_until_) {
    for (auto& [id, rank] : ranks_) StepRank(rank, now);
  }
  if (now < paused_until_) return;
  for (auto& [id, rank] : ranks_) {
    if (rank.said_released || Unreleased(rank, now)) continue;
    rank.said_released = true;
    report_at_ = now;
  }
  const bool empty = std::none_of(ranks_.begin(), ranks_.end(), [now](const auto& entry) {
    return Unreleased(entry.second, now);
  });
  if (leave_until_ >= 0 && (now >= leave_until_ || empty)) return Crash(now, random_.Time(4'000));
  if (now >= report_at_) Report(now);
  Forget(now);
}

void SimAgent::Report(Millis now) {
  report_at_ = now + kReportEveryMs;
  WorkerReport report{name(),
                      incarnation(),
                      machine_.slots,
                      machine_.numerics_class,
                      obeyed_,
                      {},
                      machine_.memory_mib_per_slot};
  report.leaving = leave_until_ >= 0;
  if (bug_ == Bug::kForgetObeyed) report.obeyed.n += 1'000;
  for (const auto& [id, rank] : ranks_) {
    RankReport said;
    said.id = id;
    said.phase = rank.phase;
    said.pid = 100;
    if (rank.Exited()) {
      said.exit = rank.exit;
      said.exit_reason = rank.exit_reason;
      said.exit_step = rank.step;
      said.released = bug_ == Bug::kReleaseTooEarly || !Unreleased(rank, now);
      said.drained = now >= rank.drained_at;
    }
    report.ranks.push_back(said);
  }
  world_.send_report(*this, report, now);
  if (bug_ != Bug::kDropExitedRanks) return;
  std::erase_if(ranks_, [now](const auto& entry) { return !Unreleased(entry.second, now); });
}

void SimAgent::Forget(Millis now) {
  std::erase_if(ranks_, [&](const auto& entry) {
    const SimRank& rank = entry.second;
    if (desired_.contains(entry.first) || Unreleased(rank, now)) return false;
    return !lists_undrained_ || now >= rank.drained_at;
  });
}

void SimAgent::OnAnswer(const SimAnswer& message, Millis now) {
  const Answer& answer = message.answer;
  answered_ = std::max(answered_, message.asked);
  if (answer.number == AnswerNumber{}) return;  // Only that it was heard.
  const bool older =
      bug_ == Bug::kIgnoreEpoch ? answer.number.n <= obeyed_.n : answer.number <= obeyed_;
  if (older && bug_ != Bug::kObeyOlderAnswers) return;
  // Otherwise every answer would be reported and every report answered, without a pause.
  const bool news = obeyed_ == AnswerNumber{} ||
                    answer.desired != std::vector<RankId>(desired_.begin(), desired_.end());
  obeyed_ = bug_ == Bug::kObeyOlderAnswers ? std::max(obeyed_, answer.number) : answer.number;
  if (news) report_at_ = now;
  desired_ = {answer.desired.begin(), answer.desired.end()};
  for (auto& [id, rank] : ranks_) {
    if (!rank.Exited() && !desired_.contains(id)) {
      Exit(rank, ExitKind::kInfrastructure, "not wanted any more", now);
    }
  }
  for (auto& [id, rank] : ranks_) rank.stopping |= answer.stopping.contains(id.attempt);
  for (std::size_t i = 0; i < answer.desired.size(); ++i) {
    if (leave_until_ < 0 && !ranks_.contains(answer.desired[i]))
      StartRank(answer.desired[i], message.resume[i], now);
  }
  const auto unreleased = std::count_if(ranks_.begin(), ranks_.end(), [now](const auto& entry) {
    return Unreleased(entry.second, now);
  });
  referee_.OnObeyed(name(), static_cast<std::size_t>(unreleased), machine_.slots);
}

void SimAgent::StartRank(const RankId& id, std::uint64_t resume, Millis now) {
  referee_.OnRankStarts(id, name());
  const JobPlan& plan = plans_.at(id.attempt.job);
  SimRank rank{.id = id, .step = resume, .resume = resume, .heard = answered_};
  rank.next_at = now + 100 + random_.Time(400);
  if (IsHelper(plans_, id)) {
    // A third dies at once, a third some time later.
    if (random_.PerMille(667))
      rank.ends_at = now + random_.Time(random_.PerMille(500) ? 500 : 9'000);
    ranks_.emplace(id, std::move(rank));
    return;
  }
  const bool fails = id.rank == id.attempt.number % plan.request.ranks;
  const auto left =
      static_cast<std::uint32_t>(plan.steps_total - std::min(plan.steps_total, resume));
  if (fails && plan.fate == Fate::kFlaky && plan.fails_left > 0 && left > 0) {
    rank.fails_at = resume + random_.Below(left);
  }
  if (fails && plan.fate == Fate::kSameStep) rank.fails_at = plan.fails_at;
  if (fails && plan.fate == Fate::kNoProgress) rank.fails_at = resume;
  ranks_.emplace(id, std::move(rank));
}

void SimAgent::Exit(SimRank& rank, ExitKind kind, const std::string& reason, Millis now) {
  rank.phase = RankPhase::kExited;
  rank.exit = kind;
  rank.exit_reason = reason;
  if (kind == ExitKind::kSuccess) referee_.OnRankSucceeded(rank.id);
  rank.released_at = now + random_.Time(random_.PerMille(100) ? 6'000 : 300);
  rank.drained_at = rank.released_at + random_.Time(1'000);
  report_at_ = now;
}

void SimAgent::StepRank(SimRank& rank, Millis now) {
  if (rank.Exited()) return;
  if (now >= paused_until_) rank.heard = answered_;
  if (now - rank.heard > kOrphanTimeoutMs && bug_ != Bug::kNeverOrphan) {
    return Exit(rank, ExitKind::kInfrastructure, "no word from the coordinator", now);
  }
  if (now < rank.next_at) return;
  if (IsHelper(plans_, rank.id)) return StepHelper(rank, now);
  JobPlan& plan = plans_.at(rank.id.attempt.job);
  if (!PeersHere(rank, now)) return;
  const bool stop = rank.step > rank.resume && AskedToStop(rank, now);
  if (rank.id.rank == 0 && !Committed(rank, plan, stop, now)) return;
  // A replaced attempt may have used up the last of its failures.
  const bool spared = plan.fate == Fate::kFlaky && plan.fails_left == 0;
  if (rank.step >= rank.fails_at && !spared) {
    if (plan.fate == Fate::kFlaky) --plan.fails_left;
    const bool same = plan.fate == Fate::kSameStep;
    const std::string reason = same ? "loss is NaN" : "bad luck in " + Name(rank.id.attempt);
    return Exit(rank, ExitKind::kOwnFailure, reason, now);
  }
  if (rank.step == plan.steps_total || stop) {
    // The others end once rank 0 knows that the last checkpoint counts.
    const SimRank* first = rank.id.rank == 0 ? &rank : world_.find_peer({rank.id.attempt, 0}, now);
    if (first == nullptr || !first->any_accepted || first->accepted < rank.step) return;
    // Each in its own time.
    if (rank.ends_at < 0) rank.ends_at = now + random_.Time(400);
    if (now < rank.ends_at) return;
    const bool done = rank.step == plan.steps_total;
    return Exit(rank, done ? ExitKind::kSuccess : ExitKind::kStopped, done ? "" : "stopped", now);
  }
  ++rank.step;
  rank.next_at = now + 100;
  if (rank.phase == RankPhase::kStarting) {
    rank.phase = RankPhase::kRunning;
    report_at_ = now;
  }
  if (random_.PerMille(200)) world_.send_commit(*this, {rank.id, rank.step, false}, now);
}

// It waits for nobody and commits nothing, and ends in any way.
void SimAgent::StepHelper(SimRank& helper, Millis now) {
  if (helper.ends_at >= 0 && now >= helper.ends_at) {
    const ExitKind kinds[] = {ExitKind::kSuccess, ExitKind::kOwnFailure, ExitKind::kInfrastructure,
                              ExitKind::kStopped};
    return Exit(helper, kinds[random_.Below(4)], "a helper's end", now);
  }
  if (helper.phase == RankPhase::kRunning) return;
  helper.phase = RankPhase::kRunning;
  report_at_ = now;
}

// One rank that is asked is enough, as its peers hear of it with the next step; all stop after the
// same one.
bool SimAgent::AskedToStop(const SimRank& rank, Millis now) const {
  bool asked = rank.stopping;
  for (std::uint32_t i = 0; i < plans_.at(rank.id.attempt.job).request.ranks; ++i) {
    const SimRank* peer = world_.find_peer({rank.id.attempt, i}, now);
    if (peer == nullptr) continue;
    if (peer->step > rank.step) return false;
    asked |= peer->stopping;
  }
  return asked;
}

// True when every peer is there and not behind. A peer that is gone ends the rank after a while.
bool SimAgent::PeersHere(SimRank& rank, Millis now) {
  bool ready = true;
  bool gone = false;
  for (std::uint32_t i = 0; i < plans_.at(rank.id.attempt.job).request.ranks; ++i) {
    const SimRank* peer = i == rank.id.rank ? &rank : world_.find_peer({rank.id.attempt, i}, now);
    gone |= peer == nullptr || (peer->Exited() && peer->exit != ExitKind::kSuccess &&
                                (peer->exit != ExitKind::kStopped || peer->step < rank.step));
    ready = ready && peer != nullptr && peer->step >= rank.step;
  }
  if (!gone) {
    rank.waiting_since = -1;
    return ready;
  }
  if (rank.waiting_since < 0) rank.waiting_since = now;
  if (now - rank.waiting_since > kPeerTimeoutMs) {
    Exit(rank, ExitKind::kInfrastructure, "lost a peer", now);
  }
  return false;
}

// False while the checkpoint that is due at this step has not been accepted.
bool SimAgent::Committed(SimRank& rank, const JobPlan& plan, bool stop, Millis now) {
  const bool last = rank.step == plan.steps_total || stop;
  const bool due = last || (rank.step > rank.resume && rank.step % plan.checkpoint_every == 0);
  if (!due || (rank.any_accepted && rank.accepted >= rank.step)) return true;
  if (now >= rank.commit_at) {
    rank.commit_at = now + 300;
    world_.send_commit(*this, {rank.id, rank.step, true}, now);
  }
  return false;
}

void SimAgent::OnCommitAnswer(const Commit& commit, bool accepted, Millis now) {
  const auto found = ranks_.find(commit.rank);
  if (!alive_ || found == ranks_.end() || found->second.Exited() || !commit.checkpoint) return;
  SimRank& rank = found->second;
  if (!accepted) return Exit(rank, ExitKind::kInfrastructure, "replaced", now);
  rank.accepted = std::max(rank.accepted, commit.step);
  rank.any_accepted = true;
}

}  // namespace muster::sim
