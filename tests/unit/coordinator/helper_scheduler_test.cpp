// What the scheduler does with processes beside a gang that its attempt can do without.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/scheduler/scheduler.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;

// Workers of two slots that obey every answer, and say of what they run what a test has set.
class HelperTest : public testing::Test {
 protected:
  void Join(const WorkerName& worker, std::uint32_t slots = 2,
            const std::string& numerics_class = "avx2", std::uint64_t memory_mib = 0) {
    Machine& machine = machines_[worker];
    machine = {.incarnation = worker + "#" + std::to_string(++incarnations_),
               .numerics_class = numerics_class,
               .slots = slots,
               .memory_mib = memory_mib};
    Report(worker);
    Obey(worker);
    Report(worker);
  }
  void Submit(JobId id, std::uint32_t ranks, std::uint32_t helpers, std::uint64_t memory_mib = 0,
              bool anywhere = false) {
    JobRequest request;
    request.id = id;
    request.ranks = ranks;
    request.helpers = helpers;
    request.helpers_anywhere = anywhere;
    request.owner = "ada";
    request.memory_mib_per_rank = memory_mib;
    scheduler_.Submit(request);
    Tick();
  }
  void Report(const WorkerName& worker) {
    const Machine& machine = machines_.at(worker);
    WorkerReport report{
        worker, machine.incarnation, machine.slots, machine.numerics_class, machine.obeyed,
        {},     machine.memory_mib};
    report.leaving = machine.leaving;
    for (const auto& [id, rank] : machine.ranks) report.ranks.push_back(rank);
    scheduler_.OnReport(report, now_);
    Tick();
  }
  // What is new runs at once; what is not wanted is gone at once.
  void Obey(const WorkerName& worker) {
    Machine& machine = machines_.at(worker);
    const Answer answer = scheduler_.AnswerFor(worker);
    machine.obeyed = answer.number;
    const std::set<RankId> desired(answer.desired.begin(), answer.desired.end());
    std::erase_if(machine.ranks, [&](const auto& rank) { return !desired.contains(rank.first); });
    for (const RankId& id : desired) {
      RankReport& rank = machine.ranks[id];
      rank.id = id;
      rank.phase = std::max(rank.phase, RankPhase::kRunning);
      rank.pid = 7;
    }
  }
  // Until nothing changes any more.
  void Settle() {
    for (int round = 0; round < 20; ++round) {
      const std::set<WorkerName> changed = scheduler_.TakeChanged();
      if (changed.empty()) return;
      for (const WorkerName& worker : changed) {
        if (!machines_.contains(worker)) continue;
        Obey(worker);
        Report(worker);
      }
    }
    FAIL() << "the workers' desired states never settle";
  }
  void Exit(const WorkerName& worker, const RankId& id, ExitKind kind, bool released = true) {
    RankReport& rank = machines_.at(worker).ranks.at(id);
    rank.phase = RankPhase::kExited;
    rank.exit = kind;
    rank.exit_reason = "killed by signal 9";
    rank.released = rank.drained = released;
    Report(worker);
  }
  void Tick() {
    scheduler_.Tick(now_);
    for (Decision& decision : scheduler_.TakeDecisions()) decisions_.push_back(std::move(decision));
  }
  // By number: where they are.
  std::map<std::uint32_t, WorkerName> Helpers(JobId job) const {
    std::map<std::uint32_t, WorkerName> where;
    for (const auto& [number, helper] : scheduler_.View(job).helpers) where[number] = helper.worker;
    return where;
  }
  std::uint32_t Used(const WorkerName& worker) const {
    for (const WorkerView& view : scheduler_.Workers()) {
      if (view.worker == worker) return view.slots_used;
    }
    return 0;
  }
  // Job 1: a rank on a, with two helpers beside it on b.
  void RunJobOne() {
    Join("a", 1);
    Join("b");
    Submit(1, 1, 2);
    Settle();
    ASSERT_EQ(scheduler_.View(1).ranks.at(0).worker, "a");
    ASSERT_THAT(Helpers(1), ElementsAre(std::pair(1U, "b"), std::pair(2U, "b")));
    decisions_.clear();
  }

