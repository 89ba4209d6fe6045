// What every transport must do, on 1 to 4 ranks.
#include "collectives/group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <numeric>

#include "collectives/ordered_sum.h"
#include "tests/unit/collectives/ranks.h"

namespace muster {
namespace {

struct GroupCase {
  std::string transport;
  std::size_t size;
};

class GroupTest : public testing::TestWithParam<GroupCase> {
 protected:
  // Runs `run` on all ranks; every report must be empty.
  static void OnAllRanks(const RankFunction& run) {
    const auto results = RunRanks(GetParam().transport, GetParam().size, run);
    ASSERT_EQ(results.size(), GetParam().size);
    for (std::size_t rank = 0; rank < results.size(); ++rank) {
      EXPECT_TRUE(results[rank].ok) << "rank " << rank << " signal " << results[rank].signal;
      EXPECT_EQ(results[rank].report, "") << "rank " << rank;
    }
  }
};

// Element counts around cache lines, windows (64 Ki floats), riders (1 Ki) and pieces (128 Ki).
constexpr std::size_t kCounts[] = {0, 1, 3, 17, 1000, 1024, 1025, 4097, 65536, 65537, 300001};

// The tree of group.h, written down once more in the plainest way.
float Tree(const std::vector<std::vector<float>>& rows, std::size_t i, std::size_t first,
           std::size_t count) {
  if (count == 1) return rows[first][i];
  const std::size_t left = LeftLeaves(count);
  return Tree(rows, i, first, left) + Tree(rows, i, first + left, count - left);
}

std::vector<float> SumOfRanks(std::size_t size, std::size_t count) {
  std::vector<std::vector<float>> rows;
  for (std::size_t rank = 0; rank < size; ++rank) rows.push_back(TestValues(rank, count));
  std::vector<float> sum(count);
  for (std::size_t i = 0; i < count; ++i) sum[i] = Tree(rows, i, 0, size);
  return sum;
}

std::string Explain(const Status& status, bool right, const std::string& what) {
  if (!status.ok()) return what + ": " + status.message();
  return right ? "" : what + ": wrong values";
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && Digest(a) == Digest(b);
}

TEST_P(GroupTest, AllReduceIsTheTreesSumToTheLastBit) {
  OnAllRanks([](Group& group) {
    for (const std::size_t count : kCounts) {
      std::vector<float> values = TestValues(group.rank(), count);
      const Status status = group.AllReduce(std::span<float>(values));
      const auto report = Explain(status, SameBits(values, SumOfRanks(group.size(), count)),
                                  std::to_string(count) + " floats");
      if (!report.empty()) return report;
    }
    return std::string();
  });
}

TEST_P(GroupTest, AllReduceOfAllocatedMemoryHasTheSameBits) {
  OnAllRanks([](Group& group) {
    auto memory = group.Allocate(300001);
    if (!memory.ok()) return memory.status().message();
    if (std::any_of(memory->begin(), memory->end(), [](float v) { return v != 0.0F; })) {
      return std::string("not zeroed");
    }
    for (const std::size_t count : kCounts) {
      const auto values = TestValues(group.rank(), count);
      // An odd offset, another one on every rank.
      const std::size_t offset = count == 300001 ? 0 : 5 + group.rank();
      std::copy(values.begin(), values.end(), memory->begin() + static_cast<long>(offset));
      const auto part = memory->subspan(offset, count);
      const Status status = group.AllReduce(part);
      const auto report = Explain(status, SameBits(part, SumOfRanks(group.size(), count)),
                                  std::to_string(count) + " floats");
      if (!report.empty()) return report;
    }
    return std::string();
  });
}

TEST_P(GroupTest, AllReduceAcceptsAllocatedMemoryOnSomeRanksOnly) {
  OnAllRanks([](Group& group) {
    auto memory = group.Allocate(50000);
    if (!memory.ok()) return memory.status().message();
    std::vector<float> values = TestValues(group.rank(), 50000);
    std::copy(values.begin(), values.end(), memory->begin());
    const auto mine = group.rank() == 1 ? *memory : std::span<float>(values);
    const Status status = group.AllReduce(mine);
    return Explain(status, SameBits(mine, SumOfRanks(group.size(), 50000)), "mixed");
  });
}

TEST_P(GroupTest, SumsIntegersAndDoublesExactly) {
  OnAllRanks([](Group& group) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{5000}}) {
      std::vector<std::uint64_t> integers(count, (std::uint64_t{1} << 60U) + group.rank());
      std::vector<double> doubles(count, 0.5 + static_cast<double>(group.rank()));
      Status status = group.AllReduce(std::span<std::uint64_t>(integers));
      if (status.ok()) status = group.AllReduce(std::span<double>(doubles));
      const std::size_t n = group.size();
      const std::uint64_t expected = n * (std::uint64_t{1} << 60U) + n * (n - 1) / 2;
      const double expected_double = 0.5 * static_cast<double>(n * n);
      const bool right =
          std::count(integers.begin(), integers.end(), expected) == static_cast<long>(count) &&
          std::count(doubles.begin(), doubles.end(), expected_double) == static_cast<long>(count);
      const auto report = Explain(status, right, std::to_string(count));
      if (!report.empty()) return report;
    }
    return std::string();
  });
}

// Element i of what rank `from` has for rank `to`.
float Label(std::size_t from, std::size_t to, std::size_t i) {
  return static_cast<float>(from * 7 + to * 3) + static_cast<float>(i % 1000) / 1024.0F;
}

