// What happens when ranks stay away, die, or do not agree.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "collectives/gloo/gloo_group.h"
#include "collectives/shm/shm_group.h"
#include "tests/unit/collectives/ranks.h"

namespace muster {
namespace {

using std::chrono::milliseconds;

class GroupFaultsTest : public testing::TestWithParam<std::string> {};

// Keeps a rank alive and away until the others have noticed.
void StayAway() { ::usleep(900 * 1000); }

TEST_P(GroupFaultsTest, TimeoutNamesTheMissingRankTheCallAndItsNumber) {
  const auto results = RunRanks(GetParam(), 3,
                                [](Group& group) {
                                  if (!group.Barrier().ok())
                                    return std::string("first barrier failed");
                                  if (group.rank() == 2) {
                                    StayAway();
                                    return std::string();
                                  }
                                  std::vector<float> values(4096);
                                  const Status status = group.AllReduce(std::span<float>(values));
                                  const Status again = group.Barrier();
                                  if (again.message() != status.message())
                                    return "not broken: " + again.message();
                                  return status.message();
                                },
                                {milliseconds(300)});
  bool deadline_told = false;
  for (std::size_t rank = 0; rank < 2; ++rank) {
    const std::string& report = results[rank].report;
    EXPECT_EQ(report.rfind("all-reduce #2 (4096 floats): ", 0), 0U) << report;
    EXPECT_NE(report.find("no word from rank 2"), std::string::npos) << report;
    deadline_told = deadline_told || report.find("for 0.3 s") != std::string::npos;
  }
  EXPECT_TRUE(deadline_told);
}

TEST_P(GroupFaultsTest, AnotherCallOrCountIsNamedOnEveryRank) {
  const auto results = RunRanks(GetParam(), 2, [](Group& group) {
    if (group.rank() == 0) return group.Barrier().message();
    std::vector<float> values(10);
    return group.AllReduce(std::span<float>(values)).message();
  });
  EXPECT_EQ(results[0].report.rfind("barrier #1: rank 1 is in all-reduce #1 (10 floats)", 0), 0U)
      << results[0].report;
  EXPECT_EQ(results[1].report.rfind("all-reduce #1 (10 floats): rank 0 is in barrier #1", 0), 0U)
      << results[1].report;
  for (const std::size_t count : {std::size_t{100}, std::size_t{100000}}) {
    const auto counts = RunRanks(GetParam(), 3, [count](Group& group) {
      std::vector<float> values(group.rank() == 1 ? count + 1 : count);
      return group.AllReduce(std::span<float>(values)).message();
    });
    for (const auto& result : counts) {
      EXPECT_NE(result.report.find(std::to_string(count + 1) + " floats"), std::string::npos)
          << result.report;
    }
  }
}

TEST_P(GroupFaultsTest, AMessageOfAnotherSizeIsRefused) {
  const auto results = RunRanks(GetParam(), 2,
                                [](Group& group) {
                                  std::vector<float> values(group.rank() == 0 ? 5 : 6);
                                  if (group.rank() == 0) {
                                    // The send itself may succeed or learn of the receiver's
                                    // refusal.
                                    static_cast<void>(group.Send(1, values));
                                    return std::string();
                                  }
                                  return group.Receive(0, values).message();
                                },
                                {milliseconds(2000)});
  EXPECT_EQ(results[1].report.rfind(
                "receive #1 from rank 0 (6 floats): rank 0 is in send #1 to rank 1 (5 floats)", 0),
            0U)
      << results[1].report;
}

TEST_P(GroupFaultsTest, AKilledProcessIsNoticedInABarrier) {
  if (GetParam() == "local") GTEST_SKIP() << "a thread cannot be killed";
  const auto results = RunRanks(GetParam(), 3, [](Group& group) {
    if (!group.Barrier().ok()) return std::string("first barrier failed");
    if (group.rank() == 1) ::raise(SIGKILL);
    return group.Barrier().message();
  });
  EXPECT_EQ(results[1].signal, SIGKILL);
  EXPECT_EQ(results[0].signal, 0);
  EXPECT_EQ(results[2].signal, 0);
  // Not by the timeout of 30 s, after which the processes would have been killed.
  for (const std::size_t rank : {std::size_t{0}, std::size_t{2}}) {
    const std::string& report = results[rank].report;
    EXPECT_EQ(report.rfind("barrier #2: ", 0), 0U) << report;
    EXPECT_NE(report.find("rank 1"), std::string::npos) << report;
  }
  EXPECT_TRUE(SegmentsLeft().empty());
}

INSTANTIATE_TEST_SUITE_P(Transports, GroupFaultsTest, testing::Values("local", "shm", "gloo"),
                         [](const auto& test) { return test.param; });

TEST(ShmGroupTest, CreationNamesTheRankThatHasNotCome) {
  const std::string name = SegmentPrefix() + "creation";
  const auto lonely = CreateShmGroup({name, 1, 0, 2, {milliseconds(200)}});
  EXPECT_EQ(lonely.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(lonely.status().message().find("no word from rank 1 for 0.2 s"), std::string::npos)
      << lonely.status().message();
  const auto other = CreateShmGroup({name, 1, 1, 2, {milliseconds(200)}});
  EXPECT_NE(other.status().message().find("no word from rank 0 for 0.2 s"), std::string::npos)
      << other.status().message();
  EXPECT_TRUE(SegmentsLeft().empty());
}

TEST(ShmGroupTest, ASegmentLeftBehindIsReplaced) {
  const std::string name = SegmentPrefix() + "stale";
  // Rank 0 of generation 1 is killed while it waits for rank 1, and leaves its segment.
  const auto killed = testing_support::RunProcesses(
      1,
      [&](std::size_t) {
        return CreateShmGroup({name, 1, 0, 2, {milliseconds(20000)}}).status().message();
      },
      0.3);
  EXPECT_EQ(killed[0].signal, SIGKILL);
  ASSERT_EQ(SegmentsLeft().size(), 1U);
  const auto next = testing_support::RunProcesses(2, [&](std::size_t rank) {
    auto group = CreateShmGroup({name, 2, 1 - rank, 2, {}});
    if (!group.ok()) return group.status().message();
    return (*group)->Barrier().message();
  });
  for (const auto& result : next) EXPECT_EQ(result.report, "");
  EXPECT_TRUE(SegmentsLeft().empty());
}

TEST(ShmGroupTest, BadOptionsAreRefused) {
  EXPECT_EQ(CreateShmGroup({"no-slash", 0, 0, 1, {}}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateShmGroup({"/a/b", 0, 0, 1, {}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateShmGroup({"/muster-x", 0, 2, 2, {}}).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(GlooGroupTest, CreationNamesTheRankThatHasNotCome) {
  MemoryRendezvous rendezvous;
  const auto lonely = CreateGlooGroup({"lonely", 0, 2, "", "", {milliseconds(200)}}, rendezvous);
  EXPECT_EQ(lonely.status().code(), StatusCode::kDeadlineExceeded) << lonely.status().message();
  EXPECT_NE(lonely.status().message().find("no word from rank 1 for 0.2 s"), std::string::npos)
      << lonely.status().message();
  const auto nowhere =
      CreateGlooGroup({"nowhere", 0, 2, "eth99", "", {milliseconds(200)}}, rendezvous);
  EXPECT_FALSE(nowhere.ok());
  EXPECT_NE(nowhere.status().message().find("eth99"), std::string::npos)
      << nowhere.status().message();
}

}  // namespace
}  // namespace muster
