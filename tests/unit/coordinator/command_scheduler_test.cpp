// What the scheduler does for jobs whose effects cannot be fenced, and for those with a time limit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/scheduler/scheduler.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// One coordinator and its workers, stepped by hand; times are small.
class CommandSchedulerTest : public testing::Test {
 protected:
  static SchedulerOptions Options() {
    SchedulerOptions options;
    options.orphan_timeout_ms = 60'000;
    options.orphan_margin_ms = 10'000;
    return options;
  }
  void Report(const WorkerName& worker, std::vector<RankReport> ranks = {}) {
    scheduler_.OnReport(
        {worker, incarnation_[worker], 1, "avx2", obeyed_[worker], std::move(ranks), 0}, now_);
    Tick();
  }
  void Tick() {
    scheduler_.Tick(now_);
    for (Decision& decision : scheduler_.TakeDecisions()) decisions_.push_back(std::move(decision));
  }
  Answer Obey(const WorkerName& worker) {
    Answer answer = scheduler_.AnswerFor(worker);
    obeyed_[worker] = answer.number;
    return answer;
  }
  void Join(const WorkerName& worker, const std::string& incarnation) {
    incarnation_[worker] = incarnation;
    obeyed_[worker] = {};
    Report(worker);
    Obey(worker);
    Report(worker);
  }
  void Submit(const JobRequest& request) {
    scheduler_.Submit(request);
    Tick();
  }
  static JobRequest Unfenced() {
    JobRequest request;
    request.id = 1;
    request.fenced = false;
    return request;
  }
  static RankReport Rank(std::uint32_t attempt, RankPhase phase) {
    RankReport report;
    report.id = {{1, attempt}, 0};
    report.phase = phase;
    return report;
  }
  static RankReport Exited(std::uint32_t attempt, ExitKind kind, bool gone = true) {
    RankReport report = Rank(attempt, RankPhase::kExited);
    report.exit = kind;
    report.exit_reason = kind == ExitKind::kSuccess ? "" : "`sh` exited with code 3";
    if (kind == ExitKind::kOwnFailure) report.exit_code = 3;
    report.released = report.drained = gone;
    return report;
  }
  // Runs attempt 1 of the unfenced job 1 on worker a; b is free.
  void RunOnA() {
    Join("a", "a#1");
    Submit(Unfenced());
    Obey("a");
    Report("a", {Rank(1, RankPhase::kRunning)});
    Join("b", "b#1");
    ASSERT_EQ(scheduler_.View(1).state, JobState::kRunning);
  }
  // Time goes by; b stays in touch, a does not.
  void LetPass(Millis time_ms) {
    for (const Millis end = now_ + time_ms; now_ < end;) {
      now_ = std::min(now_ + 500, end);
      Report("b");
      Obey("b");
    }
  }
  std::uint32_t attempt() const { return scheduler_.View(1).attempt; }

  Millis now_ = 0;
  Scheduler scheduler_{Options(), 0};
  std::map<WorkerName, std::string> incarnation_;
  std::map<WorkerName, AnswerNumber> obeyed_;
  std::vector<Decision> decisions_;
};

