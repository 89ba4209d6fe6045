#include "worker/rank/collective_recipe.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "collectives/local/local_group.h"

namespace muster::rank {
namespace {

class CountingHost : public TrainerHost {
 public:
  void Started(std::uint64_t, std::uint64_t steps_total) override { total = steps_total; }
  void StepDone(std::uint64_t step, std::uint64_t) override { done = step; }
  Status SaveCheckpoint(const CheckpointNotice&) override { return Internal("none expected"); }
  bool StopRequested() override { return false; }
  std::uint64_t total = 0, done = 0;
};

TEST(CollectiveRecipeTest, EveryRankDoesEveryStep) {
  constexpr std::size_t kRanks = 4;
  auto groups = CreateLocalGroups(kRanks);
  std::vector<CountingHost> hosts(kRanks);
  std::vector<Status> results(kRanks);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    threads.emplace_back([&, rank] {
      CollectiveOptions options;
      options.steps = 3;
      options.bytes = 4'001;
      results[rank] = RunCollective(options, *groups[rank], hosts[rank]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    EXPECT_TRUE(results[rank].ok()) << results[rank].message();
    EXPECT_EQ(hosts[rank].total, 3U);
    EXPECT_EQ(hosts[rank].done, 3U);
  }
}

}  // namespace
}  // namespace muster::rank
