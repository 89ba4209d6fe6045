#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <list>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "muster/v1/rollout.grpc.pb.h"
#include "tests/unit/trainer/data_files.h"
#include "tests/unit/trainer/watching_host.h"
#include "tests/unit/worker/rollout_workers.h"
#include "trainer/rl/ppo_trainer.h"
#include "worker/rank/rollout_server.h"

namespace muster::rank {
namespace {

using std::chrono::milliseconds;
using test::Worker;

rl::PpoOptions Job(std::size_t lag) {
  rl::PpoOptions options = test::RolloutJob(lag);
  options.asynchronous = true;
  options.vtrace = true;
  return options;
}

class AsynchronousRolloutsTest : public testing::Test {
 protected:
  // Rows of metrics of ranks with servers; before they train, `meanwhile(rendezvous)` begins beside
  // them, and somebody has to attend.
  template <class Meanwhile>
  std::vector<nlohmann::json> Train(const rl::PpoOptions& options, TrainingRun run,
                                    test::Layout layout, const Meanwhile& meanwhile,
                                    std::uint64_t stop_after = UINT64_MAX) {
    MemoryRendezvous rendezvous;
    run.staging_directory = folder_ + "/staging";
    run.metrics_path = folder_ + "/metrics";
    std::filesystem::remove(run.metrics_path);
    over_ = false;
    std::thread beside([&] { meanwhile(rendezvous); });
    const auto outcome = test::RunRanks<rl::PpoResult>(
        layout, stop_after, 0, [&](Group& group, ThreadPool& pool, TrainerHost& host) {
          auto server =
              RolloutServer::Start({.lanes = options.lanes / group.size(), .asynchronous = true});
          EXPECT_TRUE(server.ok());
          const auto rank = static_cast<std::uint32_t>(group.rank());
          EXPECT_TRUE(rendezvous.Put(InvitationKey(rank), (*server)->Invitation()).ok());
          for (int i = 0; i < 500 && (*server)->workers() == 0; ++i) {
            std::this_thread::sleep_for(milliseconds(10));
          }
          return rl::TrainPpo(options, run, group, pool, host, server->get());
        });
    over_ = true;
    beside.join();
    for (const auto& result : outcome.results)
      EXPECT_TRUE(result.ok()) << result.status().message();
    checkpoint_ = outcome.hosts[0].notices.back().directory;
    std::vector<nlohmann::json> rows;
    std::istringstream lines(*ReadFile(run.metrics_path, 64U << 20U));
    for (std::string line; std::getline(lines, line);) {
      rows.push_back(nlohmann::json::parse(line));
      EXPECT_LE(rows.back()["train/policy_lag_max"].get<double>(),
                static_cast<double>(options.max_policy_lag));
      EXPECT_LE(rows.back()["train/policy_lag"], rows.back()["train/policy_lag_max"]);
    }
    return rows;
  }
  static double Sum(const std::vector<nlohmann::json>& rows, const char* name) {
    double sum = 0;
    for (const nlohmann::json& row : rows) sum += row[name].get<double>();
    return sum;
  }

