// The shell around the scheduler, simulated: a journal that outlives crashes, decisions journaled
// before answers leave, commits accepted for the current attempt only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "coordinator/scheduler/scheduler.h"
#include "tests/sim/referee.h"
#include "tests/sim/sim_types.h"

namespace muster::sim {

// On disk. Each member function of SimCoordinator writes it in one transaction.
struct Journal {
  std::uint64_t epoch = 0;
  std::map<JobId, RestoredJob> jobs;
  std::map<JobId, std::uint64_t> checkpoints;  // Newest accepted step.
  std::map<AttemptId, std::uint64_t> resume;   // Fixed when the attempt starts.
  std::map<WorkerName, std::pair<std::uint32_t, std::string>> workers;  // Slots, class.
  std::map<std::string, OwnerLimits> limits;
  std::map<WorkerName, Drain> drains;
  std::map<JobId, Millis> live_since;  // Of the live attempt.
};

class SimCoordinator {
 public:
  using SendAnswer = std::function<void(const WorkerName&, const SimAnswer&, Millis now)>;

  SimCoordinator(Bug bug, SimRandom& random, Referee& referee, SendAnswer send)
      : bug_(bug), random_(random), referee_(referee), send_(std::move(send)) {}

  // A process starts from the journal; the one before it is dead.
  void Start(Millis now);
  void Crash() { scheduler_.reset(); }
  bool alive() const { return scheduler_ != nullptr; }
  // Connections end with the process that they lead to.
  std::uint64_t generation() const { return generation_; }

  // False: not acknowledged; ask again.
  bool Submit(const JobRequest& request, Millis now);
  bool Cancel(JobId job, Millis now);
  bool SetLimits(const std::string& owner, const OwnerLimits& limits, Millis now);
  bool SetDrain(const WorkerName& worker, bool drained, Millis deadline_ms, Millis now);
  // Somebody sees that the job waits for a numerics class that has gone, and lets it go on.
  void AllowNewNumerics(JobId job, Millis now);
  // `made` is when. Each report is answered.
  void OnReport(const WorkerReport& report, Millis made, Millis now);
  void OnDisconnect(const WorkerName& worker, const std::string& incarnation);
  // Nothing: no answer, the process is dead or died over it.
  std::optional<bool> OnCommit(const Commit& commit, Millis now);
  // Decides, journals, answers.
  void Pump(Millis now);
  // Newest time that the worker was seen as lost.
  Millis LostAt(const WorkerName& worker) const;

 private:
  bool Dies(Millis now, std::uint32_t per_mille);
  void Write(const Decision& decision, Millis now);
  void ShowHelpers(const std::set<WorkerName>& lost);
  void Answers(Millis now);
  RestoredJob Remember(RestoredJob job, Millis now) const;

  Bug bug_;
  SimRandom& random_;
  Referee& referee_;
  SendAnswer send_;
  Journal journal_;
  std::unique_ptr<Scheduler> scheduler_;
  std::uint64_t generation_ = 0;
  std::map<WorkerName, Millis> lost_at_;
  struct Heard {
    std::string incarnation;
    Millis made = 0;
  };
  std::map<WorkerName, Heard> heard_;
  std::map<WorkerName, std::string> answered_;  // The incarnation that was.
  std::set<WorkerName> to_answer_;
  // Whole answers to all reports, as the real shell gives; otherwise, where nothing has changed,
  // only word that the report was heard: numbers then grow slowly, which some bugs need.
  bool answers_all_ = false;
};

}  // namespace muster::sim