TEST_F(CommandSchedulerTest, ALostWorkersCommandWaitsForItsRanksToEndThemselves) {
  RunOnA();
  LetPass(10'000);
  EXPECT_EQ(scheduler_.View(1).state, JobState::kQueued);
  EXPECT_THAT(scheduler_.View(1).reason,
              HasSubstr("waits for proof that its ranks on a have ended, 60 s at most"));
  LetPass(59'500);  // a was last heard of at 0.
  EXPECT_EQ(attempt(), 1U);
  LetPass(1'000);
  EXPECT_EQ(attempt(), 2U);
  EXPECT_THAT(decisions_.back().placement, ElementsAre("b"));
}

TEST_F(CommandSchedulerTest, AProgramThatExitedWellIsNotRunAgainWhateverCouldNotBeKept) {
  Join("a", "a#1");
  JobRequest request = Unfenced();
  request.failures_max = 5;
  Submit(request);
  Obey("a");
  RankReport report = Exited(1, ExitKind::kOwnFailure);
  report.exit_code = 0;
  report.exit_reason = "MUSTER_CHECKPOINT_DIR holds a folder";
  Report("a", {report});
  Obey("a");
  Report("a", {report});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kFailed);
  EXPECT_EQ(attempt(), 1U);
  EXPECT_THAT(scheduler_.View(1).reason, HasSubstr("it is not run again, since it exited with"));
}

TEST_F(CommandSchedulerTest, GoesOnInAnotherNumericsClass) {
  for (const bool fenced : {false, true}) {
    SCOPED_TRACE(fenced);
    JobRequest request = Unfenced();
    request.fenced = fenced;
    scheduling::Job job;
    job.request = request;
    job.numerics_class = "avx2";
    EXPECT_TRUE(job.MayRunIn("avx2"));
    EXPECT_EQ(job.MayRunIn("avx512"), !fenced);
  }
}

TEST_F(CommandSchedulerTest, ACancelledCommandOutOfReachSaysHowLongItMayRun) {
  RunOnA();
  LetPass(10'000);
  scheduler_.Cancel(1, "cancelled by ada", now_);
  Tick();
  EXPECT_EQ(scheduler_.View(1).state, JobState::kCancelled);
  EXPECT_EQ(scheduler_.View(1).reason,
            "cancelled by ada; no word from a, where its ranks may run on for 60 s");
  EXPECT_EQ(decisions_.back().reason, scheduler_.View(1).reason);
}

TEST_F(CommandSchedulerTest, AnEndThatALivingAgentReportsIsProof) {
  RunOnA();
  Report("a", {Exited(1, ExitKind::kInfrastructure)});
  EXPECT_EQ(attempt(), 2U);
}

TEST_F(CommandSchedulerTest, TheNextAgentProvesTheEndByObeyingAnAnswer) {
  RunOnA();
  LetPass(10'000);
  incarnation_["a"] = "a#2";
  obeyed_["a"] = {};
  Report("a");
  // It may be the late word of an agent before the one that ran the rank.
  EXPECT_EQ(attempt(), 1U);
  Obey("a");
  Report("a");
  EXPECT_EQ(attempt(), 2U);
}

TEST_F(CommandSchedulerTest, AReturningAgentsRankIsProvenGoneOnlyByItsRelease) {
  RunOnA();
  LetPass(50'000);
  Report("a", {Rank(1, RankPhase::kRunning)});  // It never went away, and is heard again.
  Obey("a");
  Report("a", {Exited(1, ExitKind::kInfrastructure, /*gone=*/false)});
  LetPass(65'000);  // Lost once more: what counts is when it was heard of last.
  EXPECT_EQ(attempt(), 1U);
  Report("a", {Exited(1, ExitKind::kInfrastructure)});
  EXPECT_EQ(attempt(), 2U);
}

TEST_F(CommandSchedulerTest, ACancelledCommandNeedsNoProof) {
  RunOnA();
  LetPass(10'000);
  scheduler_.Cancel(1, "cancelled by ann", now_);
  Tick();
  EXPECT_EQ(scheduler_.View(1).state, JobState::kCancelled);
}

TEST_F(CommandSchedulerTest, ARestartedCoordinatorWaitsAsWell) {
  RestoredJob job;
  job.request = Unfenced();
  job.attempt = 1;
  job.attempt_live = true;
  job.placement = {"a"};
  scheduler_.Restore(job, now_);
  Join("b", "b#1");
  LetPass(60'000);
  EXPECT_EQ(attempt(), 1U);
  LetPass(11'000);
  EXPECT_EQ(attempt(), 2U);
}

TEST_F(CommandSchedulerTest, FailingTwiceAlikeIsNoReasonToGiveUpACommand) {
  Join("a", "a#1");
  Submit(Unfenced());
  for (std::uint32_t number = 1; number <= 3; ++number) {
    EXPECT_EQ(attempt(), number);
    Obey("a");
    Report("a", {Exited(number, ExitKind::kOwnFailure)});
    Obey("a");
    Report("a");
  }
  EXPECT_EQ(scheduler_.View(1).state, JobState::kFailed);
  EXPECT_EQ(scheduler_.View(1).reason,
            "failed 3 times without a checkpoint between; the last: rank 0 on a failed: `sh` "
            "exited with code 3");
  EXPECT_EQ(decisions_[decisions_.size() - 2].exit_code, 3);
}

class TimeLimitTest : public CommandSchedulerTest {
 protected:
  void Run(Millis limit_ms, Millis warning_ms) {
    JobRequest request = Unfenced();
    request.time_limit_ms = limit_ms;
    request.warning_ms = warning_ms;
    Join("a", "a#1");
    Submit(request);
    Obey("a");
    Report("a", {Rank(1, RankPhase::kRunning)});
  }
  // `report` says what the rank of the attempt does meanwhile.
  void Stay(Millis time_ms, const RankReport& report) {
    for (const Millis end = now_ + time_ms; now_ < end;) {
      now_ = std::min(now_ + 500, end);
      Report("a", {report});
    }
  }
};

TEST_F(TimeLimitTest, WarnsAndThenEndsTheJobByItsOwnFault) {
  Run(10'000, 4'000);
  Stay(5'500, Rank(1, RankPhase::kRunning));
  EXPECT_THAT(Obey("a").stopping, IsEmpty());
  Stay(500, Rank(1, RankPhase::kRunning));
  EXPECT_THAT(scheduler_.TakeChanged(), testing::Contains("a"));
  EXPECT_THAT(Obey("a").stopping, ElementsAre(AttemptId{1, 1}));
  Stay(3'500, Rank(1, RankPhase::kRunning));
  EXPECT_EQ(scheduler_.View(1).state, JobState::kRunning);
  EXPECT_TRUE(scheduler_.MayCommit({1, 1}));
  Stay(500, Rank(1, RankPhase::kRunning));
  EXPECT_FALSE(scheduler_.MayCommit({1, 1}));
  EXPECT_THAT(Obey("a").desired, IsEmpty());
  Report("a");
  EXPECT_EQ(scheduler_.View(1).state, JobState::kFailed);
  EXPECT_EQ(scheduler_.View(1).reason, "time limit of 10 s reached");
  EXPECT_FALSE(scheduler_.View(1).infrastructure);
}

TEST_F(TimeLimitTest, EndsAtOnceWhenAllRanksHaveStopped) {
  Run(10'000, 4'000);
  Stay(6'000, Rank(1, RankPhase::kRunning));
  Obey("a");
  Report("a", {Exited(1, ExitKind::kStopped)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kFailed);
  EXPECT_EQ(scheduler_.View(1).reason, "time limit of 10 s reached");
}

TEST_F(TimeLimitTest, SuccessAfterTheWarningIsSuccess) {
  Run(10'000, 4'000);
  Stay(7'000, Rank(1, RankPhase::kRunning));
  Report("a", {Exited(1, ExitKind::kSuccess)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kSucceeded);
}

TEST_F(TimeLimitTest, AFailureAfterTheWarningIsNotTriedAgain) {
  Run(10'000, 4'000);
  Stay(7'000, Rank(1, RankPhase::kRunning));
  Report("a", {Exited(1, ExitKind::kOwnFailure)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kFailed);
  EXPECT_THAT(scheduler_.View(1).reason, HasSubstr("after the warning of the time limit of 10 s"));
}

TEST_F(TimeLimitTest, CountsAllAttemptsButNoWaiting) {
  Run(10'000, 0);
  Stay(6'000, Rank(1, RankPhase::kRunning));
  Report("a", {Exited(1, ExitKind::kInfrastructure)});
  EXPECT_EQ(attempt(), 2U);
  // Nobody is there for a while: the second attempt has been placed and runs on.
  Obey("a");
  Stay(3'500, Rank(2, RankPhase::kRunning));
  EXPECT_EQ(scheduler_.View(1).state, JobState::kRunning);
  Stay(500, Rank(2, RankPhase::kRunning));
  Obey("a");
  Report("a");
  EXPECT_EQ(scheduler_.View(1).reason, "time limit of 10 s reached");
}

TEST_F(TimeLimitTest, ARestartedCoordinatorKnowsWhatWasUsed) {
  RestoredJob job;
  job.request = Unfenced();
  job.request.time_limit_ms = 10'000;
  job.attempt = 1;
  job.attempt_live = true;
  job.placement = {"a"};
  job.used_ms = 9'000;
  scheduler_.Restore(job, now_);
  incarnation_["a"] = "a#1";
  obeyed_["a"] = {0, 7};
  Report("a", {Rank(1, RankPhase::kRunning)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kRunning);
  Stay(1'000, Rank(1, RankPhase::kRunning));
  Obey("a");
  Report("a");
  EXPECT_EQ(scheduler_.View(1).reason, "time limit of 10 s reached");
}

}  // namespace
}  // namespace muster
