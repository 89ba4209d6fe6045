#include "worker/agent/exit_verdict.h"

#include <gtest/gtest.h>

#include <csignal>

#include "wire/attempt_name.h"

namespace muster::agent {
namespace {

TEST(ExitVerdictTest, AMachineWithoutMemoryIsNotTheRanksFault) {
  ExitFacts facts;
  facts.signaled = true;
  facts.status = SIGKILL;
  facts.machine_out_of_memory = true;
  const v1::RankExit verdict = JudgeExit(facts);
  EXPECT_EQ(verdict.kind(), v1::EXIT_KIND_INFRASTRUCTURE);
  EXPECT_EQ(verdict.reason(), "killed by the kernel: the machine has no memory left");
}

TEST(ExitVerdictTest, AFullDiskIsNotTheRanksFault) {
  ExitFacts facts;
  facts.status = 1;
  facts.disk_full = true;
  facts.last_log_line = "muster: cannot write exit.pb";
  const v1::RankExit verdict = JudgeExit(facts);
  EXPECT_EQ(verdict.kind(), v1::EXIT_KIND_INFRASTRUCTURE);
  EXPECT_EQ(verdict.reason(),
            "the worker's disk is full: make room there; its last line: muster: cannot write "
            "exit.pb");
  // Also when there is room again by the time that the agent looks.
  facts.disk_full = false;
  EXPECT_EQ(JudgeExit(facts).kind(), v1::EXIT_KIND_OWN_FAILURE);
  facts.status = wire::kExitWithoutReport;
  EXPECT_EQ(JudgeExit(facts).kind(), v1::EXIT_KIND_INFRASTRUCTURE);
}

TEST(ExitVerdictTest, TheRanksOwnReportIsBelieved) {
  ExitFacts facts;
  facts.signaled = true;
  facts.status = SIGKILL;
  facts.report.emplace();
  facts.report->set_kind(v1::EXIT_KIND_INFRASTRUCTURE);
  facts.report->set_reason("lost rank 1");
  facts.report->set_step(12);
  const v1::RankExit verdict = JudgeExit(facts);
  EXPECT_EQ(verdict.kind(), v1::EXIT_KIND_INFRASTRUCTURE);
  EXPECT_EQ(verdict.reason(), "lost rank 1");
  EXPECT_EQ(verdict.step(), 12U);
}

TEST(ExitVerdictTest, TheAgentsReasonForEndingItWins) {
  ExitFacts facts;
  facts.signaled = true;
  facts.status = SIGKILL;
  facts.ended_because = "rank 1 held 812 MiB, more than memory_mib_per_rank = 512";
  facts.steps_done = 4;
  const v1::RankExit verdict = JudgeExit(facts);
  EXPECT_EQ(verdict.kind(), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_EQ(verdict.reason(), facts.ended_because);
  EXPECT_EQ(verdict.step(), 4U);
}

TEST(ExitVerdictTest, BeingKilledIsNotTheRanksFault) {
  for (const int signal : {SIGKILL, SIGTERM}) {
    SCOPED_TRACE(signal);
    ExitFacts facts;
    facts.signaled = true;
    facts.status = signal;
    EXPECT_EQ(JudgeExit(facts).kind(), v1::EXIT_KIND_INFRASTRUCTURE);
    EXPECT_NE(JudgeExit(facts).reason().find(SignalName(signal)), std::string::npos);
  }
}

TEST(ExitVerdictTest, CrashesAndCodesAreItsOwnFaultAndNameTheLastLine) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) {
    SCOPED_TRACE(signal);
    ExitFacts facts;
    facts.signaled = true;
    facts.status = signal;
    facts.last_log_line = "index out of range";
    EXPECT_EQ(JudgeExit(facts).kind(), v1::EXIT_KIND_OWN_FAILURE);
    EXPECT_EQ(JudgeExit(facts).reason(),
              "ended by " + SignalName(signal) + "; its last line: index out of range");
  }
  ExitFacts facts;
  facts.status = 0;  // Success must be claimed, not fallen into.
  EXPECT_EQ(JudgeExit(facts).kind(), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_EQ(JudgeExit(facts).reason(), "exited with code 0 without saying why");
}

}  // namespace
}  // namespace muster::agent
