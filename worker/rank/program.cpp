#include "worker/rank/program.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <string_view>
#include <utility>

namespace muster::rank {
namespace {

// What the new process tells when it cannot become the program.
struct StartError {
  int error = 0;
  bool directory = false;
};

struct Prepared {
  const char* executable;
  char* const* arguments;
  char* const* environment;
  const char* directory;
  int null_input;
  int told;
  pid_t parent;
};

[[noreturn]] void Fail(const Prepared& prepared, bool directory) {
  const StartError error{errno, directory};
  [[maybe_unused]] const ssize_t wrote = ::write(prepared.told, &error, sizeof(error));
  ::_exit(127);
}

// Between fork and exec in a process that had several threads: system calls only.
[[noreturn]] void BecomeProgram(const Prepared& prepared) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != prepared.parent) ::_exit(127);
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
  }
  ::dup2(prepared.null_input, 0);
  const int told = ::fcntl(prepared.told, F_DUPFD_CLOEXEC, 3);
  Prepared mine = prepared;
  mine.told = told;
  if (told > 3) ::syscall(SYS_close_range, 3, told - 1, 0U);
  ::syscall(SYS_close_range, told + 1, ~0U, 0U);
  if (::chdir(prepared.directory) != 0) Fail(mine, true);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(prepared.executable, prepared.arguments, prepared.environment);
  Fail(mine, false);
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// As execvp does, but by the new environment's PATH.
std::string Find(const std::string& name, const std::vector<std::string>& environment) {
  if (name.find('/') != std::string::npos) return name;
  std::string_view path;
  for (const std::string_view variable : environment) {
    if (variable.starts_with("PATH=")) path = variable.substr(5);
  }
  while (!path.empty()) {
    const std::string_view folder = path.substr(0, path.find(':'));
    path.remove_prefix(std::min(path.size(), folder.size() + 1));
    std::string candidate = std::string(folder.empty() ? "." : folder) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> children;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* folder = ::opendir(tasks.c_str());
  if (folder == nullptr) return children;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] == '.') continue;
    std::ifstream list(tasks + "/" + entry->d_name + "/children");
    for (pid_t child = 0; list >> child;) children.push_back(child);
  }
  ::closedir(folder);
  return children;
}

}  // namespace

Result<Program> Program::Start(const ProgramOptions& options) {
  const std::string& name = options.arguments.front();
  const std::string executable = Find(name, options.environment);
  if (executable.empty()) {
    return NotFound("`" + name + "` is not in PATH on this worker; give its whole path, or set " +
                    "PATH in [command.environment]");
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor null_input,
                          FileDescriptor::Open("/dev/null", O_RDONLY));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FromErrno("pipe");
  const FileDescriptor heard(ends[0]);
  FileDescriptor told(ends[1]);
  const std::vector<char*> arguments = Pointers(options.arguments);
  const std::vector<char*> environment = Pointers(options.environment);
  const Prepared prepared{
      executable.c_str(), arguments.data(), environment.data(), options.directory.c_str(),
      null_input.get(),   told.get(),       ::getpid()};
  const pid_t pid = ::fork();
  if (pid < 0) return FromErrno("fork");
  if (pid == 0) BecomeProgram(prepared);
  ::setpgid(pid, pid);  // Also here: a signal to the group may come before the child has run.
  told = FileDescriptor();
  StartError error;
  if (::read(heard.get(), &error, sizeof(error)) == sizeof(error)) {
    ::waitpid(pid, nullptr, 0);
    errno = error.error;
    return FromErrno(error.directory ? "working directory " + options.directory
                                     : "start `" + name + "`");
  }
  FileDescriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) return FromErrno("pidfd_open");
  return Program(pid, std::move(pidfd));
}

std::optional<int> Program::Ended() {
  // Also whatever else has ended below this process.
  int status = 0;
  for (pid_t ended = 0; !status_ && (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    if (ended == pid_) status_ = status;
  }
  return status_;
}

void Program::Signal(int signal) const {
  ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
}

void Program::SignalGroup(int signal) const {
  // Not yet reaped, so the number is still the group's.
  if (!status_) ::kill(-pid_, signal);
}

void KillDescendants() {
  const pid_t self = ::getpid();
  constexpr int kRounds = 500;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<pid_t> open = ChildrenOf(self);
    if (open.empty()) return;
    for (std::size_t i = 0; i < open.size() && open.size() < 100'000; ++i) {
      ::kill(open[i], SIGSTOP);  // So that it forks no more.
      const std::vector<pid_t> below = ChildrenOf(open[i]);
      open.insert(open.end(), below.begin(), below.end());
    }
    for (const pid_t pid : open) ::kill(pid, SIGKILL);
    while (::waitpid(-1, nullptr, WNOHANG) > 0) continue;
    ::poll(nullptr, 0, 2);
  }
}

}  // namespace muster::rank
