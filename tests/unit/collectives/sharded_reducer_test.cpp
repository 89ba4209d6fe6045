#include "collectives/sharded_reducer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/philox.h"
#include "collectives/lane_tree.h"
#include "tests/unit/collectives/ranks.h"

namespace muster {
namespace {

constexpr std::size_t kElements = 1007;
constexpr std::size_t kBlock = 48;

// Of very different sizes; borders anywhere.
std::vector<Bucket> UnevenBuckets() {
  return {{0, 20}, {20, 21}, {21, 400}, {400, 480}, {480, 700}, {700, 1000}, {1000, kElements}};
}

std::vector<float> ShardedLaneValues(std::size_t step, std::size_t lane) {
  return TestValues(1000 * step + lane + 1, kElements);
}

// ((l0+l1)+(l2+l3))+...: neighbours first.
std::vector<float> ShardedSum(std::size_t step, std::size_t lanes) {
  std::vector<std::vector<float>> rows;
  for (std::size_t lane = 0; lane < lanes; ++lane) rows.push_back(ShardedLaneValues(step, lane));
  for (std::size_t width = 1; width < lanes; width *= 2) {
    for (std::size_t left = 0; left < lanes; left += 2 * width) {
      for (std::size_t i = 0; i < kElements; ++i) rows[left][i] += rows[left + width][i];
    }
  }
  return rows[0];
}

// Opens and completes buckets in an order near the given one, with several open at a time.
void RunLane(ShardedReducer& reducer, std::size_t local, std::size_t lane, std::size_t step) {
  const auto values = ShardedLaneValues(step, lane);
  std::vector<std::size_t> order(reducer.buckets().size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (std::size_t i = 0; i + 2 < order.size(); ++i) {
    const auto bits =
        RandomBlock(step, RandomPurpose::kDataOrder, static_cast<std::uint32_t>(lane), i);
    std::swap(order[i], order[i + Below(bits[0], bits[1], 3)]);
  }
  // As a tied embedding is: used first, final last.
  reducer.LaneBucket(local, order.back());
  for (const std::size_t bucket : order) {
    const Bucket range = reducer.buckets()[bucket];
    const auto gradient = reducer.LaneBucket(local, bucket);
    EXPECT_EQ(gradient.size(), range.end - range.begin);
    std::copy(values.begin() + static_cast<long>(range.begin),
              values.begin() + static_cast<long>(range.end), gradient.begin());
    reducer.LaneBucketReady(local, bucket);
  }
}

void RunStep(ShardedReducer& reducer, const LaneWaves& waves, std::size_t rank, std::size_t step) {
  std::vector<std::thread> threads;
  for (std::size_t slot = 0; slot < waves.at_once; ++slot) {
    threads.emplace_back([&, slot] {
      for (std::size_t wave = 0; wave < waves.waves(); ++wave) {
        const std::size_t local = wave * waves.at_once + slot;
        RunLane(reducer, local, waves.LaneOf(rank, local), step);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

std::string RunSteps(Group& group, const LaneWaves& waves, std::size_t block,
                     std::size_t* lane_floats = nullptr) {
  auto reducer = ShardedReducer::Create(
      group, {waves.lanes, kElements, block, UnevenBuckets(), waves.at_once});
  if (!reducer.ok()) return reducer.status().message();
  const ShardLayout& layout = (*reducer)->layout();
  for (std::size_t step = 0; step < 4; ++step) {
    RunStep(**reducer, waves, group.rank(), step);
    const Status status = (*reducer)->Wait();
    if (!status.ok()) return status.message();
    const std::vector<float> full = ShardedSum(step, waves.lanes);
    std::vector<float> shard(layout.ShardSize(group.rank()));
    layout.Take(group.rank(), std::span<const float>(full), std::span(shard));
    if (Digest((*reducer)->Gradients()) != Digest(shard)) {
      return "step " + std::to_string(step) + ": other bits";
    }
  }
  if (lane_floats != nullptr) *lane_floats = (*reducer)->memory().lanes;
  return {};
}

struct ShardedCase {
  std::string transport;
  std::size_t lanes, ranks, at_once;
};

class ShardedReducerTest : public testing::TestWithParam<ShardedCase> {};

TEST_P(ShardedReducerTest, LeavesEachRankItsShardOfTheTreeOverLanes) {
  const ShardedCase& c = GetParam();
  // Many stripes, few, fewer blocks than ranks.
  for (const std::size_t block : {kBlock, std::size_t{600}, 2 * kElements}) {
    SCOPED_TRACE(block);
    const auto results = RunRanks(c.transport, c.ranks, [&](Group& group) {
      return RunSteps(group, {c.lanes, c.ranks, c.at_once}, block);
    });
    for (const auto& result : results) EXPECT_EQ(result.report, "");
  }
}

std::vector<ShardedCase> AllShardedCases() {
  std::vector<ShardedCase> cases;
  for (const std::size_t lanes : {1, 2, 4, 8}) {
    for (std::size_t ranks = 1; ranks <= std::min<std::size_t>(lanes, 4); ranks *= 2) {
      for (std::size_t at_once = 1; at_once <= lanes / ranks; at_once *= 2) {
        cases.push_back({"local", lanes, ranks, at_once});
        if (lanes == 8 && ranks > 1) cases.push_back({"shm", lanes, ranks, at_once});
        if (lanes == 8 && ranks > 1) cases.push_back({"gloo", lanes, ranks, at_once});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Lanes, ShardedReducerTest, testing::ValuesIn(AllShardedCases()),
                         [](const auto& test) {
                           const ShardedCase& c = test.param;
                           return c.transport + "Lanes" + std::to_string(c.lanes) + "Ranks" +
                                  std::to_string(c.ranks) + "AtOnce" + std::to_string(c.at_once);
                         });

// 0, 1 | 2, 3 on two ranks are waves; with two lanes at once the second rank's are 2 and 3.
TEST(LaneWavesTest, AWaveIsOneSubtree) {
  const LaneWaves one{8, 2, 1};
  EXPECT_EQ(one.waves(), 4U);
  EXPECT_EQ(one.LaneOf(1, 0), 1U);
  EXPECT_EQ(one.LaneOf(0, 3), 6U);
  const LaneWaves two{8, 2, 2};
  EXPECT_EQ(two.LaneOf(1, 0), 2U);
  EXPECT_EQ(two.LaneOf(1, 3), 7U);
  for (std::size_t local = 0; local < 4; ++local) {
    const LaneWaves all{8, 2, 4};
    EXPECT_EQ(all.LaneOf(1, local), LanesOfRank(1, 2, 8).first + local);
  }
}

// A lane that completes buckets in order has the bucket it works on and those on their way.
TEST(ShardedReducerMemoryTest, HoldsAFewBucketsNotTheGradient) {
  constexpr std::size_t kBuckets = 64, kSize = 128;
  std::vector<Bucket> buckets;
  for (std::size_t i = 0; i < kBuckets; ++i) buckets.push_back({i * kSize, (i + 1) * kSize});
  const auto results = RunRanks("local", 2, [&](Group& group) {
    auto reducer = ShardedReducer::Create(group, {8, kBuckets * kSize, kSize, buckets, 1});
    for (std::size_t lane = 0; lane < 4; ++lane) {
      for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
        const auto gradient = (*reducer)->LaneBucket(lane, bucket);
        std::fill(gradient.begin(), gradient.end(), 1.0F);
        (*reducer)->LaneBucketReady(lane, bucket);
      }
    }
    const Status status = (*reducer)->Wait();
    if (!status.ok()) return status.message();
    const auto memory = (*reducer)->memory();
    EXPECT_LE(memory.lanes, 3 * kSize);
    // Four waves: log2(4) + 1 shards of half the gradient, and one stripe.
    EXPECT_EQ(memory.shards, 3 * kBuckets * kSize / 2 + 2 * kSize);
    const auto sum = (*reducer)->Gradients();
    const bool right = std::all_of(sum.begin(), sum.end(), [](float g) { return g == 8.0F; });
    return right && sum.size() == kBuckets * kSize / 2 ? std::string() : std::string("differs");
  });
  for (const auto& result : results) EXPECT_EQ(result.report, "");
}

TEST(ShardedReducerContractTest, LanesRunOnWhenAPeerIsMissingAndWaitNamesIt) {
  const auto results = RunRanks("local", 2,
                                [](Group& group) {
                                  const LaneWaves waves{16, 2, 2};
                                  auto reducer = ShardedReducer::Create(
                                      group, {waves.lanes, kElements, kBlock, UnevenBuckets(), 2});
                                  if (group.rank() == 1) return std::string();  // Leaves.
                                  RunStep(**reducer, waves, 0, 0);
                                  return (*reducer)->Wait().message();
                                },
                                {std::chrono::milliseconds(300)});
  EXPECT_EQ(results[0].report.rfind("reduce-scatter #2 (48 floats): no word from rank 1", 0), 0U)
      << results[0].report;
}

// The first of two lanes runs ahead until it has to wait for the second, which fails.
TEST(ShardedReducerContractTest, ALaneThatFailsDoesNotLeaveAnotherWaiting) {
  RunRanks("local", 1, [](Group& group) {
    auto reducer = ShardedReducer::Create(group, {8, kElements, kBlock, UnevenBuckets(), 2});
    std::thread ahead([&] {
      const auto run = [&] {
        for (const std::size_t lane : {0, 2, 4, 6}) RunLane(**reducer, lane, lane, 0);
      };
      EXPECT_THROW(run(), ContractViolation);
    });
    (*reducer)->LaneBucket(1, 0);
    (*reducer)->Abandon();
    ahead.join();
    return std::string();
  });
}

TEST(ShardedReducerContractTest, TakesAnEmptyGradient) {
  const auto results = RunRanks("local", 2, [](Group& group) {
    auto reducer = ShardedReducer::Create(group, {4, 0, kBlock, {}, 1});
    return (*reducer)->Wait().message();
  });
  for (const auto& result : results) EXPECT_EQ(result.report, "");
}

TEST(ShardedReducerContractTest, RefusesOptionsThatDoNotFit) {
  const auto results = RunRanks("local", 1, [](Group& group) {
    const auto code = [&](const ShardedReducerOptions& options) {
      return ShardedReducer::Create(group, options).status().code();
    };
    const bool refused =
        code({3, kElements, 1, UnevenBuckets(), 1}) == StatusCode::kInvalidArgument &&
        code({4, kElements, 1, UnevenBuckets(), 8}) == StatusCode::kInvalidArgument &&
        code({4, kElements, 0, UnevenBuckets(), 1}) == StatusCode::kInvalidArgument &&
        code({4, kElements + 1, 1, UnevenBuckets(), 1}) == StatusCode::kInvalidArgument &&
        code({4, 10, 1, {{5, 10}, {0, 5}}, 1}) == StatusCode::kInvalidArgument;
    return refused ? std::string() : std::string("accepted");
  });
  EXPECT_EQ(results[0].report, "");
}

TEST(ShardedReducerContractTest, ChecksTheOrderOfCalls) {
  RunRanks("local", 1, [](Group& group) {
    auto reducer = ShardedReducer::Create(group, {2, kElements, kBlock, UnevenBuckets(), 1});
    EXPECT_THROW((*reducer)->LaneBucket(1, 0), ContractViolation);
    EXPECT_THROW((*reducer)->LaneBucketReady(0, 0), ContractViolation);
    EXPECT_THROW(static_cast<void>((*reducer)->Wait()), ContractViolation);
    for (std::size_t b = 0; b < UnevenBuckets().size(); ++b) {
      EXPECT_EQ((*reducer)->LaneBucket(0, b).data(), (*reducer)->LaneBucket(0, b).data());
      (*reducer)->LaneBucketReady(0, b);
      EXPECT_THROW((*reducer)->LaneBucketReady(0, b), ContractViolation);
      EXPECT_THROW((*reducer)->LaneBucket(0, b), ContractViolation);
    }
    EXPECT_NO_THROW((*reducer)->LaneBucket(1, 0));
    EXPECT_THROW((*reducer)->LaneBucket(2, 0), ContractViolation);
    return std::string();
  });
}

}  // namespace
}  // namespace muster
