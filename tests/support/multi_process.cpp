#include "tests/support/multi_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <exception>

namespace muster::testing_support {
namespace {

using Clock = std::chrono::steady_clock;

struct Child {
  pid_t pid = -1;
  int report = -1;  // Read end of its pipe.
};

void WriteAll(int descriptor, const std::string& text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const ssize_t written = ::write(descriptor, text.data() + at, text.size() - at);
    if (written <= 0) return;
    at += static_cast<std::size_t>(written);
  }
}

// The exit code is 0 when `run` returned. _exit: the parent's buffers and fixtures are not ours.
[[noreturn]] void Run(const std::function<std::string(std::size_t)>& run, std::size_t index,
                      int report) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    WriteAll(report, run(index));
  } catch (const std::exception& error) {
    WriteAll(report, std::string("exception: ") + error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

Child Fork(const std::function<std::string(std::size_t)>& run, std::size_t index) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    Run(run, index, ends[1]);
  }
  ::close(ends[1]);
  return {pid, ends[0]};
}

// Everything up to the pipe's end, which comes when the process ends; kills it at the deadline.
ProcessResult Collect(const Child& child, Clock::time_point deadline) {
  ProcessResult result;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd readable{child.report, POLLIN, 0};
    if (::poll(&readable, 1, static_cast<int>(std::max<long>(left, 0))) == 0) {
      ::kill(child.pid, SIGKILL);
      break;
    }
    char bytes[4096];
    const ssize_t got = ::read(child.report, bytes, sizeof(bytes));
    if (got <= 0) break;
    result.report.append(bytes, static_cast<std::size_t>(got));
  }
  ::close(child.report);
  int status = 0;
  ::waitpid(child.pid, &status, 0);
  result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  result.ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return result;
}

}  // namespace

std::vector<ProcessResult> RunProcesses(std::size_t count,
                                        const std::function<std::string(std::size_t)>& run,
                                        double timeout_s) {
  const auto deadline =
      Clock::now() + std::chrono::milliseconds(static_cast<std::int64_t>(timeout_s * 1000));
  std::vector<Child> children;
  for (std::size_t index = 0; index < count; ++index) children.push_back(Fork(run, index));
  std::vector<ProcessResult> results;
  for (const Child& child : children) results.push_back(Collect(child, deadline));
  return results;
}

}  // namespace muster::testing_support