  struct Machine {
    std::string incarnation;
    std::string numerics_class;
    std::uint32_t slots = 0;
    std::uint64_t memory_mib = 0;
    AnswerNumber obeyed{};
    bool leaving = false;
    std::map<RankId, RankReport> ranks{};
  };
  Millis now_ = 0;
  int incarnations_ = 0;
  Scheduler scheduler_{SchedulerOptions(), 0};
  std::map<WorkerName, Machine> machines_;
  std::vector<Decision> decisions_;
};

TEST_F(HelperTest, FollowTheGangOnceItRuns) {
  Join("a");
  Join("b");
  Submit(1, 2, 3);
  EXPECT_THAT(Helpers(1), IsEmpty()) << "before the first step";
  Settle();
  EXPECT_EQ(scheduler_.View(1).state, JobState::kRunning);
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(2U, "b"), std::pair(3U, "b")))
      << "two of three: no slot is free for the last";
  EXPECT_EQ(scheduler_.View(1).helpers.at(2).phase, RankPhase::kRunning);
  EXPECT_EQ(scheduler_.View(1).helpers.at(2).pid, 7);
  EXPECT_EQ(scheduler_.View(1).ranks.size(), 2U);
  Join("c", 1);
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(Key(2), Key(3), std::pair(4U, "c")));
  EXPECT_EQ(decisions_.size(), 1U) << "none of it is journaled";
}

TEST_F(HelperTest, GoWhereMostIsFreeInTheJobsClassAndTheirMemoryFits) {
  Join("a", 1, "avx2", 4096);
  Submit(1, 1, 9, 2048);
  Join("b", 2, "avx2", 2048);
  Join("c", 3, "avx2", 2048);
  Join("d", 5, "avx2", 1024);
  Join("e", 5, "avx", 4096);
  Settle();
  std::map<WorkerName, int> on;
  for (const auto& [number, worker] : Helpers(1)) ++on[worker];
  EXPECT_THAT(on, ElementsAre(std::pair("b", 2), std::pair("c", 3)));
  EXPECT_EQ(Helpers(1).at(1), "c");
}

TEST_F(HelperTest, GoToOtherClassesWhereTheJobAllowsItOnceItsOwnIsFull) {
  Join("a", 2, "avx2");
  Submit(1, 1, 3, 0, /*anywhere=*/true);
  Join("x", 1, "avx");
  Join("z", 2, "avx512");
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(1U, "a"), std::pair(2U, "x"), std::pair(3U, "z")));
  // A job takes those away that are in classes which could hold it; not the one on x.
  Submit(2, 2, 0);
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(2U, "x")));
  Settle();
  EXPECT_EQ(scheduler_.View(2).ranks.at(0).worker, "z");
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(2U, "x"), std::pair(4U, "a")));
}

TEST_F(HelperTest, AreReplacedUnderANewNumberAndTheAttemptGoesOn) {
  RunJobOne();
  now_ += 2'000;
  for (const char* worker : {"a", "b"}) Report(worker);
  Exit("b", {{1, 1}, 1}, ExitKind::kInfrastructure, /*released=*/false);
  EXPECT_THAT(Helpers(1), ElementsAre(Key(2))) << "its slot is not free yet";
  EXPECT_EQ(Used("b"), 2U);
  Exit("b", {{1, 1}, 1}, ExitKind::kInfrastructure);
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(2U, "b"), std::pair(3U, "b")));
  // However it ends, also by an error of its own or of itself.
  Exit("b", {{1, 1}, 2}, ExitKind::kOwnFailure);
  now_ += 2'000;
  Exit("b", {{1, 1}, 3}, ExitKind::kSuccess);
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(Key(4), Key(5)));
  EXPECT_TRUE(scheduler_.MayCommit({1, 1}));
  EXPECT_EQ(scheduler_.View(1).failures, 0U);
  EXPECT_THAT(decisions_, IsEmpty());
}

