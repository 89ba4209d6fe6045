#include "coordinator/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "coordinator/scheduler/placement.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// One coordinator and well-behaved workers, stepped by hand.
class SchedulerTest : public testing::Test {
 protected:
  // What `worker` says now: `ranks` and that it has obeyed every answer so far.
  void Report(const WorkerName& worker, std::uint32_t slots, std::vector<RankReport> ranks = {},
              const std::string& numerics_class = "avx2") {
    scheduler_.OnReport({worker, incarnation_ + worker, slots, numerics_class, obeyed_[worker],
                         std::move(ranks), memory_mib_[worker]},
                        now_);
    Tick();
  }
  void Tick() {
    scheduler_.Tick(now_);
    for (Decision& decision : scheduler_.TakeDecisions()) decisions_.push_back(std::move(decision));
  }
  void Obey(const WorkerName& worker) {
    const Answer answer = scheduler_.AnswerFor(worker);
    obeyed_[worker] = answer.number;
    desired_[worker] = answer.desired;
  }
  // Registers and completes the first exchange of report and answer.
  void Join(const WorkerName& worker, std::uint32_t slots,
            const std::string& numerics_class = "avx2") {
    Report(worker, slots, {}, numerics_class);
    Obey(worker);
    Report(worker, slots, {}, numerics_class);
  }
  void Submit(JobId job, std::uint32_t ranks) {
    scheduler_.Submit({job, ranks, 3});
    Tick();
  }
  static RankReport Running(JobId job, std::uint32_t attempt, std::uint32_t rank) {
    RankReport report;
    report.id = {{job, attempt}, rank};
    report.phase = RankPhase::kRunning;
    return report;
  }
  static RankReport Exited(JobId job, std::uint32_t attempt, std::uint32_t rank, ExitKind kind,
                           const std::string& reason, std::uint64_t step, bool gone = true) {
    RankReport report = Running(job, attempt, rank);
    report.phase = RankPhase::kExited;
    report.exit = kind;
    report.exit_reason = reason;
    report.exit_step = step;
    report.released = report.drained = gone;
    return report;
  }
  std::string ReasonOf(JobId job) const { return scheduler_.View(job).reason; }

  Millis now_ = 0;
  std::string incarnation_ = "first-";
  Scheduler scheduler_{SchedulerOptions{}, 0};
  std::map<WorkerName, AnswerNumber> obeyed_;
  std::map<WorkerName, std::uint64_t> memory_mib_;
  std::map<WorkerName, std::vector<RankId>> desired_;
  std::vector<Decision> decisions_;
};

TEST(PlaceGangTest, PrefersTheWorkerWithLeastLeftOver) {
  EXPECT_THAT(scheduling::PlaceGang({{"a", 4}, {"b", 2}, {"c", 3}}, 2), ElementsAre("b", "b"));
}

TEST(PlaceGangTest, FillsTheEmptiestWorkersWhenNoneHoldsTheGang) {
  EXPECT_THAT(scheduling::PlaceGang({{"a", 1}, {"b", 2}, {"c", 2}}, 4),
              ElementsAre("b", "b", "c", "c"));
  EXPECT_THAT(scheduling::PlaceGang({{"a", 1}, {"b", 2}}, 4), IsEmpty());
}

TEST_F(SchedulerTest, RunsAJobFromTheQueueToSuccess) {
  Submit(1, 2);
  EXPECT_EQ(ReasonOf(1), "waits for workers: none has registered");
  Join("w-1", 2);
  ASSERT_EQ(decisions_.size(), 1U);
  EXPECT_EQ(decisions_[0].kind, Decision::Kind::kAttemptStarted);
  EXPECT_THAT(decisions_[0].placement, ElementsAre("w-1", "w-1"));
  Obey("w-1");
  EXPECT_THAT(desired_["w-1"], ElementsAre(RankId{{1, 1}, 0}, RankId{{1, 1}, 1}));
  EXPECT_EQ(ReasonOf(1), "attempt 1 starts: 0 of 2 ranks made a first step");
  Report("w-1", 2, {Running(1, 1, 0), Running(1, 1, 1)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kRunning);
  const RankReport first = Exited(1, 1, 0, ExitKind::kSuccess, "", 9);
  Report("w-1", 2, {first, Running(1, 1, 1)});
  // Exited, but its logs are still on their way.
  RankReport second = Exited(1, 1, 1, ExitKind::kSuccess, "", 9);
  second.drained = false;
  Report("w-1", 2, {first, second});
  EXPECT_TRUE(scheduler_.MayCommit({1, 1}));
  second.drained = true;
  Report("w-1", 2, {first, second});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kSucceeded);
  EXPECT_FALSE(scheduler_.MayCommit({1, 1}));
  Obey("w-1");
  EXPECT_THAT(desired_["w-1"], IsEmpty());
}

