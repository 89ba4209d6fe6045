// Processes of this program that a benchmark starts and ends.
#pragma once

#include <grpcpp/channel.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "wire/cluster_files.h"

namespace muster::tools {

// `muster ARGUMENTS` in the background, silent; ended by SIGTERM with this.
class OwnProcess {
 public:
  static Result<std::unique_ptr<OwnProcess>> Start(const std::vector<std::string>& arguments);
  ~OwnProcess();
  OwnProcess(const OwnProcess&) = delete;
  OwnProcess& operator=(const OwnProcess&) = delete;

  pid_t pid() const { return pid_; }
  // Sends the signal and waits for the process's end.
  void End(int signal);

 private:
  explicit OwnProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_;  // 0 = has ended.
};

// A coordinator on a folder of its own, which goes with it.
class CoordinatorProcess {
 public:
  // `tls`: listens on all interfaces, with certificates made for it; otherwise on loopback without.
  static Result<std::unique_ptr<CoordinatorProcess>> Start(bool tls = false);
  ~CoordinatorProcess();

  const wire::ClusterFiles& files() const { return files_; }
  // A connection of its own, made.
  std::shared_ptr<grpc::Channel> Connect() const;
  Result<std::string> UserToken() const;
  Result<std::string> WorkerToken() const;
  double ResidentMb() const;

 private:
  CoordinatorProcess() = default;
  std::string address_;
  wire::ClusterFiles files_;
  std::unique_ptr<OwnProcess> process_;
};

}  // namespace muster::tools