  std::string folder_ = test::EmptyFolder("asynchronous-rollouts");
  std::string checkpoint_;
  std::atomic<bool> over_ = false;
};

TEST_F(AsynchronousRolloutsTest, TrainsOnWhatWorkersBringWithinTheBound) {
  for (const std::size_t lag : {1U, 3U}) {
    for (const std::size_t ranks : {1U, 2U}) {
      SCOPED_TRACE("lag " + std::to_string(lag) + ", ranks " + std::to_string(ranks));
      const rl::PpoOptions options = Job(lag);
      const auto rows = Train(options, {}, {ranks, 1}, [&](Rendezvous& rendezvous) {
        std::list<Worker> workers;
        for (int i = 0; i < 2; ++i) workers.emplace_back(options, rendezvous, ranks);
        while (!over_) std::this_thread::sleep_for(milliseconds(5));
      });
      ASSERT_EQ(rows.size(), 60U);
      EXPECT_EQ(rows.back()["charts/global_step"], 60.0 * 16 * 32);
      EXPECT_LT(Sum(rows, "train/rollouts_by_learner"), 60 * 4 / 2) << "workers bring most of it";
      EXPECT_GT(Sum(rows, "train/policy_lag_max"), 0) << "and run ahead";
    }
  }
}

TEST_F(AsynchronousRolloutsTest, WorkersComeAndGoAndLearnersResume) {
  const rl::PpoOptions options = Job(2);
  std::mt19937 random(1);
  const auto come_and_go = [&](Rendezvous& rendezvous) {
    std::list<Worker> workers;
    while (!over_) {
      workers.emplace_back(options, rendezvous, 2U);
      std::this_thread::sleep_for(milliseconds(random() % 60));
      if (workers.size() > random() % 4) workers.pop_front();
    }
  };
  TrainingRun run;
  run.not_repeatable = "a test says so";
  ASSERT_EQ(Train(options, run, {2, 1}, come_and_go, 20).size(), 20U);
  EXPECT_THAT(*ReadFile(checkpoint_ + "/provenance.json", 1U << 20U),
              testing::HasSubstr("\"not_repeatable\":\"a test says so\""));
  run.resume_directory = folder_ + "/kept";
  std::filesystem::rename(checkpoint_, run.resume_directory);
  const auto rows = Train(options, run, {2, 1}, come_and_go);
  ASSERT_EQ(rows.size(), 40U);
  EXPECT_EQ(rows.front()["step"], 21);
}

std::vector<rl::RolloutArrival> Wait(RolloutServer& server) {
  for (int i = 0; i < 50; ++i) {
    if (auto arrivals = server.Arrived(milliseconds(100)); !arrivals.empty()) return arrivals;
  }
  return {};
}

void WaitForWorkers(const RolloutServer& server, std::size_t count) {
  for (int i = 0; i < 5'000 && server.workers() != count; ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  ASSERT_EQ(server.workers(), count);
}

TEST(AsynchronousServerTest, HandsOverEachRolloutAndGoesOnByItself) {
  auto server = RolloutServer::Start({.lanes = 2, .asynchronous = true});
  ASSERT_TRUE(server.ok());
  EXPECT_FALSE((*server)->RunAhead({.lane = 0, .rollouts = 1, .state = "S"})) << "nobody is there";
  auto worker = std::make_unique<test::Attendant>((*server)->Invitation());
  WaitForWorkers(**server, 1);
  EXPECT_FALSE((*server)->RunAhead({.lane = 0, .rollouts = 1, .state = "S"})) << "no policy yet";
  (*server)->SetPolicy(1, std::vector<float>(3), {});
  ASSERT_TRUE((*server)->RunAhead({.lane = 0, .rollouts = 2, .state = "S0"}));
  v1::RolloutTask task = worker->Task();
  EXPECT_EQ(task.rollouts(), 1U);
  EXPECT_EQ(task.state(), "S0");
  (*server)->SetPolicy(2, std::vector<float>(3), {});
  worker->Done(task, "one", "S1");
  auto arrivals = Wait(**server);
  ASSERT_EQ(arrivals.size(), 1U);
  EXPECT_EQ(arrivals[0].result->trajectories, std::vector<std::string>{"one"});
  task = worker->Task();
  EXPECT_FALSE(task.has_state()) << "it has left the lane there";
  EXPECT_EQ(task.version(), 2U);
  // More while it is at it, and more when all has come: from where the lane is, whatever is sent.
  ASSERT_TRUE((*server)->RunAhead({.lane = 0, .rollouts = 1, .state = ""}));
  worker->Done(task, "two", "S2");
  worker->Done(worker->Task(), "three", "S3");
  for (std::size_t come = 0; come < 2;) come += Wait(**server).size();
  ASSERT_TRUE((*server)->RunAhead({.lane = 0, .rollouts = 5, .state = ""}));
  EXPECT_EQ(worker->Task().rollouts(), 1U);
  // With who does it the rest of the task goes, and that is told once.
  worker.reset();
  arrivals = Wait(**server);
  ASSERT_EQ(arrivals.size(), 1U);
  EXPECT_FALSE(arrivals[0].result);
  EXPECT_EQ(arrivals[0].lane, 0U);
}

TEST(AsynchronousServerTest, GivesALatecomerNothingBeforeItHasCome) {
  auto server = RolloutServer::Start({.lanes = 2, .asynchronous = true});
  ASSERT_TRUE(server.ok());
  test::Attendant slow((*server)->Invitation());
  WaitForWorkers(**server, 1);
  (*server)->SetPolicy(1, std::vector<float>(3), {});
  ASSERT_TRUE((*server)->RunAhead({.lane = 1, .rollouts = 1, .state = "S0"}));
  const v1::RolloutTask taken_back = slow.Task();
  (*server)->TakeBack(1);
  EXPECT_FALSE((*server)->RunAhead({.lane = 1, .rollouts = 1, .state = "S1"}));
  {
    test::Attendant other((*server)->Invitation());
    WaitForWorkers(**server, 2);
    ASSERT_TRUE((*server)->RunAhead({.lane = 1, .rollouts = 1, .state = "S1"}));
    EXPECT_EQ(other.Task().state(), "S1") << "another one gets it";
  }
  const auto arrivals = Wait(**server);
  ASSERT_EQ(arrivals.size(), 1U);
  EXPECT_FALSE(arrivals[0].result) << "it has gone, and the slow one still owes its first";
  slow.Done(taken_back, "late", "S?");
  bool again = false;
  for (int i = 0; i < 5'000 && !again; ++i) {
    again = (*server)->RunAhead({.lane = 1, .rollouts = 1, .state = "S1"});
    std::this_thread::sleep_for(milliseconds(1));
  }
  ASSERT_TRUE(again);
  EXPECT_EQ(slow.Task().state(), "S1");
  EXPECT_TRUE((*server)->Arrived(milliseconds(0)).empty()) << "what came late is nobody's";
}

// One that takes tasks, answers pings and does nothing: it is waited for once and given no more.
TEST_F(AsynchronousRolloutsTest, NobodyWaitsForOneThatNeverAnswers) {
  const rl::PpoOptions options = Job(2);
  const auto begin = std::chrono::steady_clock::now();
  int taken = 0;
  const auto rows = Train(options, {}, {1, 1}, [&](Rendezvous& rendezvous) {
    const auto invitation = rendezvous.Get(InvitationKey(0), std::chrono::seconds(10));
    ASSERT_TRUE(invitation.ok());
    const std::size_t space = invitation->find(' ');
    const auto stub = v1::RolloutService::NewStub(
        grpc::CreateChannel(invitation->substr(0, space), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    const auto stream = stub->Attend(&context);
    v1::RolloutReport hello;
    hello.mutable_hello()->set_secret(invitation->substr(space + 1));
    stream->Write(hello);
    std::thread reader([&] {
      v1::RolloutOrder order;
      while (stream->Read(&order)) taken += order.has_task() ? 1 : 0;
    });
    while (!over_) std::this_thread::sleep_for(milliseconds(5));
    context.TryCancel();
    reader.join();
  });
  EXPECT_EQ(rows.size(), 60U);
  EXPECT_EQ(Sum(rows, "train/rollouts_by_learner"), 60 * 4);
  EXPECT_EQ(taken, 4) << "the first of each lane";
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace muster::rank
