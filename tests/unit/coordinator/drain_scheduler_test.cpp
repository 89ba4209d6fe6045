// What the scheduler does when a worker is taken out of service, or its agent is asked to end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/scheduler/scheduler.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Two workers of one slot, stepped by hand. Job 1 runs on a.
class DrainTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* worker : {"a", "b"}) {
      Report(worker);
      Obey(worker);
      Report(worker);
    }
  }
  void Report(const WorkerName& worker, std::vector<RankReport> ranks = {}, bool leaving = false) {
    WorkerReport report{worker, worker + "#1", 1, "avx2", obeyed_[worker], std::move(ranks), 0};
    report.leaving = leaving;
    scheduler_.OnReport(report, now_);
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
  static RankReport Rank(std::uint32_t attempt, RankPhase phase, ExitKind exit = {}) {
    RankReport report;
    report.id = {{1, attempt}, 0};
    report.phase = phase;
    report.exit = exit;
    report.released = report.drained = phase == RankPhase::kExited;
    return report;
  }
  void RunOnA(bool fenced = true) {
    JobRequest request;
    request.id = 1;
    request.fenced = fenced;
    scheduler_.Submit(request);
    Tick();
    Obey("a");
    Report("a", {Rank(1, RankPhase::kRunning)});
    ASSERT_EQ(scheduler_.View(1).state, JobState::kRunning);
    ASSERT_EQ(scheduler_.View(1).ranks[0].worker, "a");
  }
  void Drain(const WorkerName& worker, Millis deadline_ms = 0) {
    scheduler_.SetDrain(worker, {"drained by ops: new kernel", deadline_ms}, now_);
    Tick();
  }

  Millis now_ = 0;
  Scheduler scheduler_{SchedulerOptions(), 0};
  std::map<WorkerName, AnswerNumber> obeyed_;
  std::vector<Decision> decisions_;
};

TEST_F(DrainTest, ARecipeStopsWithACheckpointAndGoesOnElsewhere) {
  RunOnA();
  Drain("a");
  EXPECT_THAT(scheduler_.TakeChanged(), testing::Contains("a"));
  EXPECT_THAT(Obey("a").stopping, ElementsAre(AttemptId{1, 1}));
  EXPECT_TRUE(scheduler_.MayCommit({1, 1})) << "for its checkpoint";
  Report("a", {Rank(1, RankPhase::kExited, ExitKind::kStopped)});
  Obey("a");
  Report("a");
  Tick();
  const JobView view = scheduler_.View(1);
  EXPECT_EQ(view.attempt, 2U);
  EXPECT_EQ(view.ranks[0].worker, "b");
  EXPECT_EQ(view.failures, 0U);
  const auto ended = std::find_if(decisions_.begin(), decisions_.end(), [](const Decision& one) {
    return one.kind == Decision::Kind::kAttemptEnded;
  });
  EXPECT_EQ(ended->exit, ExitKind::kStopped);
  EXPECT_EQ(ended->reason, "moved: worker a is drained by ops: new kernel");
  EXPECT_EQ(ended->retries, 0U);
}

TEST_F(DrainTest, NothingStartsThereUntilItIsTakenBack) {
  Drain("a");
  Drain("b");
  JobRequest request;
  request.id = 1;
  scheduler_.Submit(request);
  Tick();
  EXPECT_EQ(scheduler_.View(1).attempt, 0U);
  EXPECT_EQ(scheduler_.View(1).reason, "waits for workers: 2 known workers, 2 drained");
  EXPECT_EQ(scheduler_.LargestGang(), 2U) << "jobs for it are admitted";
  EXPECT_TRUE(scheduler_.EndDrain("b"));
  EXPECT_FALSE(scheduler_.EndDrain("b"));
  Tick();
  EXPECT_EQ(scheduler_.View(1).ranks[0].worker, "b");
}

