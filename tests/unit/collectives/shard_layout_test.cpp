#include "collectives/shard_layout.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/unit/collectives/ranks.h"

namespace muster {
namespace {

// Blocks of 4 of 18 elements on 2 ranks: 0 1 | 2 3 | 4, the last with 2 elements.
TEST(ShardLayoutTest, DealsBlocksOutInTurn) {
  const ShardLayout layout(18, 4, 2);
  EXPECT_EQ(layout.blocks(), 5U);
  EXPECT_EQ(layout.stripes(), 3U);
  EXPECT_EQ(layout.ShardSize(0), 10U);
  EXPECT_EQ(layout.ShardSize(1), 8U);
  EXPECT_EQ(layout.BlockOf(1, 1).begin, 12U);
  EXPECT_EQ(layout.BlockOf(0, 2).end, 18U);
  EXPECT_EQ(layout.BlockOf(1, 2).size(), 0U);
  EXPECT_EQ(layout.Width(1), 4U);
  EXPECT_EQ(layout.Width(2), 2U);
}

TEST(ShardLayoutTest, EveryElementHasOneOwnerAndEveryRankItsPlace) {
  for (const std::size_t count : {0, 1, 3, 4, 5, 18, 97, 128}) {
    for (const std::size_t block : {1, 4, 16, 200}) {
      for (const std::size_t ranks : {1, 2, 3, 5, 8}) {
        SCOPED_TRACE(testing::Message() << count << " in " << block << " over " << ranks);
        const ShardLayout layout(count, block, ranks);
        std::vector<float> full(count), seen(count);
        std::iota(full.begin(), full.end(), 1.0F);
        std::size_t least = count, most = 0;
        for (std::size_t rank = 0; rank < ranks; ++rank) {
          std::vector<float> shard(layout.ShardSize(rank));
          layout.Take(rank, std::span<const float>(full), std::span(shard));
          for (const float value : shard) seen[static_cast<std::size_t>(value) - 1] += 1.0F;
          least = std::min(least, layout.ShardBlocks(rank));
          most = std::max(most, layout.ShardBlocks(rank));
        }
        EXPECT_EQ(seen, std::vector<float>(count, 1.0F));
        EXPECT_LE(most, least + 1);
      }
    }
  }
}

std::string GatherAll(Group& group, std::size_t count, bool keep) {
  const ShardLayout layout(count, 16, group.size());
  const std::vector<float> expected = TestValues(count, count);
  std::vector<float> shard(layout.ShardSize(group.rank())), full(keep ? count : 0);
  layout.Take(group.rank(), std::span<const float>(expected), std::span(shard));
  const Status status = AllGatherShards(group, layout, shard, full);
  if (!status.ok()) return status.message();
  return !keep || full == expected ? std::string() : "differs";
}

TEST(ShardLayoutTest, ShardsComeTogetherOnAnyTransport) {
  for (const std::string transport : {"local", "shm", "gloo"}) {
    for (const std::size_t ranks : {1, 2, 3, 4}) {
      SCOPED_TRACE(transport + " " + std::to_string(ranks));
      const auto results = RunRanks(transport, ranks, [](Group& group) {
        for (const std::size_t count : {0, 1, 15, 16, 17, 100, 128}) {
          const std::string all = GatherAll(group, count, true);
          // Only the last rank wants it.
          const std::string one = GatherAll(group, count, group.rank() + 1 == group.size());
          if (!all.empty() || !one.empty()) return std::to_string(count) + all + one;
        }
        return std::string();
      });
      for (const auto& result : results) EXPECT_EQ(result.report, "");
    }
  }
}

TEST(ShardLayoutTest, AFailedGatherNamesItsOperation) {
  const auto results = RunRanks(
      "local", 2,
      [](Group& group) { return group.rank() == 1 ? std::string() : GatherAll(group, 20, true); },
      {std::chrono::milliseconds(300)});
  EXPECT_EQ(results[0].report.rfind("all-gather #1 (64 bytes): no word from rank 1", 0), 0U)
      << results[0].report;
}

TEST(ShardLayoutTest, RefusesVectorsOfAnotherSize) {
  EXPECT_THROW(ShardLayout(10, 0, 1), ContractViolation);
  const ShardLayout layout(10, 4, 2);
  std::vector<float> full(10), wrong(9);
  EXPECT_THROW(layout.Take(1, std::span<const float>(full), std::span(wrong)), ContractViolation);
  EXPECT_THROW(layout.ShardSize(2), ContractViolation);
}

}  // namespace
}  // namespace muster