TEST_P(GroupTest, RowsArriveWhereTheyBelong) {
  OnAllRanks([](Group& group) {
    const std::size_t n = group.size();
    const std::size_t me = group.rank();
    for (const std::size_t count : {0UL, 1UL, 33UL, 1500UL, 70001UL}) {
      std::vector<float> input(n * count), output(n * count), scattered(count), all(n * count);
      for (std::size_t i = 0; i < n * count; ++i) input[i] = Label(me, i / count, i % count);
      Status status = group.AllToAll(input, output);
      if (status.ok()) status = group.ReduceScatter(input, scattered);
      if (status.ok()) status = group.AllGather(std::span<const float>(scattered), std::span(all));
      bool right = true;
      for (std::size_t i = 0; i < n * count; ++i) {
        right = right && output[i] == Label(i / count, me, i % count);
        float sum = Label(0, i / count, i % count);  // Exact: multiples of 1/1024.
        for (std::size_t r = 1; r < n; ++r) sum += Label(r, i / count, i % count);
        right = right && all[i] == sum;
        if (i / count == me) right = right && scattered[i % count] == sum;
      }
      const auto report = Explain(status, right, std::to_string(count));
      if (!report.empty()) return report;
    }
    return std::string();
  });
}

TEST_P(GroupTest, BroadcastTakesTheRootsValues) {
  OnAllRanks([](Group& group) {
    for (std::size_t root = 0; root < group.size(); ++root) {
      for (const std::size_t count : kCounts) {
        std::vector<float> values = TestValues(group.rank(), count);
        const Status status = group.Broadcast(std::span<float>(values), root);
        const auto report =
            Explain(status, SameBits(values, TestValues(root, count)), std::to_string(count));
        if (!report.empty()) return report;
      }
    }
    return std::string();
  });
}

TEST_P(GroupTest, MessagesGoRoundTheRing) {
  OnAllRanks([](Group& group) {
    const std::size_t n = group.size();
    if (n == 1) return std::string();
    const std::size_t next = (group.rank() + 1) % n;
    const std::size_t before = (group.rank() + n - 1) % n;
    // The last one exceeds every buffer on the way.
    for (const std::size_t count : {0UL, 1UL, 1000UL, 500000UL}) {
      const auto mine = TestValues(group.rank(), count);
      std::vector<float> theirs(count);
      const Status status = group.SendReceive(next, mine, before, theirs);
      const auto report =
          Explain(status, SameBits(theirs, TestValues(before, count)), std::to_string(count));
      if (!report.empty()) return report;
    }
    // One after another: rank 0 begins.
    std::vector<float> token = {0};
    Status status;
    if (group.rank() > 0) status = group.Receive(before, token);
    token[0] += 1;
    if (status.ok() && next != 0) status = group.Send(next, token);
    const bool right = token[0] == static_cast<float>(group.rank() + 1);
    return Explain(status, right, "token");
  });
}

TEST_P(GroupTest, CountsWhatItSends) {
  OnAllRanks([](Group& group) {
    std::vector<float> values(4096);
    group.ResetStatistics();
    Status status = group.AllReduce(std::span<float>(values));
    if (status.ok()) status = group.Barrier();
    const auto& all_reduce = group.statistics()[static_cast<std::size_t>(Collective::kAllReduce)];
    // What a ring moves: 2 (n - 1) / n of the array.
    const std::size_t n = group.size();
    const std::size_t bytes = 2 * (n - 1) * values.size() * sizeof(float) / n;
    const bool near = all_reduce.bytes + 512 > bytes && all_reduce.bytes < bytes + 512;
    const auto& barrier = group.statistics()[static_cast<std::size_t>(Collective::kBarrier)];
    return Explain(status,
                   all_reduce.calls == 1 && near &&
                       (n == 1 || all_reduce.messages >= 2 * (n - 1)) && barrier.calls == 1 &&
                       barrier.bytes == 0,
                   "statistics: " + std::to_string(all_reduce.bytes));
  });
}

INSTANTIATE_TEST_SUITE_P(
    Transports, GroupTest,
    testing::Values(GroupCase{"local", 1}, GroupCase{"local", 2}, GroupCase{"local", 3},
                    GroupCase{"local", 4}, GroupCase{"local", 7}, GroupCase{"shm", 1},
                    GroupCase{"shm", 2}, GroupCase{"shm", 3}, GroupCase{"shm", 4},
                    GroupCase{"gloo", 1}, GroupCase{"gloo", 2}, GroupCase{"gloo", 3},
                    GroupCase{"gloo", 4}),
    [](const auto& test) { return test.param.transport + std::to_string(test.param.size); });

TEST(GroupSegmentsTest, NothingRemainsInSharedMemory) {
  // While the groups are alive: the names are gone as soon as all ranks have attached.
  const auto results = RunRanks("shm", 3, [](Group& group) {
    const auto memory = group.Allocate(1000);
    if (!memory.ok() || !group.Barrier().ok()) return std::string("failed");
    return std::string();
  });
  for (const auto& result : results) EXPECT_EQ(result.report, "");
  EXPECT_TRUE(SegmentsLeft().empty());
}

TEST(GroupSegmentsTest, FullSharedMemoryIsAnErrorWithAReasonOnEveryRank) {
  const auto results = RunRanks("shm", 2, [](Group& group) {
    const auto memory = group.Allocate(std::size_t{1} << 42U);
    if (memory.ok()) return std::string("16 TiB of shared memory?");
    const bool right = memory.status().code() == StatusCode::kResourceExhausted &&
                       memory.status().message().find("/dev/shm") != std::string::npos;
    return right ? std::string() : memory.status().message();
  });
  for (const auto& result : results) EXPECT_EQ(result.report, "");
  EXPECT_TRUE(SegmentsLeft().empty());
}

}  // namespace
}  // namespace muster