TEST_F(SchedulerTest, SaysWhyAJobSucceededWithStepsLeft) {
  Submit(1, 1);
  Join("w-1", 1);
  Report("w-1", 1, {Exited(1, 1, 0, ExitKind::kSuccess, "ended early after step 9 of 24", 9)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kSucceeded);
  EXPECT_EQ(ReasonOf(1), "ended early after step 9 of 24");
  Submit(2, 1);
  Obey("w-1");
  Report("w-1", 1, {Exited(2, 1, 0, ExitKind::kSuccess, "", 24)});
  EXPECT_EQ(scheduler_.View(2).state, JobState::kSucceeded);
  EXPECT_EQ(ReasonOf(2), "");
}

TEST_F(SchedulerTest, PlacesOnlyOnWorkersThatHaveObeyedAnAnswer) {
  Submit(1, 1);
  Report("w-1", 1);
  EXPECT_THAT(decisions_, IsEmpty());
  EXPECT_THAT(scheduler_.TakeChanged(), ElementsAre("w-1"));
  Obey("w-1");
  Report("w-1", 1);
  EXPECT_EQ(decisions_.size(), 1U);
}

TEST_F(SchedulerTest, SaysPreciselyWhyAJobWaits) {
  Join("w-1", 1);
  Join("w-2", 1);
  Join("x-1", 1, "avx512");
  Submit(1, 4);
  EXPECT_EQ(ReasonOf(1), "needs 4 slots of one numerics class; 2 workers hold 2");
  Submit(2, 1);  // Not held up by a job that cannot run here.
  EXPECT_EQ(scheduler_.View(2).state, JobState::kStarting);
  Submit(3, 2);
  EXPECT_EQ(ReasonOf(3), "waits for 2 slots, free and ready");
  Submit(4, 2);
  EXPECT_EQ(ReasonOf(4), "waits for job 3 ahead of it");
  Submit(5, 1);  // Job 3 could not use the other class, so it keeps nobody from it.
  EXPECT_EQ(scheduler_.View(5).numerics_class, "avx512");
  Submit(6, 1);  // A free slot of job 3's class is not for it.
  EXPECT_EQ(ReasonOf(6), "waits for 1 slot, free and ready");
}

TEST_F(SchedulerTest, KeepsSlotsTakenUntilTheirRanksAreReleased) {
  Join("w-1", 1);
  Submit(1, 1);
  Submit(2, 1);
  Obey("w-1");
  Report("w-1", 1, {Running(1, 1, 0)});
  scheduler_.Cancel(1, "cancelled by ada", now_);
  EXPECT_FALSE(scheduler_.MayCommit({1, 1}));
  Tick();
  EXPECT_EQ(ReasonOf(1), "cancelled by ada; waits for the release of its ranks on w-1");
  Report("w-1", 1, {});  // Sent before it obeyed: says nothing about what it may still start.
  EXPECT_EQ(scheduler_.View(2).state, JobState::kQueued);
  Obey("w-1");
  Report("w-1", 1, {Exited(1, 1, 0, ExitKind::kInfrastructure, "", 3, /*gone=*/false)});
  EXPECT_EQ(scheduler_.View(2).state, JobState::kQueued);
  Report("w-1", 1, {});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kCancelled);
  EXPECT_EQ(ReasonOf(1), "cancelled by ada");
  EXPECT_EQ(scheduler_.View(2).state, JobState::kStarting);
}