TEST_F(DrainTest, AProgramRunsOnUntilTheDeadline) {
  RunOnA(/*fenced=*/false);
  Drain("a", 2'000);
  EXPECT_THAT(Obey("a").stopping, IsEmpty());
  now_ = 1'900;
  Report("a", {Rank(1, RankPhase::kRunning)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kRunning);
  now_ = 2'000;
  Report("a", {Rank(1, RankPhase::kRunning)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kQueued);
  EXPECT_THAT(scheduler_.View(1).reason, HasSubstr("it had not stopped in time"));
  EXPECT_THAT(Obey("a").desired, IsEmpty());
  Report("b");
  EXPECT_EQ(scheduler_.View(1).attempt, 1U) << "waits for the release of the first";
  Report("a");
  EXPECT_EQ(scheduler_.View(1).ranks[0].worker, "b");
}

// A deadline that has run out before anybody could be asked, as while the coordinator was away.
TEST_F(DrainTest, ARecipeHasTheTimeOfAnOrderlyStopWhateverTheDeadline) {
  for (const Millis save_ms : {Millis{0}, Millis{3'000}}) {
    SCOPED_TRACE(save_ms);
    now_ = 10'000;
    scheduler_ = Scheduler({}, now_);
    obeyed_.clear();
    Report("a");
    Obey("a");
    Report("a");
    RunOnA();
    RankReport running = Rank(1, RankPhase::kRunning);
    running.save_ms = save_ms;
    Report("a", {running});
    Drain("a", 9'000);
    EXPECT_THAT(Obey("a").stopping, ElementsAre(AttemptId{1, 1}));
    const Millis lead_ms = std::max<Millis>(2'000, 2 * save_ms);
    now_ = 10'000 + lead_ms - 100;
    Report("a", {running});
    EXPECT_EQ(scheduler_.View(1).state, JobState::kRunning);
    now_ += 100;
    Report("a", {running});
    EXPECT_THAT(scheduler_.View(1).reason, HasSubstr("it had not stopped in time"));
  }
}

TEST_F(DrainTest, WhatEndsAfterTheQuestionEndsAsItDoes) {
  RunOnA();
  Drain("a");
  Obey("a");
  Report("a", {Rank(1, RankPhase::kExited, ExitKind::kSuccess)});
  EXPECT_EQ(scheduler_.View(1).state, JobState::kSucceeded);
}

TEST_F(DrainTest, AnAgentThatLeavesIsAskedLikewise) {
  RunOnA();
  Report("a", {Rank(1, RankPhase::kRunning)}, /*leaving=*/true);
  EXPECT_THAT(Obey("a").stopping, ElementsAre(AttemptId{1, 1}));
  Report("a", {Rank(1, RankPhase::kExited, ExitKind::kStopped)}, true);
  Obey("a");
  Report("a", {}, true);
  Tick();
  EXPECT_EQ(scheduler_.View(1).ranks[0].worker, "b");
  EXPECT_TRUE(scheduler_.Workers()[0].leaving);
}

TEST_F(DrainTest, ADrainOutlivesTheWorker) {
  Drain("a");
  now_ = 10'000;
  Report("b");
  scheduler_.OnReport({"a", "a#2", 1, "avx2", {}, {}, 0}, now_);
  Tick();
  ASSERT_TRUE(scheduler_.Workers()[0].drain.has_value());
  EXPECT_EQ(scheduler_.Workers()[0].drain->reason, "drained by ops: new kernel");
}

// A step of 3 s and a checkpoint of 2 s: asked 7 s before the end, though the warning is of 1 s.
TEST_F(DrainTest, TheWarningOfATimeLimitLeavesTimeForACheckpoint) {
  JobRequest request;
  request.id = 1;
  request.time_limit_ms = 20'000;
  request.warning_ms = 1'000;
  scheduler_.Submit(request);
  Tick();
  Obey("a");
  RankReport rank = Rank(1, RankPhase::kRunning);
  rank.save_ms = 2'000;
  rank.step_ms = 3'000;
  for (; now_ <= 12'500; now_ += 500) Report("a", {rank});
  EXPECT_THAT(Obey("a").stopping, IsEmpty());
  now_ = 13'000;
  Report("a", {rank});
  EXPECT_THAT(Obey("a").stopping, ElementsAre(AttemptId{1, 1}));
}

TEST_F(DrainTest, TheWarningComesNoEarlierThanHalfOfTheLimit) {
  JobRequest request;
  request.id = 1;
  request.time_limit_ms = 20'000;
  request.warning_ms = 1'000;
  scheduler_.Submit(request);
  Tick();
  Obey("a");
  RankReport rank = Rank(1, RankPhase::kRunning);
  rank.save_ms = 60'000;
  for (; now_ < 10'000; now_ += 500) Report("a", {rank});
  EXPECT_THAT(Obey("a").stopping, IsEmpty());
  Report("a", {rank});
  EXPECT_THAT(Obey("a").stopping, ElementsAre(AttemptId{1, 1}));
}

}  // namespace
}  // namespace muster
