#include "tests/sim/simulation.h"

#include <algorithm>

#include "base/check.h"

namespace muster::sim {

Simulation::Simulation(std::uint64_t seed, Bug bug)
    : random_(seed),
      referee_(plans_),
      network_(random_),
      coordinator_(bug, random_, referee_,
                   [this](const WorkerName& worker, const SimAnswer& answer, Millis now) {
                     SendAnswer(worker, answer, now);
                   }) {
  AddWorkers(bug);
  PlanJobs();
  PlanLimits(seed);
  PlanDrains(seed);
  PlanHelpers(seed);
}

// Two numerics classes; the first alone can hold every gang, as can its two large workers. In half
// of the runs each of its machines comes back from the first restart after some moment, and all
// of them in the end, as of another class.
void Simulation::AddWorkers(Bug bug) {
  if (random_.PerMille(300)) isolated_from_ = 3'000 + kStepMs * random_.Below(40);
  const bool upgrade = random_.PerMille(500);
  const Millis upgrade_at = 10'000 + random_.Time(15'000);
  for (std::uint32_t i = 0; i < 5; ++i) {
    SimMachine machine;
    machine.name = std::string("w-").append(std::to_string(i));
    machine.slots = i < 2 ? 2 : 1 + random_.Below(3);
    machine.memory_mib_per_slot = i < 2 || random_.PerMille(500) ? 4096 : 1024;
    machine.numerics_class = i < 3 ? "avx2" : "avx512";
    machine.upgrade_at = upgrade_at;
    if (upgrade && i < 3) machine.upgraded_class = "avx2, upgraded";
    agents_.push_back(
        std::make_unique<SimAgent>(std::move(machine), bug, random_, referee_, plans_, WorldOf()));
  }
}

void Simulation::PlanJobs() {
  const std::uint32_t jobs = 4 + random_.Below(5);
  for (JobId id = 1; id <= jobs; ++id) {
    JobPlan& plan = plans_[id];
    plan.request = {id, 1 + random_.Below(4), 1 + random_.Below(3), 0};
    if (random_.PerMille(250)) plan.request.memory_mib_per_rank = 2048;
    plan.steps_total = 5 + random_.Below(40);
    plan.checkpoint_every = 2 + random_.Below(8);
    plan.submit_at = random_.Time(isolated_from_ < 0 ? 20'000 : 3'000);
    const std::uint32_t fate = random_.Below(10);
    if (fate == 0) plan.fate = Fate::kSameStep;
    if (fate == 1) plan.fate = Fate::kNoProgress;
    if (fate == 2 || fate == 3) plan.fate = Fate::kFlaky;
    if (plan.fate == Fate::kFlaky) plan.fails_left = plan.request.failures_max - 1;
    plan.fails_at = 1 + random_.Below(static_cast<std::uint32_t>(plan.steps_total) - 1);
    plan.request.fenced = random_.PerMille(650);
    if (random_.PerMille(250)) {
      plan.request.time_limit_ms = 2'000 + random_.Time(20'000);
      plan.request.warning_ms = random_.PerMille(500) ? plan.request.time_limit_ms / 2 : 0;
    }
    if (random_.PerMille(200)) plan.cancel_at = plan.submit_at + random_.Time(15'000);
  }
}

