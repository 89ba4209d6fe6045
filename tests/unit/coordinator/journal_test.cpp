#include "coordinator/journal/journal.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "tests/support/temporary_directory.h"

namespace muster::coordinator {
namespace {

JournaledJob NewJob(const std::string& request_id) {
  JournaledJob job;
  job.request_id = request_id;
  job.owner = "ada";
  job.spec = std::string("spec\0with zero", 14);
  job.submitted_ms = 5;
  job.restored.request.ranks = 2;
  job.restored.request.failures_max = 3;
  return job;
}

Decision Started(JobId job, std::uint32_t number) {
  Decision decision;
  decision.kind = Decision::Kind::kAttemptStarted;
  decision.attempt = {job, number};
  decision.placement = {"host-0", "host-1"};
  decision.numerics_class = "class";
  return decision;
}

Decision Ended(JobId job, std::uint32_t number, ExitKind exit) {
  Decision decision;
  decision.kind = Decision::Kind::kAttemptEnded;
  decision.attempt = {job, number};
  decision.exit = exit;
  decision.reason = "rank 0 failed because";
  decision.failure = "because";
  decision.step = 17;
  decision.failures = exit == ExitKind::kOwnFailure ? 1 : 0;
  decision.retries = exit == ExitKind::kInfrastructure ? 1 : 0;
  return decision;
}

TEST(JournalTest, RemembersAJobWithAllItsFacts) {
  const TemporaryDirectory folder;
  JobId id = 0;
  {
    auto journal = std::move(*Journal::Open(folder / "db"));
    id = *journal->AddJob(NewJob("r1"));
    ASSERT_TRUE(journal->Record(Started(id, 1), 0, 10).ok());
    ASSERT_TRUE(journal->Record(Ended(id, 1, ExitKind::kOwnFailure), 0, 20).ok());
    ASSERT_TRUE(journal->Record(Started(id, 2), 0, 30).ok());
    ASSERT_TRUE(journal->AddCheckpoint(id, {40, "abc", 2, 0.5, 99}).ok());
    ASSERT_TRUE(journal->Record(Ended(id, 2, ExitKind::kInfrastructure), 0, 50).ok());
    ASSERT_TRUE(journal->Record(Started(id, 3), 40, 60).ok());
    ASSERT_TRUE(journal->Commit().ok());
  }
  auto journal = std::move(*Journal::Open(folder / "db"));
  const auto jobs = *journal->LoadJobs();
  ASSERT_EQ(jobs.size(), 1U);
  const JournaledJob& job = jobs[0];
  EXPECT_EQ(job.spec, NewJob("").spec);
  EXPECT_EQ(job.restored.request.id, id);
  EXPECT_EQ(job.restored.attempt, 3U);
  EXPECT_TRUE(job.restored.attempt_live);
  EXPECT_EQ(job.restored.placement, (std::vector<WorkerName>{"host-0", "host-1"}));
  EXPECT_EQ(job.restored.failures, 0U);  // The checkpoint set it back.
  EXPECT_EQ(job.restored.retries, 1U);
  EXPECT_EQ(job.restored.failed_step, 17U);
  EXPECT_EQ(job.restored.failed_reason, "because");
  EXPECT_EQ(job.started_ms, 10);
  ASSERT_EQ(job.attempts.size(), 3U);
  EXPECT_EQ(job.attempts[2].numerics_class, "class");
  EXPECT_EQ(job.attempts[2].resume_step, 40U);
  ASSERT_EQ(job.checkpoints.size(), 1U);
  EXPECT_EQ(job.checkpoints[0].sha256, "abc");
  EXPECT_EQ(job.checkpoints[0].score, 0.5);
}

TEST(JournalTest, EpochsGrowAndTheClusterKeepsItsId) {
  const TemporaryDirectory folder;
  std::string cluster_id;
  for (std::uint64_t epoch = 1; epoch <= 3; ++epoch) {
    auto journal = std::move(*Journal::Open(folder / "db"));
    EXPECT_EQ(journal->epoch(), epoch);
    if (epoch > 1) {
      EXPECT_EQ(journal->cluster_id(), cluster_id);
    }
    cluster_id = journal->cluster_id();
  }
}

// What was committed survives kill -9; what was not is not half there.
TEST(JournalTest, KillLosesNothingCommittedAndKeepsNothingElse) {
  const TemporaryDirectory folder;
  const pid_t child = ::fork();
  if (child == 0) {
    auto journal = std::move(*Journal::Open(folder / "db"));
    static_cast<void>(journal->AddJob(NewJob("committed")));
    static_cast<void>(journal->Commit());
    const Result<JobId> second = journal->AddJob(NewJob("not committed"));
    static_cast<void>(journal->AddCheckpoint(*second, {1, "x", 1, std::nullopt, 1}));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  auto journal = std::move(*Journal::Open(folder / "db"));
  const auto jobs = *journal->LoadJobs();
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(jobs[0].request_id, "committed");
  EXPECT_TRUE(jobs[0].checkpoints.empty());
}

TEST(JournalTest, AllowsAJobAnotherNumericsClass) {
  const TemporaryDirectory folder;
  auto journal = std::move(*Journal::Open(folder / "db"));
  const JobId id = *journal->AddJob(NewJob("r1"));
  ASSERT_TRUE(journal->Record(Started(id, 1), 0, 10).ok());
  EXPECT_EQ((*journal->LoadJobs())[0].restored.numerics_class, "class");
  ASSERT_TRUE(journal->AllowNewNumerics(id).ok());
  const auto jobs = *journal->LoadJobs();
  EXPECT_EQ(jobs[0].restored.numerics_class, "");
  EXPECT_EQ(jobs[0].attempts[0].numerics_class, "class");  // What has been stays known.
}

TEST(JournalTest, TakesUpAJournalOfTheFormatBeforeIt) {
  const TemporaryDirectory folder;
  {
    auto journal = std::move(*Journal::Open(folder / "db"));
    const JobId id = *journal->AddJob(NewJob("r1"));
    ASSERT_TRUE(journal->Record(Started(id, 1), 0, 10).ok());
    ASSERT_TRUE(journal->Commit().ok());
  }
  {
    auto database = std::move(*OpenDatabase(folder / "db"));
    ASSERT_TRUE(Execute(database.get(),
                        "ALTER TABLE attempts DROP COLUMN numerics;"
                        "UPDATE meta SET value=1 WHERE key='format'")
                    .ok());
  }
  for (int again = 0; again < 2; ++again) {
    auto journal = std::move(*Journal::Open(folder / "db"));
    const auto jobs = *journal->LoadJobs();
    ASSERT_EQ(jobs.size(), 1U);
    ASSERT_EQ(jobs[0].attempts.size(), 1U);
    EXPECT_EQ(jobs[0].attempts[0].numerics_class, "");
  }
}

TEST(JournalTest, ARequestIdIsOneJob) {
  const TemporaryDirectory folder;
  auto journal = std::move(*Journal::Open(folder / "db"));
  ASSERT_TRUE(journal->AddJob(NewJob("same")).ok());
  EXPECT_FALSE(journal->AddJob(NewJob("same")).ok());
}

TEST(JournalTest, RefusesWhatIsNoJournal) {
  const TemporaryDirectory folder;
  std::ofstream(folder / "db") << "this is not a database, but long enough to look like a file";
  const auto journal = Journal::Open(folder / "db");
  ASSERT_FALSE(journal.ok());
  EXPECT_NE(journal.status().message().find(folder / "db"), std::string::npos);
}

TEST(JournalTest, RefusesToWriteOnceAnotherHasOpenedIt) {
  const TemporaryDirectory folder;
  auto first = Journal::Open(folder / "journal.sqlite");
  ASSERT_TRUE((*first)->AddJob(NewJob("r1")).ok());
  ASSERT_TRUE((*first)->Commit().ok());
  auto second = Journal::Open(folder / "journal.sqlite");
  EXPECT_FALSE((*first)->CheckOwner().ok());
  EXPECT_TRUE((*second)->CheckOwner().ok());
  const Status refused = (*first)->AddJob(NewJob("r2")).status();
  EXPECT_EQ(refused.code(), StatusCode::kAborted);
  EXPECT_NE(refused.message().find("another coordinator"), std::string::npos);
  first->reset();
  EXPECT_TRUE((*second)->AddJob(NewJob("r2")).ok());
}

}  // namespace
}  // namespace muster::coordinator
