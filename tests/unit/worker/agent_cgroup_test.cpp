// What an agent does with cgroups; skipped where there are none to be had.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "tests/support/agent_fixture.h"
#include "worker/agent/rank_cgroup.h"

namespace muster {
namespace {

class AgentCgroupTest : public AgentTest {
 protected:
  void SetUp() override {
    const Result<agent::RankCgroups> found = agent::RankCgroups::Detect(Tag());
    if (!found.ok()) GTEST_SKIP() << found.status().message();
    cgroup_ = found->parent() + "/" + agent::RankCgroups::Prefix(Tag()) + "1-1-0";
    // It starts a process that has left session, environment, output and parent behind.
    rank_ = state_ + "/hiding_rank";
    const Status wrote = WriteFileAtomically(
        rank_,
        "#!/bin/sh\nenv -i setsid -f sh -c 'setsid -f sh -c \"echo \\$\\$ > " + state_ +
            "/hidden; exec sleep 1000\" > /dev/null 2>&1 3>&-'\n"
            "while [ ! -s " +
            state_ +
            "/hidden ]; do :; done\n"
            "echo ready\nexec sleep 1000\n",
        0755);
    ASSERT_TRUE(wrote.ok()) << wrote.message();
    StartAgent(rank_.c_str());
    Desire({MakeRank(1, "hide")});
    coordinator_->WaitForSpooled(1, 1, 0, v1::STREAM_LOG, "ready");
    hidden_ = std::atoi(ReadFile(state_ + "/hidden")->c_str());
    ASSERT_TRUE(HiddenLives());
    EXPECT_TRUE(std::filesystem::exists(cgroup_));
  }
  bool HiddenLives() const {
    for (const agent::ProcessInfo& process : agent::ListProcesses()) {
      if (process.pid == hidden_) return process.alive();
    }
    return false;
  }

  std::string cgroup_;
  std::string rank_;
  pid_t hidden_ = 0;
};

TEST_F(AgentCgroupTest, ACancelledRankLeavesNeitherProcessesNorACgroup) {
  Desire({});
  WaitForEnd();
  EXPECT_FALSE(HiddenLives());
  EXPECT_FALSE(std::filesystem::exists(cgroup_));
}

// Nothing but the cgroup still tells whose the hidden process is.
TEST_F(AgentCgroupTest, ANewAgentEndsWhatOnlyTheCgroupShows) {
  const std::string incarnation = coordinator_->last_report().incarnation();
  KillAgent(SIGKILL);
  agent::EndTagged(Tag() + "/", state_ + "/workers/0/ranks/");
  ASSERT_TRUE(HiddenLives());  // A search of /proc does not find it.
  Desire({});
  StartAgent(rank_.c_str());
  coordinator_->WaitForReport(
      [&](const v1::AgentReport& r) { return r.incarnation() != incarnation; });
  WaitUntil([this] { return !HiddenLives(); }, "the hidden process to end");
  EXPECT_FALSE(std::filesystem::exists(cgroup_));
}

}  // namespace
}  // namespace muster
