// A coordinator that says what a test tells it to and keeps all that it is told.
#pragma once

#include <grpcpp/server.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "muster/v1/agent.grpc.pb.h"

namespace muster {

class FakeCoordinator {
 public:
  // Publishes its address in `address_file` when it starts.
  explicit FakeCoordinator(std::string address_file);
  ~FakeCoordinator();

  void Start();  // At a new port; all that it knew it still knows.
  void Stop();   // As if killed: streams break.

  // What the agent should run from now on; sent at once.
  void Desire(const v1::DesiredState& state);
  // The newest report, once it satisfies `wanted`; fails the test after 20 s.
  v1::AgentReport WaitForReport(const std::function<bool(const v1::AgentReport&)>& wanted);
  v1::AgentReport last_report();
  // What it has of a rank's spool.
  std::string Spooled(std::uint64_t job, std::uint32_t attempt, std::uint32_t rank, v1::Stream of);
  void WaitForSpooled(std::uint64_t job, std::uint32_t attempt, std::uint32_t rank, v1::Stream of,
                      const std::string& text);

  // Uploaded checkpoints by (job, step): file name -> content.
  using Files = std::map<std::string, std::string>;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Files> checkpoints();
  void PutCheckpoint(std::uint64_t job, std::uint64_t step, Files files);
  // The answer to uploads from now on.
  void RefuseUploads(grpc::Status status);
  // The error to metrics from now on.
  void RefuseMetrics(grpc::Status status);
  // True when an Append was ever a gap or not of whole lines.
  bool saw_bad_append();

 private:
  class Service;
  const std::string address_file_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace muster
