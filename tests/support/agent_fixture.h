// A real agent process, ranks that follow a script, and a coordinator that says what the test says.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"
#include "tests/support/fake_coordinator.h"
#include "worker/agent/process_tree.h"
#include "worker/agent/rank_cgroup.h"

namespace muster {

inline void WaitUntil(const std::function<bool()>& condition, const char* what) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << "still waiting for: " << what;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    std::string folder = testing::TempDir() + "/agent_test.XXXXXX";
    state_ = std::filesystem::canonical(::mkdtemp(folder.data()));
    coordinator_ = std::make_unique<FakeCoordinator>(state_ + "/address");
  }
  ~AgentTest() override {
    if (agent_ > 0) KillAgent(SIGKILL);
    if (const Result<std::string> cgroups = ReadFile(state_ + "/workers/0/cgroup"); cgroups.ok()) {
      agent::EndCgroups(*cgroups, agent::RankCgroups::Prefix(Tag()));
    }
    agent::EndTagged(Tag() + "/", state_ + "/workers/0/ranks/");
    coordinator_.reset();
    std::filesystem::remove_all(state_);
  }

  void StartAgent(const char* rank_executable, const char* slots = "2",
                  const char* orphan_ms = "600000", const char* leave_ms = "500") {
    agent_ = ::fork();
    ASSERT_GE(agent_, 0);
    if (agent_ == 0) {
      ::execl(MUSTER_AGENT_PROGRAM, MUSTER_AGENT_PROGRAM, state_.c_str(), rank_executable, slots,
              orphan_ms, leave_ms, nullptr);
      ::_exit(127);
    }
  }
  void KillAgent(int signal) {
    ::kill(agent_, signal);
    ::waitpid(agent_, nullptr, 0);
    agent_ = 0;
  }

  // One a test: agents remove the shared memory of their own cluster's jobs.
  std::string ClusterId() const { return Sha256Of(state_).substr(0, 8) + "-test"; }
  std::string Tag() const { return Sha256Of(state_ + "/workers/0").substr(0, 8); }

  static v1::DesiredRank MakeRank(std::uint64_t job, const std::string& script,
                                  std::uint32_t rank = 0) {
    v1::DesiredRank desired;
    desired.set_job_id(job);
    desired.set_attempt(1);
    desired.set_rank(rank);
    desired.mutable_spec()->set_name(script);
    return desired;
  }
  // Beside a gang of one rank.
  static v1::DesiredRank MakeRolloutWorker(std::uint64_t job, const std::string& script,
                                           std::uint32_t rank) {
    v1::DesiredRank desired = MakeRank(job, script, rank);
    desired.add_members()->set_rank(0);
    return desired;
  }
  void Desire(const std::vector<v1::DesiredRank>& ranks) { DesireAs(1, ++n_, ranks); }
  void DesireAs(std::uint64_t epoch, std::uint64_t n, const std::vector<v1::DesiredRank>& ranks) {
    v1::DesiredState state;
    state.set_cluster_id(ClusterId());
    state.mutable_number()->set_epoch(epoch);
    state.mutable_number()->set_n(n);
    for (const v1::DesiredRank& rank : ranks) *state.add_ranks() = rank;
    coordinator_->Desire(state);
  }
  v1::RankReport WaitForRank(const std::function<bool(const v1::RankReport&)>& wanted,
                             std::uint32_t rank = 0) {
    v1::RankReport found;
    coordinator_->WaitForReport([&](const v1::AgentReport& report) {
      for (const v1::RankReport& one : report.ranks()) {
        if (one.rank() == rank && wanted(one)) return found = one, true;
      }
      return false;
    });
    return found;
  }
  v1::RankReport WaitForEnd(std::uint32_t rank = 0) {
    return WaitForRank([](const v1::RankReport& r) { return r.released() && r.drained(); }, rank);
  }

  // Processes of ranks, as one sees them who knows the tests' stubborn rank.
  int ProcessesLeft() const {
    int left = 0;
    for (const agent::ProcessInfo& process : agent::ListProcesses()) {
      std::error_code ignored;
      const std::string base = "/proc/" + std::to_string(process.pid);
      const std::string output = std::filesystem::read_symlink(base + "/fd/1", ignored);
      left += agent::EnvironmentOf(process.pid, agent::kAttemptVariable).rfind(Tag(), 0) == 0 ||
              output.rfind(state_ + "/workers/0/ranks/", 0) == 0;
    }
    return left;
  }
  int SegmentsLeft() const {
    const std::string prefix = "muster-" + ClusterId().substr(0, 8) + "-";
    int left = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
      left += entry.path().filename().string().rfind(prefix, 0) == 0;
    }
    return left;
  }

  std::string state_;
  std::unique_ptr<FakeCoordinator> coordinator_;
  pid_t agent_ = 0;
  std::uint64_t n_ = 0;
};

}  // namespace muster
