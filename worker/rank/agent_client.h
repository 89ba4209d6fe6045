// The rank's line to its agent, and through it to the coordinator.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/status.h"
#include "collectives/rendezvous.h"
#include "muster/v1/agent.grpc.pb.h"

namespace muster::rank {

// Thread-safe. Tells the agent every 500 ms, and at once when the phase changes, how far the rank
// is.
class AgentClient {
 public:
  // Called when nothing has been heard of the coordinator for the assignment's orphan timeout.
  using Orphaned = std::function<void(std::chrono::milliseconds silence, std::uint64_t steps_done)>;

  AgentClient(const v1::RankAssignment& assignment, Orphaned orphaned);
  ~AgentClient();

  void SetProgress(v1::RankPhase phase, std::uint64_t steps_done, std::uint64_t steps_total);

  // What the newest checkpoint took until it was accepted.
  void NoteSave(std::chrono::milliseconds took);

  // The rank should stop at the next step, with a checkpoint of it.
  bool StopRequested() const { return stop_requested_; }

  // Tells the agent now, before an end that leaves no time for the next beat.
  void TellNow() { (void)Beat().ok(); }

  // Returns once the coordinator has accepted or refused the checkpoint.
  Status Publish(v1::PublishRequest request);
  Status Put(const std::string& key, std::string_view value);
  Result<std::string> Get(const std::string& key, std::chrono::milliseconds timeout);

 private:
  void BeatLoop();
  Status Beat();

  const v1::RankAssignment assignment_;
  const Orphaned orphaned_;
  const std::unique_ptr<v1::RankService::Stub> stub_;
  std::mutex mutex_;
  std::condition_variable wake_;
  v1::BeatRequest progress_;                                // Under the mutex.
  std::chrono::steady_clock::time_point step_began_;        // Under the mutex.
  bool changed_ = false;                                    // Under the mutex.
  bool stop_ = false;                                       // Under the mutex.
  std::chrono::steady_clock::time_point coordinator_seen_;  // Under the mutex.
  std::atomic<bool> stop_requested_;
  std::thread thread_;
};

// The rendezvous of an attempt's ranks: the coordinator's small values.
class AgentRendezvous : public Rendezvous {
 public:
  explicit AgentRendezvous(AgentClient& agent) : agent_(agent) {}
  Status Put(const std::string& key, std::string_view bytes) override;
  Result<std::string> Get(const std::string& key, std::chrono::milliseconds timeout) override;

 private:
  AgentClient& agent_;
};

}  // namespace muster::rank
