// What the scheduler remembers of a job and of a worker. Internal to this folder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/scheduler/types.h"

namespace muster::scheduling {

// One rank of a job's current attempt, as last heard. Nothing in it is ever unsaid: an older
// report that arrives late changes nothing.
struct Rank {
  WorkerName worker;
  RankPhase phase = RankPhase::kStarting;
  std::int32_t pid = 0;
  ExitKind exit = ExitKind::kSuccess;  // With kExited.
  std::string exit_reason{};
  std::uint64_t exit_step = 0;
  bool released = false;
  bool drained = false;
  std::optional<std::int32_t> exit_code{};
  Millis save_ms = 0;
  Millis step_ms = 0;
  // Of a job that cannot be fenced, after its worker was lost: nothing proves that it has ended,
  // until then it may run. 0 = it has ended as far as `released` says.
  Millis may_live_until = 0;

  bool Exited() const { return phase == RankPhase::kExited; }
  bool Stopped() const { return Exited() && exit == ExitKind::kStopped; }
  bool Succeeded() const { return Exited() && exit == ExitKind::kSuccess; }
};

// A process beside a job's gang, wanted and not known to have ended. Never journaled: after a
// restart of the coordinator its worker is told to end it, and another is placed.
struct Helper {
  WorkerName worker;
  RankPhase phase = RankPhase::kStarting;
  std::int32_t pid = 0;
  Millis placed_at = 0;
};

enum class Stage : std::uint8_t {
  kQueued,     // No attempt: waits for slots or for its back-off.
  kLive,       // The current attempt is desired and may commit.
  kReleasing,  // The current attempt has ended; its ranks are withdrawn.
};

// Why a queued job is not running; JobView::reason spells it out.
enum class Wait : std::uint8_t {
  kTick,          // Has not been looked at yet.
  kSlots,         // Would fit, but others hold the slots.
  kBehind,        // An older job waits for the same slots.
  kNoFit,         // The workers that are here could not hold it.
  kReporting,     // Would fit once workers known from before a restart report.
  kRunningLimit,  // The owner's limits hold it back: this and the next two.
  kSlotsLimit,
  kDisabled,
  kBackoff,
};

// Whom jobs belong to; what they hold is counted anew whenever waiting jobs are looked at.
struct Owner {
  OwnerLimits limits;
  std::uint32_t running = 0;
  std::uint32_t slots = 0;
  JobId waiting = 0;  // The oldest job that the slots limit holds back now; 0 = none.

  void Take(std::uint32_t ranks) {
    ++running;
    slots += ranks;
  }
};

struct Job {
  JobRequest request;
  Owner* owner = nullptr;
  Stage stage = Stage::kQueued;
  Wait wait = Wait::kTick;
  JobId behind = 0;             // With kBehind.
  std::uint32_t owner_has = 0;  // With a limit: how many jobs, or slots, its owner had then.
  bool cancelled = false;
  bool running = false;   // Every rank of the current attempt has done its first step.
  bool restored = false;  // The current attempt was live when the coordinator started.
  std::uint32_t attempt = 0;
  std::vector<Rank> ranks;     // Of the current attempt.
  std::string numerics_class;  // Empty = goes where there is room.
  std::uint32_t failures = 0;
  std::uint32_t retries = 0;
  std::optional<std::uint64_t> failed_step;
  std::string failed_reason;
  std::optional<std::int32_t> exit_code;  // With it.
  bool succeeded = false;       // So says the journal: every rank of the current attempt has.
  bool last = false;            // No attempt follows the current one.
  bool infrastructure = false;  // How the last attempt ended.
  bool counted_retry = false;   // Its end was counted in `retries`: an own failure may replace it.
  std::string reason;           // Why the last attempt ended or the job was cancelled.
  Millis ended_at = 0;          // When the last attempt ended.
  Millis ready_at = 0;          // End of the back-off.
  Millis used_ms = 0;           // Of the time limit, before `live_since`.
  Millis live_since = 0;        // With kLive.
  bool stopping = false;        // The current attempt's ranks are asked to stop: time runs out.
  Millis asked_to_move_at = 0;  // With `moving`.
  std::string moving;  // Why they are asked to stop and go elsewhere; empty = they are not.
  bool moved = false;  // The last attempt ended because of that.
  std::map<std::uint32_t, Helper> helpers;  // Of the current attempt, by their number.
  // Each process has a number of its own, from the first one to below the other.
  std::uint32_t next_helper = 0;
  std::uint32_t helpers_end = 0;
  Millis helper_at = 0;          // None is placed before.
  Millis helper_backoff_ms = 0;  // Since the last one that lived for a while.
  WorkerName helper_failed_on;   // Where the last one died early: others first.