TEST_F(HelperTest, ThatDieAtOnceAreReplacedEverMoreSeldom) {
  Join("a");
  Submit(1, 1, 1);
  Settle();
  std::uint32_t number = 1;
  for (const Millis wait_ms : {250, 500, 1'000, 2'000, 4'000, 8'000, 16'000, 30'000, 30'000}) {
    ASSERT_THAT(Helpers(1), ElementsAre(Key(number)));
    Exit("a", {{1, 1}, number}, ExitKind::kOwnFailure);
    Settle();
    for (const Millis end = now_ + wait_ms - 1; now_ < end;) {
      now_ = std::min(end, now_ + 1'000);
      Report("a");
    }
    ASSERT_THAT(Helpers(1), IsEmpty()) << wait_ms;
    ++now_;
    Report("a");
    Settle();
    ++number;
  }
  now_ += 2'000;  // It has lived: the next one follows at once, and the one after it soon.
  Report("a");
  Exit("a", {{1, 1}, number}, ExitKind::kOwnFailure);
  Settle();
  ASSERT_THAT(Helpers(1), ElementsAre(Key(number + 1)));
  Exit("a", {{1, 1}, number + 1}, ExitKind::kOwnFailure);
  now_ += 250;
  Report("a");
  EXPECT_THAT(Helpers(1), ElementsAre(Key(number + 2)));
}

TEST_F(HelperTest, GoToAnotherWorkerThanTheOneWhereTheLastDiedAtOnce) {
  Join("a", 1);
  Submit(1, 1, 1);
  Join("b");
  Join("c", 1);
  Settle();
  ASSERT_THAT(Helpers(1), ElementsAre(std::pair(1U, "b")));
  Exit("b", {{1, 1}, 1}, ExitKind::kOwnFailure);
  now_ += 250;
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(2U, "c")));
}

TEST_F(HelperTest, MakeRoomForAJobThatWaits) {
  RunJobOne();
  Submit(2, 2, 0);
  EXPECT_THAT(Helpers(1), IsEmpty());
  EXPECT_EQ(scheduler_.View(2).state, JobState::kQueued) << "the slots are not released yet";
  Settle();
  ASSERT_EQ(scheduler_.View(2).state, JobState::kRunning);
  EXPECT_EQ(scheduler_.View(2).ranks.at(0).worker, "b");
  EXPECT_TRUE(scheduler_.MayCommit({1, 1}));
  EXPECT_EQ(scheduler_.View(1).attempt, 1U);
  for (std::uint32_t rank : {0U, 1U}) Exit("b", {{2, 1}, rank}, ExitKind::kSuccess);
  Settle();
  EXPECT_EQ(scheduler_.View(2).state, JobState::kSucceeded);
  EXPECT_THAT(Helpers(1), ElementsAre(Key(3), Key(4))) << "and come back when it is over";
}

TEST_F(HelperTest, LeaveFreeWhatAJobGathers) {
  RunJobOne();
  Join("c", 1);
  Submit(2, 4, 0);
  Settle();
  Tick();
  EXPECT_EQ(scheduler_.View(2).state, JobState::kQueued);
  EXPECT_EQ(Used("b") + Used("c"), 0U);
  Exit("a", {{1, 1}, 0}, ExitKind::kSuccess);
  Settle();
  EXPECT_EQ(scheduler_.View(2).state, JobState::kRunning);
}

TEST_F(HelperTest, KeepNothingFromAJobThatCouldNotUseTheirSlots) {
  RunJobOne();
  Join("x", 1, "avx512");
  Submit(2, 1, 0, /*memory_mib=*/1);  // No worker has said that a slot is so large.
  Submit(3, 5, 0);
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(Key(1), Key(2)));
}