TEST_F(SchedulerTest, ReplacesAnAttemptWhoseWorkerIsLostAndEndsItWhenThatComesBack) {
  Join("w-1", 1);
  Submit(1, 1);
  Obey("w-1");
  Report("w-1", 1, {Running(1, 1, 0)});
  now_ = 3'100;
  Join("w-2", 1);
  EXPECT_FALSE(scheduler_.MayCommit({1, 1}));
  EXPECT_TRUE(scheduler_.MayCommit({1, 2}));
  EXPECT_EQ(decisions_.at(1).reason,
            "rank 0 on w-1 was lost: worker w-1 has been silent for 3100 ms");
  Submit(2, 1);
  Report("w-1", 1, {Running(1, 1, 0)});
  Obey("w-1");
  EXPECT_THAT(desired_["w-1"], IsEmpty());
  EXPECT_EQ(scheduler_.Workers().at(0).slots_used, 1U);
  Report("w-1", 1, {});
  EXPECT_EQ(scheduler_.View(2).ranks.at(0).worker, "w-1");
  EXPECT_EQ(scheduler_.View(1).attempt, 2U);
}

// Its reports lie unread while the coordinator stands still: that silence is not the worker's.
TEST_F(SchedulerTest, AWorkerIsNotLostToAPauseOfTheCoordinator) {
  Join("w-1", 1);
  Submit(1, 1);
  Obey("w-1");
  Report("w-1", 1, {Running(1, 1, 0)});
  now_ += 60'000;
  scheduler_.OnPause(60'000);
  Tick();
  EXPECT_TRUE(scheduler_.MayCommit({1, 1}));
  EXPECT_FALSE(scheduler_.Workers().at(0).lost);
  now_ += 3'100;  // Silence of its own, from here on.
  Tick();
  EXPECT_FALSE(scheduler_.MayCommit({1, 1}));
  EXPECT_TRUE(scheduler_.Workers().at(0).lost);
}

TEST_F(SchedulerTest, EndsAJobThatFailsTwiceAtTheSameStepForTheSameReason) {
  Join("w-1", 1);
  Submit(1, 1);
  for (std::uint32_t attempt = 1; attempt <= 2; ++attempt) {
    Obey("w-1");
    scheduler_.OnCheckpoint({1, attempt}, 5);
    Report("w-1", 1, {Exited(1, attempt, 0, ExitKind::kOwnFailure, "loss is NaN", 7)});
  }
  EXPECT_EQ(scheduler_.View(1).state, JobState::kFailed);
  EXPECT_FALSE(scheduler_.View(1).infrastructure);
  EXPECT_EQ(ReasonOf(1), "rank 0 on w-1 failed after step 7: loss is NaN (twice the same)");
}

TEST_F(SchedulerTest, CountsOwnFailuresFromTheLastCheckpoint) {
  Join("w-1", 1);
  Submit(1, 1);
  for (std::uint32_t attempt = 1; attempt <= 5; ++attempt) {
    EXPECT_EQ(scheduler_.View(1).attempt, attempt);
    Obey("w-1");
    if (attempt == 3) scheduler_.OnCheckpoint({1, attempt}, 5);
    const std::string reason = "reason " + std::to_string(attempt);
    Report("w-1", 1, {Exited(1, attempt, 0, ExitKind::kOwnFailure, reason, attempt)});
  }
  EXPECT_EQ(scheduler_.View(1).state, JobState::kFailed);
  EXPECT_THAT(ReasonOf(1), HasSubstr("failed 3 times without a checkpoint between; the last: "));
}

TEST_F(SchedulerTest, RetriesLossesWithBackoffAndCountsNone) {
  Join("w-1", 1);
  Submit(1, 1);
  for (const Millis wait_ms : {0, 500, 1'000, 2'000}) {
    const std::uint32_t attempt = scheduler_.View(1).attempt;
    Obey("w-1");
    Report("w-1", 1, {Exited(1, attempt, 0, ExitKind::kInfrastructure, "killed by signal 9", 7)});
    if (wait_ms > 0) {
      now_ += wait_ms - 1;
      Tick();
      EXPECT_EQ(scheduler_.View(1).attempt, attempt);
      EXPECT_EQ(ReasonOf(1), "retries in 1 s after: rank 0 on w-1 was lost: killed by signal 9");
      ++now_;
      Tick();
    }
    EXPECT_EQ(scheduler_.View(1).attempt, attempt + 1);
  }
  EXPECT_EQ(scheduler_.View(1).failures, 0U);
}

TEST_F(SchedulerTest, BlamesARankThatFailedByItselfEvenWhenItsPeerIsHeardFirst) {
  Join("w-1", 1);
  Join("w-2", 1);
  Submit(1, 2);
  Obey("w-1");
  Obey("w-2");
  Report("w-1", 1, {Exited(1, 1, 0, ExitKind::kInfrastructure, "lost its peer 1", 6)});
  EXPECT_EQ(decisions_.back().retries, 1U);
  Report("w-2", 1, {Exited(1, 1, 1, ExitKind::kOwnFailure, "loss is NaN", 6)});
  const Decision& replaced = decisions_.at(decisions_.size() - 2);
  EXPECT_EQ(replaced.kind, Decision::Kind::kAttemptEnded);
  EXPECT_EQ(replaced.reason, "rank 1 on w-2 failed after step 6: loss is NaN");
  EXPECT_EQ(replaced.failures, 1U);
  EXPECT_EQ(replaced.retries, 0U);
  EXPECT_EQ(scheduler_.View(1).attempt, 2U);
}

TEST_F(SchedulerTest, FailsAJobWhoseAttemptsAreAlwaysLost) {
  scheduler_ = Scheduler({.retries_max = 1}, 0);
  Join("w-1", 1);
  Submit(1, 1);
  for (std::uint32_t attempt = 1; attempt <= 2; ++attempt) {
    Obey("w-1");
    Report("w-1", 1, {Exited(1, attempt, 0, ExitKind::kInfrastructure, "killed", 7)});
  }
  EXPECT_EQ(scheduler_.View(1).state, JobState::kFailed);
  EXPECT_TRUE(decisions_.back().infrastructure);
}

TEST_F(SchedulerTest, TakesAnAttemptUpAgainAfterARestart) {
  scheduler_ = Scheduler({.epoch = 2}, 0);
  RestoredJob job;
  job.request = {1, 1, 3};
  job.state = JobState::kRunning;
  job.attempt = 4;
  job.attempt_live = true;
  job.placement = {"w-1"};
  job.numerics_class = "avx2";
  scheduler_.Restore(job, 0);
  scheduler_.RestoreWorker("w-1", 1, 0);
  EXPECT_EQ(scheduler_.LargestGang(), 1U);
  obeyed_["w-1"] = {1, 900};
  Report("w-1", 1, {Running(1, 4, 0)});
  Obey("w-1");
  EXPECT_GT(obeyed_["w-1"], (AnswerNumber{1, 900}));
  EXPECT_THAT(desired_["w-1"], ElementsAre(RankId{{1, 4}, 0}));
  EXPECT_TRUE(scheduler_.MayCommit({1, 4}));
  EXPECT_THAT(decisions_, IsEmpty());
}

TEST_F(SchedulerTest, KnowsAfterARestartThatAFreshAgentHasLostItsRanks) {
  scheduler_ = Scheduler({.epoch = 2}, 0);
  RestoredJob job;
  job.request = {1, 1, 3};
  job.attempt = 1;
  job.attempt_live = true;
  job.placement = {"w-1"};
  job.numerics_class = "avx2";
  scheduler_.Restore(job, 0);
  Report("w-1", 1);  // Has obeyed nothing yet.
  ASSERT_EQ(decisions_.size(), 1U);
  EXPECT_THAT(decisions_[0].reason, HasSubstr("the agent of worker w-1 was restarted"));
  Obey("w-1");
  Report("w-1", 1);
  EXPECT_EQ(scheduler_.View(1).attempt, 2U);
}

TEST_F(SchedulerTest, EndsAtOnceWhatANewIncarnationCannotHave) {
  Join("w-1", 1);
  Submit(1, 1);
  Obey("w-1");
  EXPECT_FALSE(scheduler_.MayRegister("w-1", "second-w-1", now_));
  scheduler_.OnDisconnect("w-1", "first-w-1");
  EXPECT_TRUE(scheduler_.MayRegister("w-1", "second-w-1", now_));
  incarnation_ = "second-";
  obeyed_["w-1"] = {};
  Report("w-1", 1);
  EXPECT_FALSE(scheduler_.MayCommit({1, 1}));
  incarnation_ = "first-";  // A late word of the old one changes nothing.
  Report("w-1", 1, {Running(1, 1, 0)});
  EXPECT_EQ(scheduler_.Workers().at(0).slots_used, 0U);
}

// Journaled when the last rank says so: a loss of its worker or of the coordinator comes too late.
TEST_F(SchedulerTest, NeverTakesACompleteSuccessBack) {
  Join("w-1", 1);
  Submit(1, 1);
  Obey("w-1");
  Report("w-1", 1, {Exited(1, 1, 0, ExitKind::kSuccess, "", 9, /*gone=*/false)});
  EXPECT_EQ(decisions_.back().kind, Decision::Kind::kAttemptEnded);
  EXPECT_EQ(decisions_.back().exit, ExitKind::kSuccess);
  EXPECT_TRUE(scheduler_.MayCommit({1, 1}));  // Its last metrics.
  scheduler_ = Scheduler({.epoch = 2}, now_);
  RestoredJob restored;
  restored.request = {1, 1, 3};
  restored.state = JobState::kRunning;
  restored.attempt = 1;
  restored.placement = {"w-1"};
  restored.numerics_class = "avx2";
  restored.succeeded = true;
  scheduler_.Restore(restored, now_);
  EXPECT_TRUE(scheduler_.MayCommit({1, 1}));
  now_ = 3'100;
  Tick();
  EXPECT_EQ(scheduler_.View(1).state, JobState::kSucceeded);
}

TEST_F(SchedulerTest, KeepsAJobToTheNumericsClassInWhichItBegan) {
  Join("w-1", 1);
  Submit(1, 1);
  Obey("w-1");
  now_ = 4'000;
  Join("x-1", 2, "avx512");
  EXPECT_THAT(ReasonOf(1), HasSubstr("needs 1 slot of numerics class avx2, in which it began; no "
                                     "worker here is of it (first other: avx512)"));
  EXPECT_THAT(ReasonOf(1), HasSubstr("muster resume 1 --allow-new-numerics"));
}

TEST_F(SchedulerTest, MovesAJobToANewNumericsClassOnlyWhenItIsAllowedTo) {
  Join("w-1", 1);
  Submit(1, 1);
  EXPECT_FALSE(scheduler_.AllowNewNumerics(1));  // It runs.
  EXPECT_FALSE(scheduler_.AllowNewNumerics(7));
  Obey("w-1");
  now_ = 4'000;
  Join("x-1", 2, "avx512");
  EXPECT_TRUE(scheduler_.AllowNewNumerics(1));
  Tick();
  EXPECT_EQ(scheduler_.View(1).numerics_class, "avx512");
  EXPECT_EQ(scheduler_.View(1).attempt, 2U);
  EXPECT_EQ(decisions_.back().numerics_class, "avx512");
}

TEST_F(SchedulerTest, PlacesRanksOnlyInSlotsThatAreLargeEnough) {
  memory_mib_["small"] = 512;
  memory_mib_["large"] = 4'096;
  Join("small", 4);
  Join("large", 2);
  EXPECT_EQ(scheduler_.LargestGang(), 6U);
  EXPECT_EQ(scheduler_.LargestGang(512), 6U);
  EXPECT_EQ(scheduler_.LargestGang(513), 2U);
  scheduler_.Submit({1, 2, 3, 1'024});
  Tick();
  EXPECT_THAT(decisions_.back().placement, ElementsAre("large", "large"));
  scheduler_.Submit({2, 3, 3, 1'024});
  Tick();
  EXPECT_EQ(ReasonOf(2), "needs 3 slots of 1024 MiB of one numerics class; 2 workers hold 2");
  scheduler_.Submit({3, 3, 3, 512});  // A job that cannot run here keeps nobody.
  Tick();
  EXPECT_THAT(decisions_.back().placement, ElementsAre("small", "small", "small"));
}

TEST_F(SchedulerTest, EndsAQueuedJobThatIsCancelledAtTheNextTick) {
  Submit(1, 1);
  scheduler_.Cancel(1, "cancelled by ada", now_);
  Tick();
  EXPECT_EQ(scheduler_.View(1).state, JobState::kCancelled);
  scheduler_.Cancel(1, "again", now_);
  Tick();
  EXPECT_EQ(decisions_.size(), 1U);
}

TEST_F(SchedulerTest, HoldsBackOneOwnersJobsByTheirLimitAndNobodyElses) {
  scheduler_.SetLimits("ada", {.running = 2});
  Join("w-1", 4);
  for (JobId id = 1; id <= 3; ++id) scheduler_.Submit({id, 1, 3, 0, "ada"});
  scheduler_.Submit({4, 1, 3, 0, "bob"});
  Tick();
  EXPECT_EQ(ReasonOf(3), "waits: ada already has 2 running jobs, and the limit is 2");
  EXPECT_EQ(scheduler_.View(4).attempt, 1U) << "bob's is behind ada's and starts";
  Obey("w-1");
  scheduler_.Cancel(1, "cancelled by ada", now_);
  Tick();
  EXPECT_EQ(scheduler_.View(3).attempt, 0U) << "job 1 still has its slot";
  Obey("w-1");
  Report("w-1", 4, {Running(2, 1, 0), Running(4, 1, 0)});
  EXPECT_EQ(scheduler_.View(3).attempt, 1U);
}

TEST_F(SchedulerTest, CountsTheSlotsOfAllJobsOfAnOwnerInTheirOrder) {
  scheduler_.SetLimits("ada", {.slots = 3});
  Join("w-1", 8);
  scheduler_.Submit({1, 2, 3, 0, "ada"});
  scheduler_.Submit({2, 2, 3, 0, "ada"});
  scheduler_.Submit({3, 1, 3, 0, "ada"});
  Tick();
  EXPECT_EQ(ReasonOf(2), "waits: it needs 2 slots, ada already has 2, and the limit is 3");
  EXPECT_EQ(ReasonOf(3), "waits for job 2 ahead of it") << "else small ones might starve it";
  scheduler_.SetLimits("ada", {.slots = 1});
  Tick();
  EXPECT_EQ(ReasonOf(3), "waits: it needs 1 slot, ada already has 2, and the limit is 1");
  scheduler_.SetLimits("ada", {.slots = 3});
  scheduler_.Cancel(2, "cancelled by ada", now_);
  Tick();
  EXPECT_EQ(scheduler_.View(3).attempt, 1U);
}

TEST_F(SchedulerTest, StartsNothingOfADisabledOwnerAndLetsRunWhatRuns) {
  Join("w-1", 2);
  scheduler_.Submit({1, 1, 3, 0, "ada"});
  Tick();
  scheduler_.SetLimits("ada", {.disabled = true});
  scheduler_.Submit({2, 1, 3, 0, "ada"});
  Obey("w-1");
  Report("w-1", 2, {Running(1, 1, 0)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kRunning);
  EXPECT_EQ(ReasonOf(2), "waits: its owner ada is disabled");
  scheduler_.SetLimits("ada", {});
  Tick();
  EXPECT_EQ(scheduler_.View(2).attempt, 1U);
}

// A restored attempt counts before its worker has said a word.
TEST_F(SchedulerTest, CountsRestoredAttemptsAgainstTheLimit) {
  scheduler_.SetLimits("ada", {.running = 1});
  RestoredJob running;
  running.request = {1, 1, 3, 0, "ada"};
  running.state = JobState::kRunning;
  running.attempt = 1;
  running.attempt_live = true;
  running.placement = {"w-1"};
  scheduler_.Restore(running, now_);
  scheduler_.Submit({2, 1, 3, 0, "ada"});
  Join("w-2", 2);
  EXPECT_EQ(scheduler_.View(2).attempt, 0U);
  EXPECT_EQ(ReasonOf(2), "waits: ada already has 1 running job, and the limit is 1");
}

TEST_F(SchedulerTest, RefusesAnIdTwiceAndAnEmptyGang) {
  Submit(1, 1);
  EXPECT_THROW(scheduler_.Submit({1, 1, 3}), ContractViolation);
  EXPECT_THROW(scheduler_.Submit({2, 0, 3}), ContractViolation);
}

}  // namespace
}  // namespace muster
