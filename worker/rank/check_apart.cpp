#include "worker/rank/check_apart.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/file.h"

namespace muster::rank {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kEnd = '\0';  // Behind the answer: what breaks off is none.
constexpr std::size_t kAnswerBytesMax = 1U << 16U;

[[noreturn]] void RunCheck(const std::function<Status()>& check, int answer, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(EXIT_FAILURE);
  const rlimit no_core = {0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  const int quiet = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(quiet, stream);
  const Status checked = check();
  const std::string text =
      std::to_string(static_cast<int>(checked.code())) + " " + checked.message() + kEnd;
  const Status written = WriteAll(answer, text, "answer");
  ::_exit(written.ok() ? EXIT_SUCCESS : EXIT_FAILURE);  // No destructors of a library's.
}

// Everything up to the end of the answer; false when the time is over.
bool ReadAnswer(int from, Clock::time_point deadline, std::string& answer) {
  while (answer.size() < kAnswerBytesMax && !answer.ends_with(kEnd)) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd ready = {from, POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(left)) <= 0) continue;  // Late, or a signal.
    char block[4096];
    const ssize_t got = ::read(from, block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;  // It has ended.
    answer.append(block, static_cast<std::size_t>(got));
  }
  return true;
}

Status StatusOf(std::string_view answer) {
  const std::size_t space = answer.find(' ');
  const int code = std::atoi(std::string(answer.substr(0, space)).c_str());
  if (code == 0) return {};
  return {static_cast<StatusCode>(code),
          std::string(answer.substr(space + 1, answer.size() - space - 2))};
}

}  // namespace

Status CheckApart(const std::string& what, const std::function<Status()>& check,
                  std::chrono::milliseconds limit) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FromErrno("pipe");
  const FileDescriptor from(ends[0]);
  FileDescriptor to(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return FromErrno("fork");
  if (pid == 0) RunCheck(check, to.get(), parent);
  to = FileDescriptor();
  std::string answer;
  const bool in_time = ReadAnswer(from.get(), Clock::now() + limit, answer);
  const bool whole = answer.ends_with(kEnd);
  if (!in_time || whole) ::kill(pid, SIGKILL);  // Threads of a library's may outlive its answer.
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (whole) return StatusOf(answer);
  const std::string tried = " when it was tried out";
  if (!in_time) {
    return InvalidArgument(what + " did not come back within " +
                           std::to_string(limit.count() / 1000) + " s" + tried);
  }
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return InvalidArgument(what + " crashed with signal " + std::to_string(signal) + " (" +
                           ::strsignal(signal) + ")" + tried);
  }
  return InvalidArgument(what + " ended the process with exit code " +
                         std::to_string(WEXITSTATUS(status)) + tried);
}

}  // namespace muster::rank