// The gang that ends returns to its own slots: only one that loses some needs those of others.
TEST_F(HelperTest, StayWhileAnotherJobStartsAgainOnItsOwnSlots) {
  RunJobOne();
  Join("c", 1);
  Submit(2, 1, 0);
  Settle();
  ASSERT_EQ(scheduler_.View(2).ranks.at(0).worker, "c");
  Exit("c", {{2, 1}, 0}, ExitKind::kInfrastructure, /*released=*/false);
  EXPECT_FALSE(scheduler_.MayCommit({2, 1}));
  EXPECT_THAT(Helpers(1), ElementsAre(Key(1), Key(2)));
  Exit("c", {{2, 1}, 0}, ExitKind::kInfrastructure);
  Settle();
  EXPECT_EQ(scheduler_.View(2).attempt, 2U);
  EXPECT_EQ(scheduler_.View(2).ranks.at(0).worker, "c");
  EXPECT_THAT(Helpers(1), ElementsAre(Key(1), Key(2)));
  scheduler_.SetDrain("c", {"drained by ops", 0}, now_);
  Exit("c", {{2, 2}, 0}, ExitKind::kStopped, /*released=*/false);
  EXPECT_THAT(Helpers(1), IsEmpty()) << "it cannot go back to c";
}

TEST_F(HelperTest, LeaveAWorkerThatIsDrainedOrEnds) {
  RunJobOne();
  Join("c", 2);
  scheduler_.SetDrain("b", {"drained by ops", 0}, now_);
  Tick();
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(3U, "c")));
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(3U, "c"), std::pair(4U, "c")));
  EXPECT_EQ(Used("b"), 0U);
  machines_.at("c").leaving = true;
  Report("c");
  EXPECT_THAT(Helpers(1), IsEmpty());
  EXPECT_TRUE(scheduler_.EndDrain("b"));
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(5U, "b"), std::pair(6U, "b")));
  EXPECT_THAT(decisions_, IsEmpty());
}

TEST_F(HelperTest, OfALostWorkerAreReplacedElsewhereAndEndedWhenItComesBack) {
  RunJobOne();
  Join("c", 1);
  for (int step = 0; step < 2; ++step) {
    now_ += 1'600;
    Report("c");
    Report("a");
  }
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(3U, "c"))) << "b has been silent for too long";
  EXPECT_THAT(decisions_, IsEmpty());
  Report("b");
  EXPECT_EQ(Used("b"), 2U) << "they take their slots until they are gone";
  EXPECT_THAT(Helpers(1), ElementsAre(Key(3)));
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(3U, "c"), std::pair(4U, "b")));
  EXPECT_EQ(Used("b"), 1U);
  // A new agent has ended all that the one before it ran.
  scheduler_.OnDisconnect("c", machines_.at("c").incarnation);
  Join("c", 1);
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(Key(4), std::pair(5U, "b")));
}

TEST_F(HelperTest, EndWithTheAttempt) {
  RunJobOne();
  Exit("a", {{1, 1}, 0}, ExitKind::kInfrastructure);
  EXPECT_EQ(decisions_.at(0).kind, Decision::Kind::kAttemptEnded);
  EXPECT_EQ(decisions_.at(1).kind, Decision::Kind::kAttemptStarted)
      << "the next one waits for none of them";
  EXPECT_THAT(Helpers(1), IsEmpty());
  EXPECT_EQ(Used("b"), 2U);
  Settle();
  EXPECT_EQ(scheduler_.View(1).attempt, 2U);
  EXPECT_THAT(Helpers(1), ElementsAre(Key(1), Key(2)));
  EXPECT_THAT(machines_.at("b").ranks, ElementsAre(Key(RankId{{1, 2}, 1}), Key(RankId{{1, 2}, 2})));
}

