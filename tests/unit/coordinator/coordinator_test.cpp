// The coordinator without gRPC: a test speaks for the people and for an agent.
#include "coordinator/coordinator.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "base/file.h"
#include "base/sha256.h"
#include "base/version.h"
#include "tests/support/temporary_directory.h"

namespace muster::coordinator {
namespace {

v1::SubmitJobRequest Request(const std::string& id, unsigned ranks = 1) {
  v1::SubmitJobRequest request;
  request.set_request_id(id);
  v1::JobSpec& spec = *request.mutable_spec();
  spec.set_name("job");
  spec.set_lanes(4);
  spec.mutable_resources()->set_ranks(ranks);
  spec.mutable_collective()->set_steps(3);
  return request;
}

class FakeLink final : public AgentLink {
 public:
  void Send(v1::DesiredState state) override {
    const std::lock_guard lock(mutex);
    newest = std::move(state);
  }
  void Close(Status why) override {
    const std::lock_guard lock(mutex);
    closed = std::move(why);
  }
  v1::DesiredState Newest() {
    const std::lock_guard lock(mutex);
    return newest;
  }
  std::mutex mutex;
  v1::DesiredState newest;
  Status closed;
};

class CoordinatorTest : public testing::Test {
 protected:
  void SetUp() override { Restart(); }

  // As after kill -9: nothing but the journal and the files carries over.
  void Restart() {
    coordinator_.reset();
    auto opened = Coordinator::Open({.directory = folder_ / "coordinator"});
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    coordinator_ = std::move(*opened);
    coordinator_->Start();
    link_ = std::make_shared<FakeLink>();
  }

  Result<JobId> Submit(const v1::SubmitJobRequest& request) {
    std::promise<Result<JobId>> promise;
    coordinator_->Submit("ada", request, [&](Result<JobId> job) { promise.set_value(job); });
    return promise.get_future().get();
  }

  v1::JobInfo Show(JobId job) {
    std::promise<Result<v1::JobInfo>> promise;
    coordinator_->GetJob(job, [&](Result<v1::JobInfo> info) { promise.set_value(info); });
    return *promise.get_future().get();
  }

  // Returns after the replies to everything that was posted before.
  void Settle() {
    std::promise<void> replied;
    coordinator_->GetJob(0, [&](const Result<v1::JobInfo>&) { replied.set_value(); });
    replied.get_future().wait();
  }

  // Reports until `done` holds of the newest answer.
  template <class Predicate>
  v1::DesiredState ReportUntil(Predicate done) {
    v1::DesiredState state;
    for (int round = 0; round < 200; ++round) {
      report_.set_worker("host-0");
      report_.set_incarnation("agent");
      report_.set_version(kVersion);
      report_.set_slots(2);
      report_.set_numerics_class("class");
      coordinator_->OnReport(link_, report_);
      Settle();
      state = link_->Newest();
      *report_.mutable_obeyed() = state.number();
      if (done(state)) return state;
    }
    ADD_FAILURE() << "the coordinator does not come to it: " << state.ShortDebugString();
    return state;
  }

  Result<std::uint64_t> Append(JobId job, unsigned attempt, std::uint64_t offset,
                               const std::string& data, unsigned rank = 0,
                               v1::Stream stream = v1::STREAM_METRICS) {
    v1::AppendRequest request;
    request.set_job_id(job);
    request.set_attempt(attempt);
    request.set_rank(rank);
    request.set_stream(stream);
    request.set_offset(offset);
    request.set_data(data);
    std::promise<Result<std::uint64_t>> promise;
    coordinator_->Append(caller_, request,
                         [&](Result<std::uint64_t> size) { promise.set_value(size); });
    return promise.get_future().get();
  }

