#include "worker/tools/run_program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

namespace muster::tools {

Result<std::string> RunProgram(const std::string& executable,
                               const std::vector<std::string>& arguments) {
  const std::string shown = executable + (arguments.empty() ? "" : " " + arguments.front());
  constexpr const char* kSelf = "/proc/self/exe";
  std::vector<std::string> owned = {executable == kSelf ? "muster" : executable};
  owned.insert(owned.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : owned) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FromErrno("pipe");
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
  pid_t child = 0;
  const int failed =
      ::posix_spawnp(&child, executable.c_str(), &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  ::close(ends[1]);
  const FileDescriptor output(ends[0]);
  if (failed != 0) return Internal("cannot start " + shown);
  std::string text(4096, '\0');
  std::size_t have = 0;
  for (ssize_t got = 0; (got = ::read(output.get(), text.data() + have, text.size() - have)) > 0;) {
    have += static_cast<std::size_t>(got);
    if (have == text.size()) text.resize(2 * have);
  }
  text.resize(have);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) return Internal(shown + " failed");
  return text;
}

Result<std::string> RunMuster(const std::vector<std::string>& arguments) {
  return RunProgram("/proc/self/exe", arguments);
}

}  // namespace muster::tools
