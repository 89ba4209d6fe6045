// What the parts of the simulated cluster share: chance, planted bugs, job plans, messages.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "coordinator/scheduler/types.h"

namespace muster::sim {

constexpr Millis kStepMs = 50;
constexpr Millis kFaultsEndMs = 30'000;  // Then everything heals and every job must end.
constexpr Millis kDeadlineMs = 230'000;
constexpr Millis kReportEveryMs = 500;
constexpr Millis kPeerTimeoutMs = 3'000;
constexpr Millis kOrphanTimeoutMs = 5'000;
constexpr Millis kOrphanMarginMs = 16'000;  // Ranks are stopped for 9 s, and take 6 s to be gone.

// One of the defences left out, to show that the simulation notices.
enum class Bug : std::uint8_t {
  kNone,
  // In the coordinator's shell:
  kAcceptEveryCommit,
  kAnswerBeforeJournal,
  kForgetCancellation,  // On restart, as are the next ten.
  kForgetAttemptNumber,
  kForgetAttemptEnd,
  kForgetEndedPlacement,
  kReuseEpoch,
  kForgetNumerics,
  kForgetMemory,
  kForgetLimits,
  kForgetUnfenced,
  kForgetUsedTime,
  kForgetDrains,
  // In the agent:
  kObeyOlderAnswers,
  kIgnoreEpoch,
  kReleaseTooEarly,
  kKeepIncarnation,
  kDropExitedRanks,
  kForgetObeyed,  // Says that it has obeyed answers that it has not seen.
  kNeverOrphan,   // Its ranks run on whatever they do not hear.
};

class SimRandom {
 public:
  explicit SimRandom(std::uint64_t seed) : engine_(seed) {}
  std::uint32_t Below(std::uint32_t bound) { return static_cast<std::uint32_t>(engine_() % bound); }
  Millis Time(Millis bound) { return Below(static_cast<std::uint32_t>(bound)); }
  bool PerMille(std::uint32_t chance) { return Below(1000) < chance; }

 private:
  std::mt19937_64 engine_;
};

enum class Fate : std::uint8_t {
  kClean,       // Never fails by itself.
  kFlaky,       // Fails by itself, fewer times than failures_max.
  kSameStep,    // Always fails at one step for one reason.
  kNoProgress,  // Fails before any checkpoint, each time for another reason.
};

struct JobPlan {
  JobRequest request;
  Fate fate = Fate::kClean;
  std::uint32_t fails_left = 0;  // kFlaky.
  std::uint64_t fails_at = 0;    // kSameStep.
  std::uint64_t steps_total = 0;
  std::uint64_t checkpoint_every = 1;
  Millis submit_at = 0;
  Millis cancel_at = -1;  // Never.
  bool submitted = false;
  bool cancel_asked = false;
  Millis resume_at = 0;  // When somebody next looks whether it waits for a class that has gone.
};
using JobPlans = std::map<JobId, JobPlan>;

inline bool IsHelper(const JobPlans& plans, const RankId& id) {
  return id.rank >= plans.at(id.attempt.job).request.ranks;
}

// An administrator sets an owner's limits.
struct LimitsPlan {
  std::string owner;
  OwnerLimits limits;
  Millis at = 0;
  bool done = false;
};

// An administrator drains a worker, or takes it back into service.
struct DrainPlan {
  WorkerName worker;
  bool drained = true;
  Millis deadline_ms = 0;  // 0 = none.
  Millis at = 0;
  bool done = false;
};

// A rank wants a checkpoint or a row of metrics to count. May be lost, late or doubled.
struct Commit {
  RankId rank;
  std::uint64_t step = 0;
  bool checkpoint = false;
};

// A machine: how many ranks it holds, of which size, and what its bits are like.
struct SimMachine {
  WorkerName name;
  std::uint32_t slots = 1;
  std::uint64_t memory_mib_per_slot = 0;
  std::string numerics_class;
  std::string upgraded_class{};  // From `upgrade_at` on a new agent process is of this one.
  Millis upgrade_at = 0;
};

struct SimAnswer {
  Answer answer;
  std::vector<std::uint64_t> resume;  // By desired rank: the step to go on from.
  Millis asked = 0;                   // When the newest report that it answers was made.
};

}  // namespace muster::sim
