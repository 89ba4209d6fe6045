// A cluster on this machine: coordinator and workers as processes that are watched, and started
// again when they die. What `muster up` and a private `muster run` share.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "cli/process.h"
#include "wire/cluster_files.h"

namespace muster::cli {

struct LocalClusterOptions {
  wire::ClusterFiles files;
  unsigned workers = 2;
  unsigned slots = 1;  // Of each worker.
  // Ends with this process, however that dies; otherwise outlives it if it is killed.
  bool end_with_me = false;
  // Told what happens to the processes; called on the watching thread.
  std::function<void(const std::string&)> say = [](const std::string&) {};
};

// Delay before a process that died is started again: 100 ms, doubling to 10 s; from the start
// again after one that lived for 30 s.
class BackOff {
 public:
  std::chrono::milliseconds Next(std::chrono::milliseconds lifetime);

 private:
  std::chrono::milliseconds delay_{0};
};

class LocalCluster {
 public:
  // Takes the state directory's lock (kAlreadyExists, naming the holder), takes up processes that
  // an earlier one left behind, and starts the others.
  static Result<std::unique_ptr<LocalCluster>> Start(LocalClusterOptions options);
  // Stop().
  ~LocalCluster();

  // Ends all processes (SIGTERM; SIGKILL after 10 s) and returns when they have ended. Idempotent.
  void Stop();

 private:
  struct Member;
  LocalCluster(LocalClusterOptions options, LockFile lock);
  void Watch();
  void Check(Member& member);
  void StartMember(Member& member);
  void StopMembers();
  std::chrono::milliseconds UntilNextStart() const;

  LocalClusterOptions options_;
  LockFile lock_;
  std::vector<std::unique_ptr<Member>> members_;
  FileDescriptor wake_;  // eventfd: written once to end the watching thread.
  std::thread thread_;
};

// kResourceExhausted when the disk of the state directory cannot hold a cluster's beginning.
Status CheckRoomToStart(const wire::ClusterFiles& files);

// Waits until the coordinator answers and `slots` slots are ready. kDeadlineExceeded, with the last
// lines of the coordinator's log, after `timeout`; kCancelled once `stop` says so.
Status WaitUntilReady(const wire::ClusterFiles& files, unsigned slots,
                      std::chrono::milliseconds timeout, const std::function<bool()>& stop);

// Ends what runs on a state directory: the supervisor by its lock, then whatever still holds the
// lock of the coordinator or a worker. How many processes were ended; kInternal when one is left.
Result<unsigned> StopCluster(const wire::ClusterFiles& files);

// The numbers of the workers that have a folder in the state directory, ascending.
std::vector<unsigned> WorkerNumbers(const wire::ClusterFiles& files);

// Cores this process may use.
unsigned AvailableCores();

}  // namespace muster::cli
