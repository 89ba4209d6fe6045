#include "collectives/gradient_reducer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/philox.h"
#include "collectives/lane_tree.h"
#include "tests/unit/collectives/ranks.h"

namespace muster {
namespace {

constexpr std::size_t kCount = 10007;

std::vector<Bucket> Buckets() { return {{9000, kCount}, {2001, 9000}, {2000, 2001}, {0, 2000}}; }

std::vector<float> LaneValues(std::size_t step, std::size_t lane) {
  return TestValues(1000 * step + lane + 1, kCount);
}

// ((l0+l1)+(l2+l3))+...: neighbours first.
std::vector<float> ReducerSum(std::size_t step, std::size_t lanes) {
  std::vector<std::vector<float>> rows;
  for (std::size_t lane = 0; lane < lanes; ++lane) rows.push_back(LaneValues(step, lane));
  while (rows.size() > 1) {
    std::vector<std::vector<float>> next;
    for (std::size_t left = 0; left < rows.size(); left += 2) {
      next.push_back(rows[left]);
      for (std::size_t i = 0; i < kCount; ++i) next.back()[i] += rows[left + 1][i];
    }
    rows = std::move(next);
  }
  return rows[0];
}

// The lanes of one block, one after another; buckets in an order of the seed's.
void RunBlock(GradientReducer& reducer, std::size_t first_global, std::size_t begin,
              std::size_t end, std::size_t step) {
  for (std::size_t lane = begin; lane < end; ++lane) {
    const auto gradients = reducer.LaneGradients(lane);
    const auto values = LaneValues(step, first_global + lane);
    std::vector<std::size_t> order(reducer.buckets().size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (std::size_t i = order.size() - 1; i > 0; --i) {
      const auto bits = RandomBlock(step, RandomPurpose::kDataOrder,
                                    static_cast<std::uint32_t>(first_global + lane), i);
      std::swap(order[i], order[Below(bits[0], bits[1], i + 1)]);
    }
    for (const std::size_t bucket : order) {
      const Bucket range = reducer.buckets()[bucket];
      std::copy(values.begin() + static_cast<long>(range.begin),
                values.begin() + static_cast<long>(range.end),
                gradients.begin() + static_cast<long>(range.begin));
      reducer.LaneBucketReady(lane, bucket);
    }
  }
}

std::string RunSteps(Group& group, std::size_t lanes, std::size_t lanes_at_once) {
  auto reducer = GradientReducer::Create(group, {lanes, kCount, Buckets(), lanes_at_once});
  if (!reducer.ok()) return reducer.status().message();
  const LaneRange mine = LanesOfRank(group.rank(), group.size(), lanes);
  const std::size_t block = mine.count / lanes_at_once;
  for (std::size_t step = 0; step < 3; ++step) {
    std::vector<std::thread> threads;
    for (std::size_t b = 0; b < lanes_at_once; ++b) {
      threads.emplace_back(
          [&, b] { RunBlock(**reducer, mine.first, b * block, (b + 1) * block, step); });
    }
    for (auto& thread : threads) thread.join();
    const Status status = (*reducer)->Wait();
    if (!status.ok()) return status.message();
    if (Digest((*reducer)->Gradients()) != Digest(ReducerSum(step, lanes))) {
      return "step " + std::to_string(step) + ": other bits";
    }
  }
  return {};
}

struct ReducerCase {
  std::string transport;
  std::size_t lanes, ranks, lanes_at_once;
};

class GradientReducerTest : public testing::TestWithParam<ReducerCase> {};

TEST_P(GradientReducerTest, HasTheBitsOfTheTreeOverLanes) {
  const ReducerCase& c = GetParam();
  const auto results = RunRanks(c.transport, c.ranks, [&](Group& group) {
    return RunSteps(group, c.lanes, c.lanes_at_once);
  });
  for (const auto& result : results) EXPECT_EQ(result.report, "");
}

std::vector<ReducerCase> AllReducerCases() {
  std::vector<ReducerCase> cases;
  for (const std::size_t lanes : {1, 2, 4, 8}) {
    for (std::size_t ranks = 1; ranks <= lanes; ranks *= 2) {
      for (std::size_t at_once = 1; at_once <= lanes / ranks; at_once *= 2) {
        cases.push_back({"local", lanes, ranks, at_once});
        if (lanes == 4 && ranks > 1) cases.push_back({"shm", lanes, ranks, at_once});
        if (lanes == 4 && ranks > 1) cases.push_back({"gloo", lanes, ranks, at_once});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Lanes, GradientReducerTest, testing::ValuesIn(AllReducerCases()),
                         [](const auto& test) {
                           const ReducerCase& c = test.param;
                           return c.transport + "Lanes" + std::to_string(c.lanes) + "Ranks" +
                                  std::to_string(c.ranks) + "AtOnce" +
                                  std::to_string(c.lanes_at_once);
                         });

TEST(GradientReducerContractTest, WaitTellsWhichRankIsMissing) {
  const auto results =
      RunRanks("local", 2,
               [](Group& group) {
                 auto reducer = GradientReducer::Create(group, {2, kCount, Buckets(), 1});
                 if (group.rank() == 1) return std::string();  // Leaves.
                 RunBlock(**reducer, 0, 0, 1, 0);
                 return (*reducer)->Wait().message();
               },
               {std::chrono::milliseconds(300)});
  EXPECT_EQ(results[0].report.rfind("all-reduce #2 (1007 floats): no word from rank 1", 0), 0U)
      << results[0].report;
}

TEST(GradientReducerContractTest, RefusesOptionsThatDoNotFit) {
  const auto results = RunRanks("local", 1, [](Group& group) {
    const auto code = [&](const GradientReducerOptions& options) {
      return GradientReducer::Create(group, options).status().code();
    };
    const bool refused = code({3, kCount, Buckets(), 1}) == StatusCode::kInvalidArgument &&
                         code({4, kCount, Buckets(), 8}) == StatusCode::kInvalidArgument &&
                         code({4, kCount + 1, Buckets(), 1}) == StatusCode::kInvalidArgument &&
                         code({4, 10, {{0, 6}, {5, 10}}, 1}) == StatusCode::kInvalidArgument &&
                         code({4, 10, {{0, 5}, {6, 10}}, 1}) == StatusCode::kInvalidArgument;
    return refused ? std::string() : std::string("accepted");
  });
  EXPECT_EQ(results[0].report, "");
}

TEST(GradientReducerContractTest, ChecksTheOrderOfCalls) {
  RunRanks("local", 1, [](Group& group) {
    auto reducer = GradientReducer::Create(group, {2, kCount, Buckets(), 1});
    EXPECT_THROW((*reducer)->LaneGradients(1), ContractViolation);
    EXPECT_THROW(static_cast<void>((*reducer)->Wait()), ContractViolation);
    for (std::size_t b = 0; b < 4; ++b) (*reducer)->LaneBucketReady(0, b);
    EXPECT_NO_THROW((*reducer)->LaneGradients(1));
    EXPECT_THROW((*reducer)->LaneBucketReady(2, 0), ContractViolation);
    return std::string();
  });
}

TEST(BucketsFromTheEndTest, NeverSplitsAParameter) {
  // Parameters of 10, 20, 5 and 100 floats; buckets of at least 100 bytes.
  const std::vector<std::size_t> starts = {0, 10, 30, 35};
  const auto buckets = BucketsFromTheEnd(starts, 135, 100);
  ASSERT_EQ(buckets.size(), 3U);
  EXPECT_EQ(buckets[0].begin, 35U);
  EXPECT_EQ(buckets[0].end, 135U);
  EXPECT_EQ(buckets[1].begin, 10U);
  EXPECT_EQ(buckets[2].begin, 0U);
  EXPECT_EQ(buckets[2].end, 10U);
  EXPECT_TRUE(BucketsFromTheEnd({}, 0, 100).empty());
}

TEST(LaneTreeTest, ScalarsHaveTheSameBitsOnAnyNumberOfRanks) {
  constexpr std::size_t kLanes = 8, kWidth = 3;
  std::vector<double> rows(kLanes * kWidth);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = 1.0 / static_cast<double>(3 + i * i);
  const std::vector<double> expected = SumRows(rows, kLanes);
  // By hand, for column 0.
  const auto at = [&](std::size_t lane) { return rows[lane * kWidth]; };
  EXPECT_EQ(expected[0], ((at(0) + at(1)) + (at(2) + at(3))) + ((at(4) + at(5)) + (at(6) + at(7))));
  for (const std::size_t ranks : {1, 2, 4, 8}) {
    const auto results = RunRanks("local", ranks, [&](Group& group) {
      const LaneRange mine = LanesOfRank(group.rank(), ranks, kLanes);
      const auto sums = SumLanes(group, kLanes,
                                 std::span(rows).subspan(mine.first * kWidth, mine.count * kWidth));
      return sums.ok() && *sums == expected ? std::string() : std::string("differs");
    });
    for (const auto& result : results) EXPECT_EQ(result.report, "") << ranks << " ranks";
  }
}

TEST(LaneTreeTest, RefusesWhatIsNoPowerOfTwo) {
  EXPECT_FALSE(ValidateLanes(3, 1).ok());
  EXPECT_FALSE(ValidateLanes(0, 0).ok());
  EXPECT_FALSE(ValidateLanes(4, 3).ok());
  EXPECT_FALSE(ValidateLanes(4, 8).ok());
  EXPECT_TRUE(ValidateLanes(4, 4).ok());
}

}  // namespace
}  // namespace muster
