#include "worker/rank/rollout_worker.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <list>
#include <random>
#include <thread>

#include "muster/v1/rollout.grpc.pb.h"
#include "tests/unit/trainer/data_files.h"
#include "tests/unit/trainer/watching_host.h"
#include "tests/unit/worker/rollout_workers.h"
#include "trainer/rl/ppo_trainer.h"
#include "worker/rank/rollout_server.h"

namespace muster::rank {
namespace {

using test::Worker;

class RolloutWorkerTest : public testing::Test {
 protected:
  // The last checkpoint's digest, of ranks that have rollout servers; before they train,
  // `meanwhile(rendezvous)` begins beside them.
  template <class Meanwhile>
  std::string Digest(const rl::PpoOptions& options, test::Layout layout,
                     const Meanwhile& meanwhile) {
    MemoryRendezvous rendezvous;
    TrainingRun run;
    run.staging_directory = folder_ + "/staging";
    std::thread beside([&] { meanwhile(rendezvous); });
    const auto outcome = test::RunRanks<rl::PpoResult>(
        layout, UINT64_MAX, 0, [&](Group& group, ThreadPool& pool, TrainerHost& host) {
          auto server = RolloutServer::Start({.lanes = options.lanes / group.size()});
          EXPECT_TRUE(server.ok());
          EXPECT_TRUE(rendezvous
                          .Put(InvitationKey(static_cast<std::uint32_t>(group.rank())),
                               (*server)->Invitation())
                          .ok());
          // The first update finds those there that will be there.
          for (int i = 0; i < 500 && (*server)->workers() < waits_for_; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
          }
          return rl::TrainPpo(options, run, group, pool, host, server->get());
        });
    over_ = true;
    beside.join();
    over_ = false;
    for (const auto& result : outcome.results)
      EXPECT_TRUE(result.ok()) << result.status().message();
    return outcome.hosts[0].notices.back().sha256;
  }

  std::string folder_ = test::EmptyFolder("rollout-workers");
  std::atomic<bool> over_ = false;
  std::size_t waits_for_ = 0;
};

TEST_F(RolloutWorkerTest, SameBitsWithNoneOneAndThreeAndWhileTheyComeAndGo) {
  for (const std::size_t lag : {0U, 2U}) {
    SCOPED_TRACE("lag " + std::to_string(lag));
    const rl::PpoOptions options = test::RolloutJob(lag);
    waits_for_ = 0;
    const std::string digest = Digest(options, {1, 1}, [](Rendezvous&) {});
    for (const std::size_t count : {1U, 3U}) {
      waits_for_ = count;
      for (const std::size_t ranks : {1U, 2U}) {
        std::uint64_t tasks = 0;
        EXPECT_EQ(Digest(options, {ranks, 1},
                         [&](Rendezvous& rendezvous) {
                           std::list<Worker> workers;
                           for (std::size_t i = 0; i < count; ++i) {
                             workers.emplace_back(options, rendezvous, ranks);
                           }
                           while (!over_) std::this_thread::sleep_for(std::chrono::milliseconds(5));
                           for (const Worker& worker : workers) {
                             if (ranks == 1) {
                               EXPECT_GT(worker.tasks(), 10U);
                             }
                             tasks += worker.tasks();
                           }
                         }),
                  digest)
            << count << " workers, " << ranks << " ranks";
        EXPECT_GT(tasks, 60U);
      }
    }
    waits_for_ = 1;
    std::mt19937 random(1);
    EXPECT_EQ(Digest(options, {2, 1},
                     [&](Rendezvous& rendezvous) {
                       std::list<Worker> workers;
                       while (!over_) {
                         workers.emplace_back(options, rendezvous, 2U);
                         std::this_thread::sleep_for(std::chrono::milliseconds(random() % 60));
                         if (workers.size() > random() % 4) workers.pop_front();
                       }
                     }),
              digest);
  }
}

// One that attends and takes tasks, but never ends one, and then goes.
TEST_F(RolloutWorkerTest, NobodyWaitsForOneThatHasGone) {
  const rl::PpoOptions options = test::RolloutJob(0);
  const std::string digest = Digest(options, {1, 1}, [](Rendezvous&) {});
  waits_for_ = 1;
  int taken = 0;
  EXPECT_EQ(Digest(options, {1, 1},
                   [&](Rendezvous& rendezvous) {
                     const auto invitation =
                         rendezvous.Get(InvitationKey(0), std::chrono::seconds(10));
                     ASSERT_TRUE(invitation.ok());
                     const std::size_t space = invitation->find(' ');
                     const auto stub = v1::RolloutService::NewStub(grpc::CreateChannel(
                         invitation->substr(0, space), grpc::InsecureChannelCredentials()));
                     // Without the attempt's secret nothing is told.
                     grpc::ClientContext stranger;
                     const auto refused = stub->Attend(&stranger);
                     v1::RolloutReport hello;
                     hello.mutable_hello()->set_secret("guess");
                     refused->Write(hello);
                     v1::RolloutOrder order;
                     EXPECT_FALSE(refused->Read(&order));
                     EXPECT_EQ(refused->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
                     grpc::ClientContext context;
                     const auto stream = stub->Attend(&context);
                     hello.mutable_hello()->set_secret(invitation->substr(space + 1));
                     stream->Write(hello);
                     while (taken < 3 && stream->Read(&order)) taken += order.has_task() ? 1 : 0;
                     // Results that nobody asked for, and damaged ones.
                     v1::RolloutReport report;
                     report.mutable_done()->set_task(99);
                     stream->Write(report);
                     report.mutable_done()->set_task(1);
                     report.mutable_done()->add_trajectories("damaged");
                     stream->Write(report);
                     context.TryCancel();
                   }),
            digest);
  EXPECT_EQ(taken, 3);
}

// A worker goes on with a lane from where it left it only if that is where the lane stands.
TEST(RolloutServerTest, SendsALanesStateUnlessItsWorkerHasIt) {
  auto server = RolloutServer::Start({.lanes = 2});
  ASSERT_TRUE(server.ok());
  test::Attendant worker((*server)->Invitation());
  while ((*server)->workers() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  (*server)->SetPolicy(1, std::vector<float>(3), {});
  const auto round = [&](const std::string& state, const std::string& after) {
    EXPECT_TRUE((*server)->Begin({.lane = 1, .rollouts = 1, .state = state}));
    const v1::RolloutTask task = worker.Task();
    worker.Done(task, "trajectory", after);
    const auto result = (*server)->Finish(1);
    EXPECT_TRUE(result && result->state == after);
    return task.has_state() ? task.state() : "none";
  };
  EXPECT_EQ(round("S0", "S1"), "S0");
  EXPECT_EQ(round("S1", "S2"), "none");
  EXPECT_EQ(round("S2", "S3"), "none");
  // The learner, or another worker, has collected in between; or the result was no good.
  EXPECT_EQ(round("elsewhere", "S4"), "elsewhere");
  EXPECT_EQ(round("elsewhere", "S5"), "elsewhere");
  EXPECT_EQ(round("S5", "S6"), "none");
}

TEST(RolloutWorkerStartTest, SaysWhatIsWrongWithTheEnvironment) {
  rl::PpoOptions options = test::RolloutJob(0);
  options.environment.name = "CartPole-v9";
  MemoryRendezvous rendezvous;
  const std::atomic<bool> stop = false;
  EXPECT_NE(CollectRollouts(options, {}, rendezvous, stop).message().find("CartPole-v9"),
            std::string::npos);
}

}  // namespace
}  // namespace muster::rank