// Two owners, whose limits, in half of the runs, change now and then; each gang fits them, and
// nobody stays disabled. From a chance of its own, so that what a seed does otherwise stays as it
// was.
void Simulation::PlanLimits(std::uint64_t seed) {
  SimRandom random(seed ^ 0x6c696d697473ULL);
  const std::string owners[] = {"ada", "bob"};
  for (auto& [id, plan] : plans_) plan.request.owner = owners[random.Below(2)];
  if (random.PerMille(500)) return;
  for (const std::string& owner : owners) {
    for (std::uint32_t change = random.Below(4); change > 0; --change) {
      OwnerLimits limits;
      if (random.PerMille(600)) limits.running = 1 + random.Below(3);
      if (random.PerMille(600)) limits.slots = 4 + random.Below(4);
      limits.disabled = random.PerMille(200);
      limits_.push_back({owner, limits, random.Time(kFaultsEndMs)});
      if (!limits.disabled) continue;
      limits.disabled = false;
      limits_.push_back({owner, limits, kFaultsEndMs + random.Time(5'000)});
    }
  }
  std::stable_sort(limits_.begin(), limits_.end(),
                   [](const auto& a, const auto& b) { return a.at < b.at; });
}

// In half of the runs workers are drained and taken back, all of them in the end; some are asked to
// end, and start again.
void Simulation::PlanDrains(std::uint64_t seed) {
  SimRandom random(seed ^ 0x647261696e73ULL);
  if (random.PerMille(500)) return;
  for (std::size_t i = 0; i < agents_.size(); ++i) {
    const WorkerName& worker = agents_[i]->name();
    for (std::uint32_t time = random.Below(3); time > 0; --time) {
      const Millis at = random.Time(kFaultsEndMs);
      const Millis deadline_ms = random.PerMille(500) ? at + random.Time(8'000) + 1 : 0;
      drains_.push_back({worker, true, deadline_ms, at});
      drains_.push_back({worker, false, 0, at + random.Time(10'000)});
    }
    drains_.push_back({worker, false, 0, kFaultsEndMs + random.Time(5'000)});
    if (random.PerMille(400)) leaves_.emplace_back(i, random.Time(kFaultsEndMs));
  }
  std::stable_sort(drains_.begin(), drains_.end(),
                   [](const auto& a, const auto& b) { return a.at < b.at; });
}

// In half of the runs most jobs that may have helpers want some, together often more than there are
// slots for, and many run for so long that others have ended by then.
void Simulation::PlanHelpers(std::uint64_t seed) {
  SimRandom random(seed ^ 0x68656c70657273ULL);
  if (random.PerMille(500)) return;
  for (auto& [id, plan] : plans_) {
    if (!plan.request.fenced || random.PerMille(300)) continue;
    plan.request.helpers = 1 + random.Below(5);
    plan.request.helpers_anywhere = random.PerMille(300);
    if (random.PerMille(500)) plan.steps_total += random.Below(200);
  }
}

SimAgent::World Simulation::WorldOf() {
  return {
      [this](SimAgent& agent, const WorkerReport& report, Millis now) {
        SendReport(agent, report, now);
      },
      [this](SimAgent& agent, const Commit& commit, Millis now) { SendCommit(agent, commit, now); },
      [this](const RankId& rank, Millis now) -> const SimRank* {
        for (const auto& agent : agents_) {
          if (const SimRank* found = agent->Find(rank, now)) return found;
        }
        return nullptr;
      }};
}

// A stream leads to one incarnation; what an old coordinator had sent may still arrive.
void Simulation::SendAnswer(const WorkerName& worker, const SimAnswer& answer, Millis now) {
  for (std::size_t i = 0; i < agents_.size(); ++i) {
    if (agents_[i]->name() != worker) continue;
    network_.Send(worker, Direction::kToWorker, now,
                  [this, i, incarnation = answer.answer.incarnation, answer](Millis then) {
                    DeliverAnswer(i, incarnation, answer, then);
                  });
  }
}

void Simulation::DeliverAnswer(std::size_t worker, const std::string& incarnation,
                               const SimAnswer& answer, Millis now) {
  SimAgent& agent = *agents_[worker];
  if (!agent.alive() || agent.incarnation() != incarnation) return;
  if (now >= agent.paused_until()) return agent.OnAnswer(answer, now);
  network_.At(agent.paused_until(), [this, worker, incarnation, answer](Millis then) {
    DeliverAnswer(worker, incarnation, answer, then);
  });
}

void Simulation::SendReport(SimAgent& agent, const WorkerReport& report, Millis now) {
  network_.Send(agent.name(), Direction::kToCoordinator, now,
                [this, report, now, to = coordinator_.generation()](Millis then) {
                  if (coordinator_.generation() == to) coordinator_.OnReport(report, now, then);
                });
}

// Commits are unary calls that are tried again: they may reach any later coordinator, long after
// their rank or its agent has died.
void Simulation::SendCommit(SimAgent& agent, const Commit& commit, Millis now) {
  if (now < agent.paused_until()) return;
  network_.Send(agent.name(), Direction::kToCoordinator, now, [this, &agent, commit](Millis at) {
    const std::optional<bool> accepted = coordinator_.OnCommit(commit, at);
    if (!accepted) return;
    network_.Send(agent.name(), Direction::kToWorker, at, [&agent, commit, accepted](Millis then) {
      agent.OnCommitAnswer(commit, *accepted, then);
    });
  });
}

void Simulation::InjectFaults(Millis now) {
  if (!coordinator_.alive()) {
    if (coordinator_back_at_ < now) {
      coordinator_back_at_ = now + random_.Time(random_.PerMille(300) ? 8'000 : 500);
    }
    if (now >= kFaultsEndMs || now + kStepMs > coordinator_back_at_) coordinator_.Start(now);
  }
  if (now == kFaultsEndMs) {
    for (auto& agent : agents_) {
      const bool due = !agent->machine().upgraded_class.empty();
      if (due && agent->machine().numerics_class == "avx2") agent->Crash(now, 1'000);
    }
  }
  if (now >= kFaultsEndMs) return;
  for (const auto& [agent, at] : leaves_) {
    const bool due = now == at / kStepMs * kStepMs;
    if (due && agents_[agent]->name() != isolated_) agents_[agent]->Leave(now, 5'000);
  }
  // In some runs a worker is out of reach for so long that its ranks must end themselves.
  if (now == isolated_from_) {
    isolated_ = agents_[random_.Below(2)]->name();
    network_.Cut(isolated_, Direction::kToCoordinator, kFaultsEndMs);
    network_.Cut(isolated_, Direction::kToWorker, kFaultsEndMs);
  }
  // One that restarts counts the silence anew.
  if (random_.PerMille(4) && isolated_.empty()) coordinator_.Crash();
  for (auto& agent : agents_) {
    if (agent->name() == isolated_) continue;  // Anything else would end its ranks.
    const Millis until = std::min(kFaultsEndMs, now + random_.Time(9'000));
    if (random_.PerMille(3)) {
      if (random_.PerMille(500)) {
        coordinator_.OnDisconnect(agent->name(), agent->incarnation());
      }
      agent->Crash(now, random_.Time(6'000));
    }
    if (random_.PerMille(4)) agent->Pause(until, random_.PerMille(500));
    if (random_.PerMille(4)) network_.Cut(agent->name(), Direction::kToCoordinator, until);
    if (random_.PerMille(4)) network_.Cut(agent->name(), Direction::kToWorker, until);
    if (random_.PerMille(4)) agent->KillRank(now);
  }
}

void Simulation::ActAsUsers(Millis now) {
  for (LimitsPlan& plan : limits_) {
    if (plan.done || now < plan.at) continue;
    plan.done = coordinator_.SetLimits(plan.owner, plan.limits, now);
    if (!plan.done) break;  // In their order.
  }
  for (DrainPlan& plan : drains_) {
    if (plan.done || now < plan.at) continue;
    plan.done = coordinator_.SetDrain(plan.worker, plan.drained, plan.deadline_ms, now);
    if (!plan.done) break;
  }
  for (auto& [id, plan] : plans_) {
    if (!plan.submitted && now >= plan.submit_at) {
      plan.submitted = coordinator_.Submit(plan.request, now);
    }
    if (plan.submitted && !plan.cancel_asked && plan.cancel_at >= 0 && now >= plan.cancel_at) {
      plan.cancel_asked = coordinator_.Cancel(id, now);
    }
    if (plan.submitted && now >= plan.resume_at) {
      plan.resume_at = now + 1'000 + random_.Time(4'000);
      coordinator_.AllowNewNumerics(id, now);
    }
  }
}

// When a job ends, no rank of its last attempt is left, except on workers that were lost since.
void Simulation::LookForLeftovers(Millis now) {
  for (const auto& [id, plan] : plans_) {
    if (!referee_.Ended(id) || !ended_.insert(id).second) continue;
    for (const auto& agent : agents_) {
      for (const auto& [rank, state] : agent->ranks()) {
        if (rank.attempt.job != id || !agent->alive() || !SimAgent::Unreleased(state, now) ||
            IsHelper(plans_, rank)) {
          continue;
        }
        const std::optional<Millis> started = referee_.StartedAt(rank.attempt);
        if (!started || coordinator_.LostAt(agent->name()) < *started) {
          referee_.OnLeftBehind(rank, agent->name());
        }
      }
    }
  }
}

// Of a job that cannot be fenced, no two attempts have anything that lives.
void Simulation::LookForTwins(Millis now) {
  std::map<JobId, std::uint32_t> living;
  for (const auto& agent : agents_) {
    if (!agent->alive()) continue;  // Its ranks ended with it.
    for (const auto& [rank, state] : agent->ranks()) {
      if (plans_.at(rank.attempt.job).request.fenced || !SimAgent::Unreleased(state, now)) continue;
      const auto [other, first] = living.try_emplace(rank.attempt.job, rank.attempt.number);
      if (!first && other->second != rank.attempt.number) {
        referee_.Break(Name(rank) + ": lives beside attempt " + std::to_string(other->second));
      }
    }
  }
}

bool Simulation::LookForHelpers(Millis now) {
  bool any = false;
  for (const auto& agent : agents_) {
    if (!agent->alive()) continue;
    for (const auto& [rank, state] : agent->ranks()) {
      if (!IsHelper(plans_, rank) || !SimAgent::Unreleased(state, now)) continue;
      referee_.OnHelperLives(rank, now);
      any = true;
    }
  }
  return any;
}

std::string Simulation::Run() try {
  for (Millis now = 0; now < kDeadlineMs; now += kStepMs) {
    InjectFaults(now);
    ActAsUsers(now);
    network_.DeliverDue(now);
    coordinator_.Pump(now);
    // Also one that started in this very step.
    if (!coordinator_.alive()) referee_.OnCoordinatorAway(kStepMs);
    LookForLeftovers(now);
    for (auto& agent : agents_) agent->Step(now);
    LookForTwins(now);
    const bool helped = LookForHelpers(now);
    if (!referee_.broken().empty()) return referee_.broken();
    if (now > kFaultsEndMs + 10'000 && referee_.AllEnded() && !helped) {
      referee_.CheckVerdicts();
      return referee_.broken();
    }
  }
  std::string open;
  for (const auto& [id, plan] : plans_) {
    if (!referee_.Ended(id)) open.append(" ").append(std::to_string(id));
  }
  return "jobs unended long after the faults:" + open;
} catch (const ContractViolation& violation) {
  return violation.what();
}

}  // namespace muster::sim
