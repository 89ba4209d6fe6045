#include "cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace muster::cli {
namespace {

FileDescriptor OpenPid(pid_t pid) {
  return FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

}  // namespace

Result<Process> Process::Start(const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<std::string> owned = {"muster"};
  owned.insert(owned.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : owned) argv.push_back(argument.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int failed =
      ::posix_spawn(&pid, "/proc/self/exe", &files, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) {
    errno = failed;
    return FromErrno("start muster " + arguments.front() + " (log " + log + ")");
  }
  Process process;
  process.pid_ = pid;
  process.descriptor_ = OpenPid(pid);  // A child stays until it is waited for: never another's.
  if (!process.descriptor_.valid()) return FromErrno("pidfd_open");
  return process;
}

Process Process::Holding(const std::string& lock_path) {
  Process process;
  const int pid = LockFile::Holder(lock_path);
  if (pid <= 0) return process;
  FileDescriptor descriptor = OpenPid(pid);
  // Still the holder after the descriptor was opened: so it is the one that the descriptor names.
  if (!descriptor.valid() || LockFile::Holder(lock_path) != pid) return process;
  process.pid_ = pid;
  process.descriptor_ = std::move(descriptor);
  return process;
}

bool Process::WaitForEnd(std::chrono::milliseconds timeout) {
  if (!valid()) return true;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd event = {descriptor_.get(), POLLIN, 0};
    const int ready = ::poll(&event, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready > 0) {
      Collect();
      return true;
    }
    if (ready == 0) return false;
    if (errno != EINTR) return false;
  }
}

void Process::Signal(int signal) const {
  if (valid()) ::syscall(SYS_pidfd_send_signal, descriptor_.get(), signal, nullptr, 0);
}

void Process::Stop(std::chrono::milliseconds grace) {
  Signal(SIGTERM);
  Signal(SIGCONT);  // One that was stopped could not end.
  if (WaitForEnd(grace)) return;
  Signal(SIGKILL);
  // Nothing survives SIGKILL; a process that hangs in the kernel is left to it.
  static_cast<void>(WaitForEnd(std::chrono::milliseconds(10'000)));
}

void Process::Collect() {
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return;
  if (WIFEXITED(status)) ending_ = "exit code " + std::to_string(WEXITSTATUS(status));
  if (WIFSIGNALED(status)) {
    ending_ =
        "signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
  }
}

void RotateLog(const std::string& path) {
  constexpr off_t kBytesMax = 16 << 20;
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || info.st_size <= kBytesMax) return;
  static_cast<void>(::rename(path.c_str(), (path + ".1").c_str()));
}

std::string LastLines(const std::string& path, std::size_t lines_max) {
  const Result<std::string> text = ReadFile(path, std::size_t{64} << 20U);
  if (!text.ok()) return "";
  std::size_t at = text->size();
  while (at > 0 && lines_max > 0) {
    const std::size_t before = at < 2 ? std::string::npos : text->rfind('\n', at - 2);
    at = before == std::string::npos ? 0 : before + 1;
    --lines_max;
  }
  return text->substr(at);
}

}  // namespace muster::cli
