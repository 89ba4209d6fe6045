// Processes of a local cluster: started in sessions of their own, watched and ended by pidfd, so
// that a pid that has been given to another process is never signalled.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace muster::cli {

class Process {
 public:
  Process() = default;

  // Starts this program (/proc/self/exe) with `arguments`, in its own session, stdin from
  // /dev/null, stdout and stderr appended to `log`, no signal blocked.
  static Result<Process> Start(const std::vector<std::string>& arguments, const std::string& log);

  // The process that holds the lock file; an invalid Process when none does.
  static Process Holding(const std::string& lock_path);

  bool valid() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  int descriptor() const { return descriptor_.get(); }  // Readable once the process has ended.

  // Whether it ends within `timeout`. A child's status is collected then.
  bool WaitForEnd(std::chrono::milliseconds timeout);
  // Sends a signal; nothing to a process that has ended.
  void Signal(int signal) const;
  // SIGTERM, and SIGKILL when it has not ended after `grace`; returns when it has.
  void Stop(std::chrono::milliseconds grace);
  // How it ended: "exit code 3", "signal 9 (Killed)"; "unknown" for no child of ours.
  const std::string& ending() const { return ending_; }

 private:
  void Collect();

  pid_t pid_ = 0;
  FileDescriptor descriptor_;
  std::string ending_ = "unknown";
};

// Moves a log of more than 16 MiB to LOG.1, over an older one.
void RotateLog(const std::string& path);

// The last `lines_max` lines of a file; empty when it cannot be read.
std::string LastLines(const std::string& path, std::size_t lines_max);

}  // namespace muster::cli