  // Its gang computes and is to go on: helpers would be of use.
  bool MayHaveHelpers() const {
    return stage == Stage::kLive && running && !cancelled && !succeeded && !stopping &&
           moving.empty() &&
           std::none_of(ranks.begin(), ranks.end(), [](const Rank& r) { return r.Exited(); });
  }
  // What cannot be fenced promises no bits: it need not end in the class in which it began.
  bool MayRunIn(const std::string& other_class) const {
    return !request.fenced || numerics_class.empty() || numerics_class == other_class;
  }

  // What an orderly stop takes: the step that it comes in, and twice the last checkpoint.
  Millis StopMillis() const {
    Millis stop_ms = 0;
    for (const Rank& rank : ranks) stop_ms = std::max(stop_ms, rank.step_ms + 2 * rank.save_ms);
    return stop_ms;
  }
  bool AllSucceeded() const {
    return std::all_of(ranks.begin(), ranks.end(), [](const Rank& r) { return r.Succeeded(); });
  }
  // None runs on, and one at least has not done all its work.
  bool AllStopped() const {
    return !AllSucceeded() && std::all_of(ranks.begin(), ranks.end(), [](const Rank& r) {
      return r.Succeeded() || r.Stopped();
    });
  }
  Millis UsedAt(Millis now) const {
    return used_ms + (stage == Stage::kLive ? now - live_since : 0);
  }
  // The latest moment until which one of its ranks may run although nobody hears of it; 0 = none.
  Millis MayLiveUntil() const {
    Millis until = 0;
    for (const Rank& rank : ranks) until = std::max(until, rank.may_live_until);
    return until;
  }
  // Names of the workers of those ranks.
  std::string OutOfReach() const {
    std::set<WorkerName> names;
    for (const Rank& rank : ranks) {
      if (rank.may_live_until > 0) names.insert(rank.worker);
    }
    std::string list;
    for (const WorkerName& name : names) list += (list.empty() ? "" : ", ") + name;
    return list;
  }
  bool AllReleased() const {
    return std::all_of(ranks.begin(), ranks.end(), [](const Rank& r) { return r.released; });
  }
  bool AllDrained() const {
    return std::all_of(ranks.begin(), ranks.end(), [](const Rank& r) { return r.drained; });
  }
};

// A rank that a worker runs, is told to run, or may still run.
struct Hold {
  bool desired = false;
  bool released = false;
  AnswerNumber last_asked{};  // Not desired: no answer after this one names it.
};

struct Worker {
  std::string incarnation;         // Empty = not heard of since the coordinator started.
  std::vector<std::string> older;  // Incarnations before it, newest last.
  bool connected = false;          // No OnDisconnect since its last report.
  bool lost = false;
  bool ready = false;  // Has obeyed an answer given since it joined: nothing older can surprise it.
  std::uint32_t slots = 0;
  std::uint64_t memory_mib_per_slot = 0;
  std::string numerics_class;
  Millis last_seen = 0;
  bool leaving = false;
  std::optional<Drain> drain;
  AnswerNumber joined;       // The newest answer to anyone when it joined.
  AnswerNumber last_answer;  // The newest answer to it.
  std::map<RankId, Hold> holds;

  // No rank may be placed on it, and those that can go elsewhere are asked to.
  bool Closed() const { return leaving || drain.has_value(); }
  // A rank that is released and will not be started again takes no slot.
  std::uint32_t SlotsUsed() const {
    return static_cast<std::uint32_t>(std::count_if(
        holds.begin(), holds.end(),
        [](const auto& entry) { return entry.second.desired || !entry.second.released; }));
  }
};

}  // namespace muster::scheduling
