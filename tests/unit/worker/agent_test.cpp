#include "worker/agent/agent.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "base/sha256.h"
#include "tests/support/agent_fixture.h"
#include "wire/attempt_name.h"
#include "worker/agent/process_tree.h"

namespace muster {
namespace {

constexpr const char* kScripted = MUSTER_SCRIPTED_RANK;
constexpr const char* kStubborn = MUSTER_STUBBORN_RANK;

std::string Lines(int count) {
  std::string text;
  for (int i = 1; i <= count; ++i) text += "line " + std::to_string(i) + "\n";
  return text + "the end\n";
}

TEST_F(AgentTest, ReportsWhatItIs) {
  StartAgent(kScripted, "3");
  const v1::AgentReport report =
      coordinator_->WaitForReport([](const v1::AgentReport& r) { return !r.worker().empty(); });
  EXPECT_EQ(report.slots(), 3U);
  EXPECT_GE(report.cores_per_slot(), 1U);
  EXPECT_GT(report.memory_mib_per_slot(), 0U);
  EXPECT_EQ(report.version(), "test");
  EXPECT_EQ(report.numerics_class().size(), 16U);
  EXPECT_EQ(report.pid(), agent_);
  EXPECT_EQ(report.ranks_size(), 0);
}

TEST_F(AgentTest, RunsARankAndForwardsAllItWrites) {
  StartAgent(kScripted);
  Desire({MakeRank(1, "count")});
  const v1::RankReport end = WaitForEnd();
  EXPECT_EQ(end.phase(), v1::RANK_PHASE_EXITED);
  EXPECT_EQ(end.exit_kind(), v1::EXIT_KIND_SUCCESS) << end.exit_reason();
  EXPECT_EQ(end.exit_step(), 50U);
  EXPECT_EQ(coordinator_->Spooled(1, 1, 0, v1::STREAM_LOG), Lines(50));
  EXPECT_FALSE(coordinator_->saw_bad_append());
  Desire({});
  coordinator_->WaitForReport([](const v1::AgentReport& r) { return r.ranks_size() == 0; });
  EXPECT_FALSE(std::filesystem::exists(state_ + "/workers/0/ranks/1-1-0"));
}

TEST_F(AgentTest, TellsWhyARankEnded) {
  StartAgent(kScripted, "4");
  Desire({MakeRank(1, "exit-3", 0), MakeRank(1, "abort", 1), MakeRank(1, "kill-itself", 2)});
  const v1::RankReport exited = WaitForEnd(0);
  EXPECT_EQ(exited.exit_kind(), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_EQ(exited.exit_reason(),
            "exited with code 3 without saying why; its last line: cannot go on");
  const v1::RankReport aborted = WaitForEnd(1);
  EXPECT_EQ(aborted.exit_kind(), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_EQ(aborted.exit_reason(), "ended by SIGABRT");
  const v1::RankReport killed = WaitForEnd(2);
  EXPECT_EQ(killed.exit_kind(), v1::EXIT_KIND_INFRASTRUCTURE);
  EXPECT_NE(killed.exit_reason().find("SIGKILL"), std::string::npos);
}

TEST_F(AgentTest, EndsARankThatHoldsTooMuchMemory) {
  StartAgent(kScripted);
  v1::DesiredRank rank = MakeRank(1, "eat");
  rank.mutable_spec()->mutable_resources()->set_memory_mib_per_rank(100);
  Desire({rank});
  const v1::RankReport end = WaitForEnd();
  EXPECT_EQ(end.exit_kind(), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_EQ(end.exit_reason().rfind("rank 0 held ", 0), 0U) << end.exit_reason();
  EXPECT_NE(end.exit_reason().find("MiB, more than memory_mib_per_rank = 100"), std::string::npos);
}

TEST_F(AgentTest, ObeysOnlyNewerAnswers) {
  StartAgent(kScripted);
  DesireAs(2, 5, {MakeRank(1, "forever")});
  const v1::RankReport running =
      WaitForRank([](const v1::RankReport& r) { return r.phase() == v1::RANK_PHASE_RUNNING; });
  DesireAs(2, 4, {});   // Late.
  DesireAs(1, 99, {});  // Of a coordinator before.
  DesireAs(2, 6, {MakeRank(1, "forever"), MakeRank(1, "forever", 1)});
  WaitForRank([](const v1::RankReport& r) { return r.phase() == v1::RANK_PHASE_RUNNING; }, 1);
  const v1::RankReport still = WaitForRank([](const v1::RankReport&) { return true; });
  EXPECT_EQ(still.pid(), running.pid());
  EXPECT_EQ(still.phase(), v1::RANK_PHASE_RUNNING);
  DesireAs(3, 1, {});  // A later coordinator starts to count anew.
  const v1::AgentReport report =
      coordinator_->WaitForReport([](const v1::AgentReport& r) { return r.obeyed().epoch() == 3; });
  WaitForEnd();
  EXPECT_EQ(report.obeyed().n(), 1U);
}

TEST_F(AgentTest, CancelledStubbornRanksLeaveNothing) {
  StartAgent(kStubborn);
  constexpr int kJobs = 5;
  for (int job = 1; job <= kJobs; ++job) {
    Desire({MakeRank(static_cast<std::uint64_t>(job), "stubborn", 0),
            MakeRank(static_cast<std::uint64_t>(job), "stubborn", 1)});
    for (std::uint32_t rank = 0; rank < 2; ++rank) {
      coordinator_->WaitForSpooled(static_cast<std::uint64_t>(job), 1, rank, v1::STREAM_LOG,
                                   "ready");
    }
    EXPECT_EQ(ProcessesLeft(), 8);
    EXPECT_GT(SegmentsLeft(), 0);
    Desire({});
    coordinator_->WaitForReport([job](const v1::AgentReport& r) {
      int released = 0;
      for (const v1::RankReport& rank : r.ranks()) {
        released += rank.job_id() == static_cast<std::uint64_t>(job) && rank.released() ? 1 : 0;
      }
      return released == 2;
    });
    EXPECT_EQ(ProcessesLeft(), 0);
    EXPECT_EQ(agent::DescendantsOf(agent::ListProcesses(), agent_).size(), 0U);
    EXPECT_EQ(SegmentsLeft(), 0);
    const std::string log =
        coordinator_->Spooled(static_cast<std::uint64_t>(job), 1, 0, v1::STREAM_LOG);
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(log.c_str() + 5)));
    EXPECT_NE(::connect(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ::close(listener);
  }
}

TEST_F(AgentTest, EndingOneRankSparesTheOthers) {
  StartAgent(kStubborn);
  Desire({MakeRank(1, "stubborn", 0), MakeRank(1, "stubborn", 1)});
  coordinator_->WaitForSpooled(1, 1, 0, v1::STREAM_LOG, "ready");
  coordinator_->WaitForSpooled(1, 1, 1, v1::STREAM_LOG, "ready");
  Desire({MakeRank(1, "stubborn", 1)});
  WaitForEnd(0);
  const v1::RankReport other = WaitForRank([](const v1::RankReport&) { return true; }, 1);
  EXPECT_NE(other.phase(), v1::RANK_PHASE_EXITED);
  EXPECT_EQ(::kill(other.pid(), 0), 0);
  EXPECT_EQ(ProcessesLeft(), 3);  // Itself, its child, its grandchild; nobody knows the nameless.
}

TEST_F(AgentTest, LogsAreCompleteAfterTheCoordinatorWasAway) {
  StartAgent(kScripted);
  Desire({MakeRank(1, "count-slowly")});
  for (int i = 1; i <= 3; ++i) {
    coordinator_->WaitForSpooled(1, 1, 0, v1::STREAM_LOG, "line " + std::to_string(40 * i) + "\n");
    coordinator_->Stop();
    const std::string log = state_ + "/workers/0/ranks/1-1-0/log";
    const std::string mark = "line " + std::to_string(40 * i + 20) + "\n";
    WaitUntil([&] { return ReadFile(log).ok() && ReadFile(log)->find(mark) != std::string::npos; },
              "the rank to go on");
    coordinator_->Start();
  }
  const v1::RankReport end = WaitForEnd();
  EXPECT_EQ(end.exit_kind(), v1::EXIT_KIND_SUCCESS);
  EXPECT_EQ(coordinator_->Spooled(1, 1, 0, v1::STREAM_LOG), Lines(200));
  EXPECT_FALSE(coordinator_->saw_bad_append());
}

TEST_F(AgentTest, ANewAgentEndsLeftoversAndForwardsTheirLogs) {
  StartAgent(kStubborn);
  Desire({MakeRank(1, "stubborn")});
  coordinator_->WaitForSpooled(1, 1, 0, v1::STREAM_LOG, "ready");
  const std::string incarnation = coordinator_->last_report().incarnation();
  coordinator_->Stop();
  KillAgent(SIGKILL);
  const std::string log = state_ + "/workers/0/ranks/1-1-0/log";
  {
    const Result<FileDescriptor> file = FileDescriptor::Open(log, O_WRONLY | O_APPEND);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(WriteAll(file->get(), "last words", log).ok());
  }
  EXPECT_GT(SegmentsLeft(), 0);
  Desire({});
  StartAgent(kStubborn);
  coordinator_->Start();
  coordinator_->WaitForReport(
      [&](const v1::AgentReport& r) { return r.incarnation() != incarnation; });
  EXPECT_EQ(ProcessesLeft(), 0);
  EXPECT_EQ(SegmentsLeft(), 0);
  coordinator_->WaitForSpooled(1, 1, 0, v1::STREAM_LOG, "ready\nlast words\n");
  WaitUntil([&] { return !std::filesystem::exists(log); }, "the forwarded spool to go");
}

TEST_F(AgentTest, UploadsCheckpointsAfterTheirMetrics) {
  StartAgent(kScripted);
  coordinator_->RefuseUploads({grpc::StatusCode::UNAVAILABLE, "not now"});
  Desire({MakeRank(1, "publish")});
  coordinator_->WaitForSpooled(1, 1, 0, v1::STREAM_METRICS, "{\"step\":3}\n");
  coordinator_->Stop();
  coordinator_->RefuseUploads(grpc::Status::OK);
  coordinator_->Start();
  EXPECT_EQ(WaitForEnd().exit_kind(), v1::EXIT_KIND_SUCCESS);
  const auto checkpoints = coordinator_->checkpoints();
  ASSERT_TRUE(checkpoints.contains({1, 3}));
  EXPECT_EQ(checkpoints.at({1, 3}).at("model.safetensors"), std::string(3'000'000, 'w'));
  EXPECT_EQ(checkpoints.at({1, 3}).count("manifest.json"), 1U);
  EXPECT_FALSE(std::filesystem::exists(state_ + "/workers/0/ranks/1-1-0/step-3"));
}

TEST_F(AgentTest, PassesARefusalOnToTheRank) {
  StartAgent(kScripted);
  coordinator_->RefuseUploads({grpc::StatusCode::ABORTED, "attempt 2 has taken over"});
  Desire({MakeRank(1, "publish")});
  EXPECT_EQ(WaitForEnd().exit_kind(), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_EQ(coordinator_->Spooled(1, 1, 0, v1::STREAM_LOG),
            "published: 10 attempt 2 has taken over\n");
}

TEST_F(AgentTest, DropsMetricsThatAreRefused) {
  StartAgent(kScripted);
  coordinator_->RefuseMetrics({grpc::StatusCode::ABORTED, "attempt 2 has taken over"});
  Desire({MakeRank(1, "count")});
  EXPECT_TRUE(WaitForEnd().drained());
  EXPECT_EQ(coordinator_->Spooled(1, 1, 0, v1::STREAM_LOG), Lines(50));
}

TEST_F(AgentTest, RanksMeetThroughTheCoordinator) {
  StartAgent(kScripted);
  Desire({MakeRank(1, "meet", 0), MakeRank(1, "meet", 1)});
  EXPECT_EQ(WaitForEnd(0).exit_kind(), v1::EXIT_KIND_SUCCESS);
  EXPECT_EQ(WaitForEnd(1).exit_kind(), v1::EXIT_KIND_SUCCESS);
}

class ResumeTest : public AgentTest {
 protected:
  // Starts a rank from a checkpoint whose file is `content`, where the manifest says `promised`.
  v1::RankReport Resume(const std::string& content, const std::string& promised) {
    const std::string manifest = R"({"files":[{"path":"model.safetensors","sha256":")" +
                                 Sha256Of(promised) + R"(","size":)" +
                                 std::to_string(promised.size()) + R"(}],"step":7})";
    coordinator_->PutCheckpoint(1, 7,
                                {{"manifest.json", manifest}, {"model.safetensors", content}});
    StartAgent(kScripted);
    v1::DesiredRank rank = MakeRank(1, "resume");
    rank.set_resume_step(7);
    rank.set_resume_sha256(Sha256Of(manifest));
    Desire({rank});
    return WaitForEnd();
  }
};

TEST_F(ResumeTest, StartsARankFromACheckpoint) {
  EXPECT_EQ(Resume("weights", "weights").exit_kind(), v1::EXIT_KIND_SUCCESS);
  EXPECT_EQ(coordinator_->Spooled(1, 1, 0, v1::STREAM_LOG), "resumes with weights\n");
  Desire({});
  WaitUntil([&] { return !std::filesystem::exists(state_ + "/workers/0/resume/1-1"); },
            "the fetched checkpoint to go");
}

TEST_F(ResumeTest, RefusesACheckpointThatIsNotWhatItsManifestSays) {
  const v1::RankReport end = Resume("weighty", "weights");
  EXPECT_EQ(end.exit_kind(), v1::EXIT_KIND_INFRASTRUCTURE);
  EXPECT_NE(end.exit_reason().find("fetch the checkpoint of step 7"), std::string::npos);
  EXPECT_NE(end.exit_reason().find("model.safetensors"), std::string::npos);
}

TEST_F(AgentTest, RefusesSharedMemoryBetweenHosts) {
  StartAgent(kScripted);
  v1::DesiredRank rank = MakeRank(1, "count");
  rank.mutable_spec()->mutable_resources()->set_collectives(v1::COLLECTIVES_SHM);
  rank.add_members()->set_host_id("a");
  rank.add_members()->set_host_id("b");
  Desire({rank});
  const v1::RankReport end = WaitForEnd();
  EXPECT_EQ(end.exit_kind(), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_NE(end.exit_reason().find("run on several hosts"), std::string::npos);
}

TEST_F(AgentTest, EndsItsRanksWhenItIsAskedToEnd) {
  StartAgent(kStubborn);
  Desire({MakeRank(1, "stubborn")});
  coordinator_->WaitForSpooled(1, 1, 0, v1::STREAM_LOG, "ready");
  KillAgent(SIGTERM);
  EXPECT_EQ(ProcessesLeft(), 0);
  EXPECT_EQ(SegmentsLeft(), 0);
}

// Its gang may run on under another agent of this host.
TEST_F(AgentTest, ARolloutWorkersEndSparesTheSharedMemoryOfItsGang) {
  const std::string segment =
      "/dev/shm/" + wire::SharedMemoryPrefix(ClusterId(), 1, 1) + "of-the-gang";
  ASSERT_TRUE(WriteFileAtomically(segment, "gradients").ok());
  StartAgent(kScripted);
  Desire({MakeRolloutWorker(1, "forever", 1)});
  coordinator_->WaitForSpooled(1, 1, 1, v1::STREAM_LOG, "waits for ever");
  Desire({MakeRolloutWorker(1, "forever", 2)});
  WaitForEnd(1);
  EXPECT_EQ(SegmentsLeft(), 1);
  coordinator_->WaitForSpooled(1, 1, 2, v1::STREAM_LOG, "waits for ever");
  const std::string incarnation = coordinator_->last_report().incarnation();
  KillAgent(SIGKILL);
  Desire({});
  StartAgent(kScripted);
  coordinator_->WaitForReport(
      [&](const v1::AgentReport& r) { return r.incarnation() != incarnation; });
  EXPECT_EQ(ProcessesLeft(), 0);
  EXPECT_EQ(SegmentsLeft(), 1);
  std::filesystem::remove(segment);
}

// It has no checkpoint that anybody waits for.
TEST_F(AgentTest, EndsRolloutWorkersAtOnceWhenItIsAskedToEnd) {
  StartAgent(kScripted, "2", "600000", /*leave_ms=*/"60000");
  Desire({MakeRank(1, "forever"), MakeRolloutWorker(1, "forever", 1)});
  for (std::uint32_t rank : {0U, 1U}) {
    coordinator_->WaitForSpooled(1, 1, rank, v1::STREAM_LOG, "waits for ever");
  }
  ::kill(agent_, SIGTERM);
  WaitForEnd(1);
  const v1::RankReport member = WaitForRank([](const v1::RankReport&) { return true; });
  EXPECT_EQ(member.phase(), v1::RANK_PHASE_RUNNING);
  Desire({});
  ::waitpid(agent_, nullptr, 0);
  agent_ = 0;
}

// Not a limit, a figure: from the answer's sending to the rank's main().
TEST_F(AgentTest, StartsARankWithoutWaiting) {
  StartAgent(kScripted);
  coordinator_->WaitForReport([](const v1::AgentReport& r) { return !r.worker().empty(); });
  for (std::uint64_t job = 1; job <= 20; ++job) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const std::int64_t start_us = now.tv_sec * 1'000'000 + now.tv_nsec / 1'000;
    Desire({MakeRank(job, "time")});
    coordinator_->WaitForSpooled(job, 1, 0, v1::STREAM_LOG, "\n");
    const std::string log = coordinator_->Spooled(job, 1, 0, v1::STREAM_LOG);
    ASSERT_EQ(log.rfind("main at ", 0), 0U);
    const std::int64_t main_us = std::atoll(log.c_str() + 8);
    EXPECT_GT(main_us, start_us);
    RecordProperty("desired_to_main_us_" + std::to_string(job), std::to_string(main_us - start_us));
  }
}

}  // namespace
}  // namespace muster
