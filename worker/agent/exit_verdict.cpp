#include "worker/agent/exit_verdict.h"

#include <csignal>
#include <cstring>

#include "wire/attempt_name.h"

namespace muster::agent {

std::string SignalName(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : "SIG" + std::string(name);
}

v1::RankExit JudgeExit(const ExitFacts& facts) {
  v1::RankExit verdict;
  if (facts.ended_because.empty() && facts.report &&
      facts.report->kind() != v1::EXIT_KIND_UNSPECIFIED) {
    return *facts.report;
  }
  verdict.set_step(facts.steps_done);
  if (!facts.ended_because.empty()) {
    verdict.set_kind(v1::EXIT_KIND_OWN_FAILURE);
    verdict.set_reason(facts.ended_because);
    return verdict;
  }
  const std::string tail =
      facts.last_log_line.empty() ? "" : "; its last line: " + facts.last_log_line;
  if (facts.signaled && facts.status == SIGKILL) {
    verdict.set_kind(v1::EXIT_KIND_INFRASTRUCTURE);
    verdict.set_reason(
        (facts.machine_out_of_memory
             ? "killed by the kernel: the machine has no memory left"
             : "killed by SIGKILL (by the kernel for lack of memory, or by somebody)") +
        tail);
  } else if (facts.signaled && facts.status == SIGTERM) {
    verdict.set_kind(v1::EXIT_KIND_INFRASTRUCTURE);
    verdict.set_reason("ended by SIGTERM" + tail);
  } else if (facts.disk_full || (!facts.signaled && facts.status == wire::kExitWithoutReport)) {
    // Room may have been made meanwhile.
    verdict.set_kind(v1::EXIT_KIND_INFRASTRUCTURE);
    verdict.set_reason("the worker's disk is full: make room there" + tail);
  } else if (facts.signaled) {
    verdict.set_kind(v1::EXIT_KIND_OWN_FAILURE);
    verdict.set_reason("ended by " + SignalName(facts.status) + tail);
  } else {
    verdict.set_kind(v1::EXIT_KIND_OWN_FAILURE);
    verdict.set_reason("exited with code " + std::to_string(facts.status) + " without saying why" +
                       tail);
  }
  return verdict;
}

}  // namespace muster::agent
