// A job whose rollouts others may collect, and who does.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "collectives/rendezvous.h"
#include "muster/v1/rollout.grpc.pb.h"
#include "trainer/rl/ppo_options.h"
#include "worker/rank/rollout_worker.h"

namespace muster::test {

inline rl::PpoOptions RolloutJob(std::size_t lag) {
  rl::PpoOptions options;
  options.environment.name = "CartPole-v1";
  options.environment.normalize_observations = true;
  options.policy.hidden = {32};
  options.envs = 16;
  options.rollout_steps = 32;
  options.total_steps = 60 * options.batch_size();
  options.lanes = 4;
  options.seed = 5;
  options.minibatches = 2;
  options.max_policy_lag = lag;
  return options;
}

// A worker as threads of this process.
class Worker {
 public:
  Worker(const rl::PpoOptions& options, Rendezvous& rendezvous, std::size_t learners)
      : thread_([this, &options, &rendezvous, learners] {
          rank::RolloutWorkerOptions worker{.worker = "test", .learners = learners, .threads = 2};
          worker.done = [this](std::uint64_t) { ++tasks_; };
          EXPECT_TRUE(rank::CollectRollouts(options, worker, rendezvous, stop_).ok());
        }) {}
  ~Worker() {
    stop_ = true;
    thread_.join();
  }
  std::uint64_t tasks() const { return tasks_; }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> tasks_ = 0;
  std::thread thread_;
};

// One that attends and does what the test says.
class Attendant {
 public:
  explicit Attendant(const std::string& invitation) {
    const std::size_t space = invitation.find(' ');
    stub_ = v1::RolloutService::NewStub(
        grpc::CreateChannel(invitation.substr(0, space), grpc::InsecureChannelCredentials()));
    stream_ = stub_->Attend(&context_);
    v1::RolloutReport hello;
    hello.mutable_hello()->set_secret(invitation.substr(space + 1));
    EXPECT_TRUE(stream_->Write(hello));
  }
  ~Attendant() { context_.TryCancel(); }

  // The next task; policies before it are passed over.
  v1::RolloutTask Task() {
    v1::RolloutOrder order;
    do {
      EXPECT_TRUE(stream_->Read(&order));
    } while (order.has_policy());
    return order.task();
  }
  void Done(const v1::RolloutTask& task, const std::string& trajectory, const std::string& state) {
    v1::RolloutReport report;
    report.mutable_done()->set_task(task.id());
    report.mutable_done()->add_trajectories(trajectory);
    report.mutable_done()->set_state(state);
    EXPECT_TRUE(stream_->Write(report));
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::RolloutService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::RolloutReport, v1::RolloutOrder>> stream_;
};

}  // namespace muster::test
