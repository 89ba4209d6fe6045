// Worker agents without processes, for benchmarks: every rank that they are given succeeds at once.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "muster/v1/agent.grpc.pb.h"

namespace muster::tools {

class FakeAgent;

class FakeAgents {
 public:
  FakeAgents(std::shared_ptr<grpc::Channel> channel, std::string token, std::string prefix);
  ~FakeAgents();

  // Connects `count` more, of `slots` each. All ranks of a `stays` agent run on instead.
  void Add(unsigned count, unsigned slots, bool stays = false);
  std::uint64_t ranks_done() const { return ranks_done_; }
  // From a report to its answer, since the last call.
  std::vector<double> TakeAnswerMs();

 private:
  friend class FakeAgent;
  void Beat();

  const std::unique_ptr<v1::AgentService::Stub> stub_;
  const std::string token_;
  const std::string prefix_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::vector<std::unique_ptr<FakeAgent>> agents_;
  std::vector<double> answer_ms_;
  std::atomic<std::uint64_t> ranks_done_ = 0;
  std::thread timer_;
};

}  // namespace muster::tools
