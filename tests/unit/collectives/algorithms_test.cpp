#include "collectives/algorithms/algorithms.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/collectives/ranks.h"

namespace muster::algorithms {
namespace {

struct AlgorithmCase {
  std::string transport;
  std::size_t size;
};

class AlgorithmsTest : public testing::TestWithParam<AlgorithmCase> {
 protected:
  static void OnAllRanks(const RankFunction& run) {
    for (const auto& result : RunRanks(GetParam().transport, GetParam().size, run)) {
      EXPECT_TRUE(result.ok);
      EXPECT_EQ(result.report, "");
    }
  }
};

constexpr std::size_t kCounts[] = {0, 1, 5, 1000, 40000};

// The sum in double, and the most that any order of float additions may differ from it:
// (p - 1) * 2^-24 * sum |x|, to first order; twice that here.
bool NearSum(std::span<const float> values, std::size_t ranks) {
  std::vector<double> sum(values.size()), magnitude(values.size());
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const auto row = TestValues(rank, values.size());
    for (std::size_t i = 0; i < row.size(); ++i) {
      sum[i] += static_cast<double>(row[i]);
      magnitude[i] += std::abs(static_cast<double>(row[i]));
    }
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double tolerance = std::ldexp(static_cast<double>(2 * ranks) * magnitude[i], -24);
    if (std::abs(static_cast<double>(values[i]) - sum[i]) > tolerance) return false;
  }
  return true;
}

std::string Explain(const Status& status, bool right, std::size_t count) {
  if (!status.ok()) return status.message();
  return right ? "" : std::to_string(count) + " floats: wrong values";
}

TEST_P(AlgorithmsTest, RingAllReduceSumsAndSendsTheLeastBytes) {
  OnAllRanks([](Group& group) {
    const std::size_t p = group.size();
    for (const std::size_t count : kCounts) {
      auto values = TestValues(group.rank(), count);
      group.ResetStatistics();
      const Status status = RingAllReduce(group, values);
      const Traffic traffic = MessagesSent(group);
      const std::size_t least = 2 * (p - 1) * count * sizeof(float) / p;
      const bool frugal =
          traffic.messages == 2 * (p - 1) && traffic.bytes <= least + 2 * p * 16 * sizeof(float);
      const auto report = Explain(status, NearSum(values, p) && frugal, count);
      if (!report.empty()) return report;
    }
    return std::string();
  });
}

TEST_P(AlgorithmsTest, ButterflyHasTheBitsOfTheOrderedSum) {
  OnAllRanks([](Group& group) {
    const std::size_t p = group.size();
    for (const std::size_t count : kCounts) {
      auto values = TestValues(group.rank(), count);
      auto ordered = values;
      if (p == 3) {
        const Status refused = ButterflyAllReduce(group, values);
        return refused.code() == StatusCode::kInvalidArgument ? std::string() : "accepted";
      }
      Status status = ButterflyAllReduce(group, values);
      if (status.ok()) status = group.AllReduce(std::span<float>(ordered));
      const auto report = Explain(status, Digest(values) == Digest(ordered), count);
      if (!report.empty()) return report;
    }
    return std::string();
  });
}

TEST_P(AlgorithmsTest, BroadcastsReachEveryRankFromAnyRoot) {
  OnAllRanks([](Group& group) {
    for (std::size_t root = 0; root < group.size(); ++root) {
      for (const std::size_t count : kCounts) {
        const auto expected = TestValues(root, count);
        auto naive = TestValues(group.rank(), count);
        auto tree = naive;
        Status status = NaiveBroadcast(group, naive, root);
        if (status.ok()) status = TreeBroadcast(group, tree, root);
        const auto report = Explain(status, naive == expected && tree == expected, count);
        if (!report.empty()) return report;
      }
    }
    return std::string();
  });
}

TEST_P(AlgorithmsTest, TreeReduceLeavesTheSumAtTheRoot) {
  OnAllRanks([](Group& group) {
    for (std::size_t root = 0; root < group.size(); ++root) {
      auto values = TestValues(group.rank(), 1000);
      const Status status = TreeReduce(group, values, root);
      const bool right = group.rank() != root || NearSum(values, group.size());
      const auto report = Explain(status, right, 1000);
      if (!report.empty()) return report;
    }
    return std::string();
  });
}

INSTANTIATE_TEST_SUITE_P(Transports, AlgorithmsTest,
                         testing::Values(AlgorithmCase{"local", 1}, AlgorithmCase{"local", 2},
                                         AlgorithmCase{"local", 3}, AlgorithmCase{"local", 4},
                                         AlgorithmCase{"shm", 2}, AlgorithmCase{"shm", 3},
                                         AlgorithmCase{"gloo", 3}),
                         [](const auto& test) {
                           return test.param.transport + std::to_string(test.param.size);
                         });

}  // namespace
}  // namespace muster::algorithms