TEST_F(HelperTest, EndWithTheJobWhichDoesNotWaitForThem) {
  RunJobOne();
  Exit("a", {{1, 1}, 0}, ExitKind::kSuccess);
  EXPECT_EQ(scheduler_.View(1).state, JobState::kSucceeded);
  EXPECT_EQ(Used("b"), 2U);
  Settle();
  EXPECT_EQ(Used("b"), 0U);
  Submit(2, 1, 2);
  Settle();
  EXPECT_THAT(Helpers(2), ElementsAre(Key(1), Key(2)));
  scheduler_.Cancel(2, "cancelled by ada", now_);
  Tick();
  EXPECT_THAT(Helpers(2), IsEmpty());
  Settle();
  EXPECT_EQ(scheduler_.View(2).state, JobState::kCancelled);
  EXPECT_EQ(Used("a") + Used("b"), 0U);
}

TEST_F(HelperTest, OneThatEndsBeforeItsGangHasEndedIsNotReplacedThen) {
  Join("a", 3);
  Submit(1, 2, 1);
  Settle();
  now_ += 2'000;
  Report("a");
  Exit("a", {{1, 1}, 0}, ExitKind::kSuccess);
  Exit("a", {{1, 1}, 2}, ExitKind::kSuccess);
  Settle();
  EXPECT_THAT(Helpers(1), IsEmpty());
  EXPECT_EQ(scheduler_.View(1).state, JobState::kRunning);
}

TEST_F(HelperTest, HaveWhatGangsLeaveOfTheirOwnersLimit) {
  Join("a", 8);
  scheduler_.SetLimits("ada", {.running = 0, .slots = 4, .disabled = false});
  Submit(1, 1, 8);
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(Key(1), Key(2), Key(3)));
  Submit(2, 2, 1);  // Does not wait for helpers: they give up what they had of the limit.
  EXPECT_EQ(scheduler_.View(2).state, JobState::kStarting);
  EXPECT_THAT(Helpers(1), ElementsAre(Key(1))) << "the oldest stays";
  Settle();
  EXPECT_THAT(Helpers(1), ElementsAre(Key(1)));
  EXPECT_THAT(Helpers(2), IsEmpty());
  scheduler_.SetLimits("ada", {.running = 0, .slots = 0, .disabled = true});
  Exit("a", {{1, 1}, 1}, ExitKind::kInfrastructure);
  now_ += 250;
  Report("a");
  EXPECT_THAT(Helpers(1), IsEmpty()) << "nothing of a disabled owner starts";
  EXPECT_TRUE(scheduler_.MayCommit({1, 1}));
}

TEST_F(HelperTest, AreDealtOutEvenly) {
  Join("a", 6);
  Submit(1, 1, 4);
  Submit(2, 1, 4);
  Settle();
  EXPECT_EQ(Helpers(1).size(), 2U);
  EXPECT_EQ(Helpers(2).size(), 2U);
}

TEST_F(HelperTest, OfBeforeARestartAreEndedAndOthersPlacedUnderOtherNumbers) {
  RunJobOne();
  const Machine a = machines_.at("a"), b = machines_.at("b");
  scheduler_ = Scheduler({.epoch = 2}, now_);
  RestoredJob job;
  job.request.id = 1;
  job.request.helpers = 2;
  job.state = JobState::kStarting;
  job.attempt = 1;
  job.attempt_live = true;
  job.placement = {"a"};
  job.numerics_class = "avx2";
  scheduler_.Restore(job, now_);
  scheduler_.RestoreWorker("a", 1, now_);
  scheduler_.RestoreWorker("b", 2, now_);
  Report("a");
  Report("b");
  EXPECT_THAT(Helpers(1), IsEmpty());
  EXPECT_EQ(Used("b"), 2U);
  Settle();
  const std::uint32_t first = 3U * (1U << 18U) + 1;
  EXPECT_THAT(Helpers(1), ElementsAre(std::pair(first, "b"), std::pair(first + 1, "b")));
  EXPECT_EQ(scheduler_.View(1).attempt, 1U);
  EXPECT_TRUE(scheduler_.MayCommit({1, 1}));
  EXPECT_THAT(decisions_, IsEmpty());
}

}  // namespace
}  // namespace muster
