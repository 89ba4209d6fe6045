// The folders of [command] jobs on this worker: made when a rank needs one, kept from attempt to
// attempt, removed once the coordinator no longer lists the job as living.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"

namespace muster::agent {

// Where `job` may keep files below `worker_directory`.
std::string JobFolder(const std::string& worker_directory, std::uint64_t job);

// One thread at a time; removal, which may take long, happens on a thread of its own.
class JobFolders {
 public:
  // Takes up what an earlier agent has left below `worker_directory`.
  explicit JobFolders(std::string worker_directory);
  ~JobFolders();

  void Note(std::uint64_t job) { known_.insert(job); }
  // Removes the folders of all others.
  void Keep(const std::set<std::uint64_t>& jobs);

 private:
  void Loop();

  const std::string worker_directory_;
  std::set<std::uint64_t> known_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::string> doomed_;  // Under the mutex: folders out of sight.
  bool stop_ = false;                // Under the mutex.
  std::thread thread_;
};

}  // namespace muster::agent
