#include "worker/agent/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace muster::agent {
namespace {

// All that the child needs, made before it exists: it shares our memory until exec and may make
// async-signal-safe calls only.
struct Prepared {
  const char* executable;
  char* const* arguments;
  char* const* environment;
  const char* directory;
  int null_input;
  int log;
  int lifeline;
  int cgroup;  // cgroup.procs of the one to join, -1 = none.
  bool pinned;
  cpu_set_t cores;
  pid_t parent;
  int error;         // Written by the child.
  int cgroup_error;  // Likewise; no reason not to start.
};

[[noreturn]] void Fail(Prepared& prepared) {
  prepared.error = errno;
  ::_exit(127);
}

[[noreturn]] void BecomeRank(Prepared& prepared) {
  // First, so that nothing it does is outside. 0 is whoever writes it.
  if (prepared.cgroup >= 0 && ::write(prepared.cgroup, "0", 1) != 1) prepared.cgroup_error = errno;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);  // Fails for SIGKILL and SIGSTOP, rightly.
  }
  ::setsid();
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) Fail(prepared);
  if (::getppid() != prepared.parent) ::_exit(127);  // The agent ended before the line above.
  if (::dup2(prepared.null_input, 0) < 0 || ::dup2(prepared.log, 1) < 0 ||
      ::dup2(prepared.log, 2) < 0 || ::dup2(prepared.lifeline, kLifelineDescriptor) < 0) {
    Fail(prepared);
  }
  ::syscall(SYS_close_range, kLifelineDescriptor + 1, ~0U, 0U);
  const struct rlimit no_core = {0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  if (prepared.pinned) ::sched_setaffinity(0, sizeof(prepared.cores), &prepared.cores);
  // When memory runs out the kernel shall take a rank, which is retried, not the agent.
  if (const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); score >= 0) {
    [[maybe_unused]] const ssize_t wrote = ::write(score, "500", 3);
    ::close(score);
  }
  if (::chdir(prepared.directory) != 0) Fail(prepared);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(prepared.executable, prepared.arguments, prepared.environment);
  Fail(prepared);
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Moves a descriptor out of the way of 0..3, which the child gives new meanings.
Result<FileDescriptor> High(FileDescriptor file) {
  const int copy = ::fcntl(file.get(), F_DUPFD_CLOEXEC, 10);
  if (copy < 0) return FromErrno("dup");
  return FileDescriptor(copy);
}

// In a function of its own: nothing of the caller's frame may live in a register across vfork.
[[gnu::noinline]] pid_t ForkAndExec(Prepared& prepared) {
  const pid_t pid = ::vfork();
  if (pid == 0) BecomeRank(prepared);
  return pid;
}

}  // namespace

Result<Spawned> Spawn(const SpawnOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor log_file,
                          FileDescriptor::Open(options.log, O_WRONLY | O_CREAT | O_APPEND, 0644));
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor log, High(std::move(log_file)));
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor null_file, FileDescriptor::Open("/dev/null", O_RDONLY));
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor null_input, High(std::move(null_file)));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FromErrno("pipe");
  FileDescriptor read_end(ends[0]);
  Spawned spawned;
  spawned.lifeline = FileDescriptor(ends[1]);
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor lifeline, High(std::move(read_end)));

  FileDescriptor cgroup;
  if (!options.cgroup.empty()) {
    Result<FileDescriptor> members =
        FileDescriptor::Open(options.cgroup + "/cgroup.procs", O_WRONLY);
    if (members.ok()) cgroup = std::move(*members);
    spawned.cgroup = members.status();
  }

  const std::vector<char*> arguments = Pointers(options.arguments);
  const std::vector<char*> environment = Pointers(options.environment);
  Prepared prepared = {};
  prepared.executable = options.executable.c_str();
  prepared.arguments = arguments.data();
  prepared.environment = environment.data();
  prepared.directory = options.directory.c_str();
  prepared.null_input = null_input.get();
  prepared.log = log.get();
  prepared.lifeline = lifeline.get();
  prepared.cgroup = cgroup.get();
  prepared.parent = ::getpid();
  prepared.pinned = !options.cores.empty();
  CPU_ZERO(&prepared.cores);
  for (const int core : options.cores) CPU_SET(static_cast<std::size_t>(core), &prepared.cores);

  // No handler of ours may run in the child: it would see our memory.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  spawned.pid = ForkAndExec(prepared);
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (spawned.pid < 0) {
    errno = fork_error;
    return FromErrno("fork");
  }
  if (prepared.error != 0) {
    ::waitpid(spawned.pid, nullptr, 0);
    errno = prepared.error;
    return FromErrno("start " + options.executable);
  }
  if (prepared.cgroup_error != 0) {
    errno = prepared.cgroup_error;
    spawned.cgroup = FromErrno("join " + options.cgroup);
  }
  spawned.pidfd = FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, spawned.pid, 0)));
  if (!spawned.pidfd.valid()) {
    Status failed = FromErrno("pidfd_open");
    ::kill(spawned.pid, SIGKILL);
    ::waitpid(spawned.pid, nullptr, 0);
    return failed;
  }
  return spawned;
}

}  // namespace muster::agent
