// A program of the user's as the child of a rank: started, signalled, and ended with all that it
// has started.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace muster::rank {

struct ProgramOptions {
  std::vector<std::string> arguments;    // The first is looked up in the environment's PATH.
  std::vector<std::string> environment;  // All of it.
  std::string directory;                 // Where it starts.
};

class Program {
 public:
  // Starts it in a process group of its own within this session, with standard input from
  // /dev/null and this process's output. It dies with the calling thread. One at a time: this
  // process becomes the reaper of everything below it, so that no descendant is out of reach.
  // kNotFound, kPermissionDenied and others name the program or the folder.
  static Result<Program> Start(const ProgramOptions& options);

  // Readable once it has ended.
  int descriptor() const { return pidfd_.get(); }
  // The wait(2) status once it has ended; its descendants may live on.
  std::optional<int> Ended();
  void Signal(int signal) const;       // To the program alone.
  void SignalGroup(int signal) const;  // And to what it has started in its group.

 private:
  Program(pid_t pid, FileDescriptor pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid_ = 0;
  FileDescriptor pidfd_;
  std::optional<int> status_;
};

// Kills every descendant of this process, until none is left or a second has passed. For an end in
// which nobody else would: callable from any thread.
void KillDescendants();

}  // namespace muster::rank