  Status Publish(JobId job, unsigned attempt, std::uint64_t step, std::uint64_t metrics_bytes,
                 std::optional<double> score = std::nullopt, bool final = false) {
    const std::string manifest =
        R"({"files":[],"format_version":1,"step":)" + std::to_string(step) + "}";
    v1::CheckpointBegin begin;
    begin.set_job_id(job);
    begin.set_attempt(attempt);
    begin.set_step(step);
    begin.set_sha256(Sha256Of(manifest));
    begin.set_metrics_bytes(metrics_bytes);
    if (score.has_value()) begin.set_score(*score);
    begin.set_final(final);
    auto upload = coordinator_->BeginUpload(begin);
    MUSTER_RETURN_IF_ERROR(upload.status());
    MUSTER_RETURN_IF_ERROR((*upload)->OpenFile("manifest.json"));
    MUSTER_RETURN_IF_ERROR((*upload)->Write(manifest));
    MUSTER_RETURN_IF_ERROR((*upload)->Finish(begin.sha256(), step));
    std::promise<Status> promise;
    coordinator_->Publish(caller_, std::move(*upload), begin,
                          [&](const Status& status) { promise.set_value(status); });
    return promise.get_future().get();
  }

  Status Put(JobId job, unsigned attempt) {
    v1::PutRequest request;
    request.set_job_id(job);
    request.set_attempt(attempt);
    request.set_key("address");
    request.set_value("here");
    std::promise<Status> promise;
    coordinator_->Put(caller_, request, [&](const Status& status) { promise.set_value(status); });
    return promise.get_future().get();
  }

  // Whether the worker may fetch the job's newest checkpoint.
  Status Find(JobId job, const WorkerName& worker) {
    JobClaim claim(job);
    claim.worker = worker;
    std::promise<Status> promise;
    coordinator_->FindCheckpoint(claim, std::nullopt,
                                 [&](const auto& found) { promise.set_value(found.status()); });
    return promise.get_future().get();
  }

  static bool Wants(const v1::DesiredState& state, unsigned attempt) {
    return state.ranks_size() > 0 && state.ranks(0).attempt() == attempt;
  }

  // Its rank is killed; returns once the second attempt is wanted.
  void LoseFirstAttempt(JobId job) {
    v1::RankReport& rank = *report_.add_ranks();
    rank.set_job_id(job);
    rank.set_attempt(1);
    rank.set_phase(v1::RANK_PHASE_EXITED);
    rank.set_exit_kind(v1::EXIT_KIND_INFRASTRUCTURE);
    rank.set_exit_reason("killed");
    rank.set_released(true);
    rank.set_drained(true);
    ReportUntil([](const v1::DesiredState& state) { return Wants(state, 2); });
  }

  TemporaryDirectory folder_;
  std::unique_ptr<Coordinator> coordinator_;
  std::shared_ptr<FakeLink> link_;
  v1::AgentReport report_;
  WorkerName caller_ = "host-0";  // Whose certificate Append, Publish and Put show.
};

TEST_F(CoordinatorTest, ASubmissionIsOneJobHoweverOftenItComesAndSurvivesARestart) {
  const JobId job = *Submit(Request("r1"));
  EXPECT_EQ(*Submit(Request("r1")), job);
  EXPECT_NE(*Submit(Request("r2")), job);
  Restart();
  EXPECT_EQ(*Submit(Request("r1")), job);
  EXPECT_EQ(Show(job).state(), v1::JOB_STATE_QUEUED);
  EXPECT_FALSE(Show(job).reason().empty());
}

// What a person does whose journal is damaged: the old records must not pass for the new job's.
TEST_F(CoordinatorTest, JobsOfANewJournalAreNumberedAboveTheOldFiles) {
  const JobId old = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  const std::string row = "{\"step\":1}\n";
  ASSERT_EQ(*Append(old, 1, 0, row), row.size());
  coordinator_.reset();
  for (const char* end : {"", "-wal", "-shm"}) {
    std::filesystem::remove(folder_ / "coordinator/journal.sqlite" + end);
  }
  Restart();
  EXPECT_EQ(*Submit(Request("r1")), old + 1);
}

// And one who puts a copy of it back.
TEST_F(CoordinatorTest, AnOlderCopyOfTheJournalTakesUpNoLaterRecords) {
  const JobId job = *Submit(Request("r1"));
  coordinator_.reset();
  const std::string journal = folder_ / "coordinator/journal.sqlite";
  std::filesystem::copy_file(journal, folder_ / "copy");
  std::uint64_t epoch = 0;
  for (int start = 0; start < 3; ++start) {
    Restart();
    epoch =
        ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); }).number().epoch();
  }
  const std::string row = "{\"step\":1,\"train/loss\":0.5}\n";
  ASSERT_EQ(*Append(job, 1, 0, row), row.size());
  coordinator_.reset();
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(journal + end);
  std::filesystem::copy_file(folder_ / "copy", journal);
  Restart();
  report_.clear_obeyed();
  const v1::DesiredState state =
      ReportUntil([](const v1::DesiredState& wanted) { return Wants(wanted, 1); });
  EXPECT_GT(state.number().epoch(), epoch) << "agents that obeyed the later one obey this one";
  EXPECT_EQ(*Append(job, 1, 0, "{}\n"), 3U) << "stored, not taken for what is there already";
}

