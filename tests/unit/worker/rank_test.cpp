// Real ranks under a real agent, with a coordinator of the test's.
#include "worker/rank/rank.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/agent_fixture.h"

namespace muster {
namespace {

class RankTest : public AgentTest {
 protected:
  // The ranks of a gang of `ranks` on this worker.
  std::vector<v1::DesiredRank> Gang(const v1::JobSpec& spec, std::uint32_t ranks,
                                    std::uint64_t job = 1) {
    std::vector<v1::DesiredRank> gang;
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      v1::DesiredRank desired = MakeRank(job, spec.name(), rank);
      *desired.mutable_spec() = spec;
      for (std::uint32_t member = 0; member < ranks; ++member) {
        desired.add_members()->set_rank(member);
      }
      gang.push_back(desired);
    }
    return gang;
  }
  static v1::JobSpec CollectiveSpec(v1::Collectives transport) {
    v1::JobSpec spec;
    spec.set_name("wires");
    spec.mutable_resources()->set_collectives(transport);
    spec.mutable_collective()->set_steps(5);
    spec.mutable_collective()->set_bytes(40'000);
    return spec;
  }
  // A tiny classifier of points by the sign of x + y.
  v1::JobSpec SupervisedSpec() {
    std::string csv = "x,y,label\n";
    for (int i = 0; i < 256; ++i) {
      const int x = (i * 37) % 101 - 50, y = (i * 53) % 103 - 51;
      csv += std::to_string(x) + "," + std::to_string(y) + "," + (x + y > 0 ? "1" : "0") + "\n";
    }
    EXPECT_TRUE(WriteFileAtomically(state_ + "/points.csv", csv).ok());
    v1::JobSpec spec;
    spec.set_name("points");
    spec.set_lanes(4);
    spec.mutable_checkpoint()->set_every_steps(10);
    v1::SupervisedRecipe& recipe = *spec.mutable_supervised();
    recipe.mutable_data()->set_train_csv(state_ + "/points.csv");
    recipe.mutable_data()->set_label_column("label");
    recipe.mutable_model()->mutable_mlp()->add_hidden(8);
    recipe.mutable_optimizer()->set_learning_rate(1e-2);
    recipe.mutable_optimizer()->set_beta1(0.9);
    recipe.mutable_optimizer()->set_beta2(0.999);
    recipe.mutable_optimizer()->set_epsilon(1e-8);
    recipe.set_steps(30);
    recipe.set_batch_size(32);
    return spec;
  }
};

TEST_F(RankTest, AGangChecksItsWiresOverSharedMemoryAndTcp) {
  StartAgent(MUSTER_RANK_PROGRAM);
  std::uint64_t job = 0;
  for (const v1::Collectives transport : {v1::COLLECTIVES_AUTO, v1::COLLECTIVES_GLOO}) {
    SCOPED_TRACE(v1::Collectives_Name(transport));
    Desire(Gang(CollectiveSpec(transport), 2, ++job));
    for (std::uint32_t rank = 0; rank < 2; ++rank) {
      const v1::RankReport end = WaitForRank(
          [job](const v1::RankReport& r) {
            return r.job_id() == job && r.released() && r.drained();
          },
          rank);
      EXPECT_EQ(end.exit_kind(), v1::EXIT_KIND_SUCCESS) << end.exit_reason();
      EXPECT_EQ(end.exit_step(), 5U);
      EXPECT_EQ(end.steps_total(), 5U);
    }
    const std::string metrics = coordinator_->Spooled(job, 1, 0, v1::STREAM_METRICS);
    EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 5) << metrics;
    EXPECT_NE(metrics.find("collective/busbw_gbps"), std::string::npos);
  }
  EXPECT_EQ(SegmentsLeft(), 0);
}

TEST_F(RankTest, ADeadPeerIsInfrastructureAndNamed) {
  StartAgent(MUSTER_RANK_PROGRAM);
  v1::JobSpec spec = CollectiveSpec(v1::COLLECTIVES_AUTO);
  spec.mutable_collective()->set_steps(1'000'000);
  Desire(Gang(spec, 2));
  const v1::RankReport running =
      WaitForRank([](const v1::RankReport& r) { return r.phase() == v1::RANK_PHASE_RUNNING; }, 1);
  ::kill(running.pid(), SIGKILL);
  const v1::RankReport killed = WaitForEnd(1);
  EXPECT_EQ(killed.exit_kind(), v1::EXIT_KIND_INFRASTRUCTURE);
  const v1::RankReport survivor = WaitForEnd(0);
  EXPECT_EQ(survivor.exit_kind(), v1::EXIT_KIND_INFRASTRUCTURE);
  EXPECT_NE(survivor.exit_reason().find("rank 1"), std::string::npos) << survivor.exit_reason();
  EXPECT_EQ(SegmentsLeft(), 0);
}

TEST_F(RankTest, RanksEndWithTheirAgent) {
  StartAgent(MUSTER_RANK_PROGRAM);
  v1::JobSpec spec = CollectiveSpec(v1::COLLECTIVES_AUTO);
  spec.mutable_collective()->set_steps(1'000'000);
  Desire(Gang(spec, 2));
  WaitForRank([](const v1::RankReport& r) { return r.phase() == v1::RANK_PHASE_RUNNING; }, 1);
  EXPECT_EQ(ProcessesLeft(), 2);
  KillAgent(SIGKILL);
  WaitUntil([this] { return ProcessesLeft() == 0; }, "the ranks to end");
}

TEST_F(RankTest, TheSameBitsOnOneAndTwoRanksAndAfterAResume) {
  StartAgent(MUSTER_RANK_PROGRAM);
  const v1::JobSpec spec = SupervisedSpec();
  std::uint64_t job = 0;
  const auto run = [&](std::uint32_t ranks, bool resume) {
    std::vector<v1::DesiredRank> gang = Gang(spec, ranks, ++job);
    if (resume) {
      const FakeCoordinator::Files middle = coordinator_->checkpoints().at({job - 1, 10});
      coordinator_->PutCheckpoint(job, 10, middle);
      for (v1::DesiredRank& rank : gang) {
        rank.set_resume_step(10);
        rank.set_resume_sha256(Sha256Of(middle.at("manifest.json")));
      }
    }
    Desire(gang);
    const v1::RankReport end = WaitForRank(
        [&](const v1::RankReport& r) { return r.job_id() == job && r.released() && r.drained(); });
    EXPECT_EQ(end.exit_kind(), v1::EXIT_KIND_SUCCESS) << end.exit_reason();
    EXPECT_EQ(end.exit_step(), 30U);
    const auto checkpoints = coordinator_->checkpoints();
    EXPECT_TRUE(checkpoints.contains({job, 30}));
    return Sha256Of(checkpoints.at({job, 30}).at("manifest.json"));
  };
  const std::string one = run(1, false);
  EXPECT_EQ(run(2, false), one);
  EXPECT_EQ(run(2, true), one);
}

// A program whose descendants leave its session, with nobody to end them but their rank.
v1::JobSpec CommandSpec(const std::string& line) {
  v1::JobSpec spec;
  spec.set_name("command");
  v1::CommandRecipe& command = *spec.mutable_command();
  for (const char* word : {"sh", "-c"}) command.add_arguments(word);
  command.add_arguments(line);
  command.set_grace_seconds(5);
  return spec;
}

TEST_F(RankTest, ACommandEndsWithAllItStartedWhenNobodyIsHeardOf) {
  StartAgent(MUSTER_RANK_PROGRAM, "2", "1000");
  Desire(Gang(CommandSpec("setsid sleep 1000 & exec sleep 1000"), 1));
  WaitForRank([](const v1::RankReport& r) { return r.phase() == v1::RANK_PHASE_RUNNING; });
  WaitUntil([this] { return ProcessesLeft() == 3; }, "rank, program and grandchild to run");
  ::kill(agent_, SIGSTOP);  // It can end nothing now.
  WaitUntil([this] { return ProcessesLeft() == 0; }, "all of them to end");
}

TEST_F(RankTest, ACommandAndAllItStartedEndWithTheAgent) {
  StartAgent(MUSTER_RANK_PROGRAM);
  Desire(Gang(CommandSpec("setsid sleep 1000 & exec sleep 1000"), 1));
  WaitUntil([this] { return ProcessesLeft() == 3; }, "rank, program and grandchild to run");
  KillAgent(SIGKILL);
  WaitUntil([this] { return ProcessesLeft() == 0; }, "all of them to end");
}

TEST_F(RankTest, ACommandsExitCodeIsReportedAndAKillIsNoFaultOfIts) {
  StartAgent(MUSTER_RANK_PROGRAM);
  Desire(Gang(CommandSpec("exit 3"), 1, 1));
  const v1::RankReport failed = WaitForEnd();
  EXPECT_EQ(failed.exit_kind(), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_EQ(failed.exit_code(), 3);
  EXPECT_EQ(failed.exit_reason(), "`sh` exited with code 3");
  Desire(Gang(CommandSpec("kill -KILL $$"), 1, 2));
  const v1::RankReport killed = WaitForRank(
      [](const v1::RankReport& r) { return r.job_id() == 2 && r.released() && r.drained(); });
  EXPECT_EQ(killed.exit_kind(), v1::EXIT_KIND_INFRASTRUCTURE) << killed.exit_reason();
}

TEST_F(RankTest, SaysWhatIsWrongWithItsData) {
  StartAgent(MUSTER_RANK_PROGRAM);
  v1::JobSpec spec = SupervisedSpec();
  spec.mutable_supervised()->mutable_data()->set_train_csv("/nowhere/points.csv");
  Desire(Gang(spec, 1));
  const v1::RankReport end = WaitForEnd();
  EXPECT_EQ(end.exit_kind(), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_NE(end.exit_reason().find("/nowhere/points.csv"), std::string::npos) << end.exit_reason();
}

}  // namespace
}  // namespace muster