TEST_F(CoordinatorTest, TheSameRequestIdForAnotherJobIsRefused) {
  ASSERT_TRUE(Submit(Request("r1", 1)).ok());
  EXPECT_EQ(Submit(Request("r1", 2)).status().code(), StatusCode::kAlreadyExists);
}

TEST_F(CoordinatorTest, RefusesAGangThatNoWorkerSetCanHold) {
  ReportUntil([](const v1::DesiredState& state) { return state.has_number(); });
  const Status refused = Submit(Request("r1", 4)).status();
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(refused.message().find("4 ranks"), std::string::npos) << refused.message();
  EXPECT_TRUE(Submit(Request("r2", 2)).ok());
}

TEST_F(CoordinatorTest, RefusesAWorkerOfAnotherVersionNamingBoth) {
  v1::AgentReport report;
  report.set_worker("host-0");
  report.set_version("9.9.9");
  coordinator_->OnReport(link_, report);
  ReportUntil([this](const v1::DesiredState&) {
    const std::lock_guard lock(link_->mutex);
    return !link_->closed.ok();
  });
  EXPECT_NE(link_->closed.message().find("9.9.9"), std::string::npos);
  EXPECT_NE(link_->closed.message().find(kVersion), std::string::npos);
}

TEST_F(CoordinatorTest, CheckpointsCountForTheCurrentAttemptAndAfterItsMetrics) {
  const JobId job = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  const std::string row = "{\"step\":1,\"train/loss\":0.5}\n";
  EXPECT_EQ(Publish(job, 1, 1, row.size()).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(*Append(job, 1, 0, row), row.size());
  EXPECT_TRUE(Publish(job, 1, 1, row.size()).ok());
  EXPECT_TRUE(Publish(job, 1, 1, row.size()).ok()) << "a repeated upload";
  EXPECT_EQ(Publish(job, 2, 2, 0).code(), StatusCode::kAborted);
  const v1::JobInfo info = Show(job);
  ASSERT_EQ(info.checkpoints_size(), 1);
  EXPECT_EQ(info.checkpoints(0).step(), 1U);
  EXPECT_EQ(info.last_metrics().at("train/loss"), 0.5);
}

TEST_F(CoordinatorTest, AWorkerSpeaksOfTheRanksThatItWasGivenOnly) {
  const JobId job = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  const std::string row = "{\"step\":1}\n";
  for (const bool restarted : {false, true}) {
    SCOPED_TRACE(restarted);
    const std::uint64_t before = restarted ? row.size() : 0;
    caller_ = "host-1";
    EXPECT_EQ(Append(job, 1, before, row).status().code(), StatusCode::kPermissionDenied);
    EXPECT_EQ(Publish(job, 1, 1, 0).code(), StatusCode::kPermissionDenied);
    EXPECT_EQ(Put(job, 1).code(), StatusCode::kPermissionDenied);
    caller_ = "host-0";
    EXPECT_EQ(*Append(job, 1, before, row), before + row.size());
    EXPECT_TRUE(Publish(job, 1, 1, row.size()).ok());
    EXPECT_TRUE(Put(job, 1).ok());
    EXPECT_TRUE(Find(job, "host-0").ok());
    EXPECT_EQ(Find(job, "host-1").code(), StatusCode::kNotFound);
    if (!restarted) Restart();
  }
}

// A rank on host-0, and what collects rollouts for it in the other slot, whose number is 1.
TEST_F(CoordinatorTest, ARolloutWorkerSpeaksOfItselfAndChangesNothingOfTheJob) {
  v1::SubmitJobRequest request = Request("r1");
  request.mutable_spec()->mutable_ppo()->set_environment("CartPole-v1");
  request.mutable_spec()->mutable_resources()->set_rollout_workers(3);
  const JobId job = *Submit(request);
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  ASSERT_TRUE(Publish(job, 1, 5, 0).ok());
  LoseFirstAttempt(job);
  report_.clear_ranks();
  const auto report = [&](unsigned number, std::uint64_t steps) {
    v1::RankReport& rank = *report_.add_ranks();
    rank.set_job_id(job);
    rank.set_attempt(2);
    rank.set_rank(number);
    rank.set_phase(v1::RANK_PHASE_RUNNING);
    rank.set_pid(static_cast<int>(40 + number));
    rank.set_steps_done(steps);
    rank.set_steps_total(steps);
  };
  report(0, 7);
  const v1::DesiredState state =
      ReportUntil([](const v1::DesiredState& answer) { return answer.ranks_size() == 2; });
  EXPECT_EQ(state.ranks(0).resume_step(), 5U);
  const v1::DesiredRank& desired = state.ranks(1);
  EXPECT_EQ(desired.rank(), 1U);
  EXPECT_EQ(desired.members_size(), 1);
  EXPECT_EQ(desired.spec().ppo().environment(), "CartPole-v1");
  EXPECT_FALSE(desired.has_resume_step());
  EXPECT_EQ(desired.resume_sha256(), "");
  report(1, 99);
  ReportUntil([&](const v1::DesiredState&) { return Show(job).rollout_workers_size() == 1; });
  const v1::JobInfo info = Show(job);
  EXPECT_EQ(info.rollout_workers(0).rank(), 1U);
  EXPECT_EQ(info.rollout_workers(0).worker(), "host-0");
  EXPECT_EQ(info.rollout_workers(0).pid(), 41);
  EXPECT_EQ(info.ranks_size(), 1);
  EXPECT_EQ(info.steps_done(), 7U);
  EXPECT_EQ(info.steps_total(), 7U);

  EXPECT_TRUE(Put(job, 2).ok());
  const std::string row = "{\"step\":9,\"train/loss\":0.5}\n";
  EXPECT_EQ(*Append(job, 2, 0, row, 1, v1::STREAM_METRICS), row.size());
  EXPECT_TRUE(Show(job).last_metrics().empty());
  EXPECT_EQ(*Append(job, 2, 0, "hello\n", 1, v1::STREAM_LOG), 6U);
  EXPECT_EQ(Append(job, 2, 0, "hello\n", 2, v1::STREAM_LOG).status().code(), StatusCode::kNotFound)
      << "no such number was given to anybody";
  EXPECT_EQ(*Append(job, 2, 6, "again\n", 1, v1::STREAM_LOG), 12U);
  caller_ = "host-1";
  EXPECT_EQ(Append(job, 2, 12, "lies\n", 1, v1::STREAM_LOG).status().code(),
            StatusCode::kPermissionDenied);
  EXPECT_EQ(Put(job, 2).code(), StatusCode::kPermissionDenied);
  caller_ = "host-0";
  Restart();
  EXPECT_EQ(Append(job, 2, 12, "late\n", 1, v1::STREAM_LOG).status().code(), StatusCode::kNotFound)
      << "its agent is to go on with what others have written";
  const v1::DesiredState anew =
      ReportUntil([](const v1::DesiredState& answer) { return answer.ranks_size() == 1; });
  EXPECT_EQ(anew.ranks(0).rank(), 0U);
  EXPECT_EQ(Show(job).attempt(), 2U);
}

TEST_F(CoordinatorTest, AReplacedAttemptCommitsNothing) {
  const JobId job = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  LoseFirstAttempt(job);
  EXPECT_EQ(Append(job, 1, 0, "{\"step\":1}\n").status().code(), StatusCode::kAborted);
  EXPECT_EQ(Publish(job, 1, 1, 0).code(), StatusCode::kAborted);
  EXPECT_TRUE(Append(job, 2, 0, "{\"step\":1}\n").ok());
}

TEST_F(CoordinatorTest, WhatIsShownOfProgressIsOfOneAttempt) {
  const JobId job = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  ASSERT_TRUE(Append(job, 1, 0, "{\"step\":1,\"train/loss\":0.5}\n{\"step\":2}\n").ok());
  EXPECT_EQ(Show(job).steps_done(), 2U) << "before any report of the rank's";
  LoseFirstAttempt(job);
  for (const bool restarted : {false, true}) {
    SCOPED_TRACE(restarted);
    EXPECT_EQ(Show(job).steps_done(), 0U) << "steps 1 and 2 come again";
    EXPECT_TRUE(Show(job).last_metrics().empty());
    if (!restarted) Restart();
  }
  ASSERT_TRUE(Append(job, 2, 0, "{\"step\":1}\n").ok());
  EXPECT_EQ(Show(job).steps_done(), 1U);
}

TEST_F(CoordinatorTest, AnAttemptOutlivesTheCoordinator) {
  const JobId job = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  v1::RankReport& rank = *report_.add_ranks();
  rank.set_job_id(job);
  rank.set_attempt(1);
  rank.set_phase(v1::RANK_PHASE_RUNNING);
  rank.set_pid(42);
  const auto before = report_.obeyed();
  Restart();
  const v1::DesiredState state =
      ReportUntil([](const v1::DesiredState& answer) { return Wants(answer, 1); });
  EXPECT_GT(state.number().epoch(), before.epoch());
  EXPECT_EQ(Show(job).state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(Show(job).attempt(), 1U);
  EXPECT_TRUE(Publish(job, 1, 5, 0).ok());
}

TEST_F(CoordinatorTest, RefusesARankThatNoSlotHasTheMemoryFor) {
  report_.set_memory_mib_per_slot(1'000);
  ReportUntil([](const v1::DesiredState& state) { return state.has_number(); });
  v1::SubmitJobRequest request = Request("r1");
  request.mutable_spec()->mutable_resources()->set_memory_mib_per_rank(1'001);
  const Status refused = Submit(request).status();
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(refused.message().find("1001 MiB"), std::string::npos) << refused.message();
  request.mutable_spec()->mutable_resources()->set_memory_mib_per_rank(1'000);
  EXPECT_TRUE(Submit(request).ok());
}

TEST_F(CoordinatorTest, GivesUpADamagedCheckpointFromWhichAttemptsKeepFailing) {
  const JobId job = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  ASSERT_TRUE(Publish(job, 1, 1, 0).ok());
  ASSERT_TRUE(Publish(job, 1, 2, 0).ok());
  const std::string manifest = "/checkpoints/" + std::to_string(job) + "/step-2/manifest.json";
  ASSERT_TRUE(WriteFileAtomically((folder_ / "coordinator") + manifest, "damaged").ok());
  for (unsigned attempt = 1; attempt <= 2; ++attempt) {
    ReportUntil([&](const v1::DesiredState& state) { return Wants(state, attempt); });
    report_.clear_ranks();
    v1::RankReport& rank = *report_.add_ranks();
    rank.set_job_id(job);
    rank.set_attempt(attempt);
    rank.set_phase(v1::RANK_PHASE_EXITED);
    rank.set_exit_kind(v1::EXIT_KIND_INFRASTRUCTURE);
    rank.set_exit_reason("fetch the checkpoint");
    rank.set_released(true);
    rank.set_drained(true);
    EXPECT_EQ(Show(job).checkpoints_size(), 2) << "once may be anything";
  }
  ReportUntil([](const v1::DesiredState& state) { return state.ranks_size() == 0; });
  const v1::JobInfo info = Show(job);
  ASSERT_EQ(info.checkpoints_size(), 1);
  EXPECT_EQ(info.checkpoints(0).step(), 1U);
}

// Even where the rank's own word that it ended early is lost.
TEST_F(CoordinatorTest, TheLastCheckpointTellsHowManyStepsThereWere) {
  const JobId job = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  v1::RankReport& rank = *report_.add_ranks();
  rank.set_job_id(job);
  rank.set_attempt(1);
  rank.set_phase(v1::RANK_PHASE_RUNNING);
  rank.set_steps_done(4);
  rank.set_steps_total(24);
  ReportUntil([&](const v1::DesiredState&) { return Show(job).steps_total() == 24; });
  report_.clear_ranks();
  ASSERT_TRUE(Publish(job, 1, 6, 0).ok());
  EXPECT_EQ(Show(job).steps_total(), 24U);
  ASSERT_TRUE(Publish(job, 1, 9, 0, 0.5, true).ok());
  EXPECT_EQ(Show(job).steps_done(), 9U);
  EXPECT_EQ(Show(job).steps_total(), 9U);
}

TEST_F(CoordinatorTest, KeepsTheLastAndTheBest) {
  v1::SubmitJobRequest request = Request("r1");
  request.mutable_spec()->mutable_checkpoint()->set_keep_last(1);
  request.mutable_spec()->mutable_checkpoint()->set_keep_best(1);
  const JobId job = *Submit(request);
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  const double scores[] = {0.1, 0.9, 0.3, 0.9};
  for (unsigned i = 0; i < 4; ++i) ASSERT_TRUE(Publish(job, 1, i + 1, 0, scores[i]).ok());
  const v1::JobInfo info = Show(job);
  ASSERT_EQ(info.checkpoints_size(), 2);
  EXPECT_EQ(info.checkpoints(0).step(), 2U);  // The earlier of two equally good ones.
  EXPECT_EQ(info.checkpoints(1).step(), 4U);
}

TEST_F(CoordinatorTest, AJobThatHasEndedKeepsNoFileOpenAndItsRanksAreKnown) {
  const auto descriptors = [] {
    const std::filesystem::directory_iterator open("/proc/self/fd");
    return std::distance(begin(open), end(open));
  };
  const JobId job = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  const auto before = descriptors();
  ASSERT_TRUE(Append(job, 1, 0, "{\"step\":1,\"train/loss\":0.5}\n").ok());
  ASSERT_TRUE(Publish(job, 1, 1, 0).ok());
  EXPECT_GT(descriptors(), before);
  v1::RankReport& rank = *report_.add_ranks();
  rank.set_job_id(job);
  rank.set_attempt(1);
  rank.set_phase(v1::RANK_PHASE_EXITED);
  rank.set_exit_kind(v1::EXIT_KIND_SUCCESS);
  rank.set_released(true);
  rank.set_drained(true);
  // Nobody has asked for the job while it ran.
  ReportUntil([](const v1::DesiredState& state) { return state.ranks_size() == 0; });
  const v1::JobInfo info = Show(job);
  EXPECT_EQ(info.state(), v1::JOB_STATE_SUCCEEDED);
  ASSERT_EQ(info.ranks_size(), 1);
  EXPECT_EQ(info.ranks(0).worker(), "host-0");
  EXPECT_EQ(info.last_metrics().at("train/loss"), 0.5);
  EXPECT_EQ(descriptors(), before);
}

TEST_F(CoordinatorTest, AWaitingJobKeepsItsProgressOverARestart) {
  const JobId job = *Submit(Request("r1"));
  ReportUntil([](const v1::DesiredState& state) { return Wants(state, 1); });
  ASSERT_TRUE(Publish(job, 1, 5, 0).ok());
  Restart();
  EXPECT_EQ(Show(job).steps_done(), 5U);
}

TEST_F(CoordinatorTest, AnAcknowledgedCancellationSurvivesARestart) {
  const JobId job = *Submit(Request("r1"));
  std::promise<void> acknowledged;
  coordinator_->Cancel(job, "ada", [&](const Result<v1::JobState>&) { acknowledged.set_value(); });
  acknowledged.get_future().wait();
  Restart();
  v1::JobInfo info = Show(job);
  for (int round = 0; round < 2'000 && info.state() != v1::JOB_STATE_CANCELLED; ++round) {
    info = Show(job);
  }
  EXPECT_EQ(info.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(info.reason(), "cancelled by ada");
}

}  // namespace
}  // namespace muster::coordinator
