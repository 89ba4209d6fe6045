#include "worker/agent/machine.h"

#include <gtest/gtest.h>

#include "base/cpu.h"
#include "worker/agent/numerics.h"

namespace muster::agent {
namespace {

TEST(MachineTest, DealsCoresInEqualNeighbouringShares) {
  using Cores = std::vector<std::vector<int>>;
  EXPECT_EQ(DealCores({0, 1, 2, 3}, 2), (Cores{{0, 1}, {2, 3}}));
  EXPECT_EQ(DealCores({4, 5, 6, 7, 8}, 2), (Cores{{4, 5}, {6, 7}}));
  EXPECT_EQ(DealCores({0, 1}, 3), (Cores{{0}, {1}, {0}}));  // Fewer cores than slots: shared.
  EXPECT_EQ(DealCores({}, 2), (Cores{{}, {}}));
}

TEST(MachineTest, KnowsItself) {
  EXPECT_FALSE(AvailableCores().empty());
  EXPECT_GT(AvailableMemoryMib(), 0U);
  EXPECT_EQ(HostId().size(), 32U);
  EXPECT_EQ(HostId(), HostId());
}

TEST(NumericsTest, AnotherProgramIsAnotherClass) {
  EXPECT_EQ(NumericsClass("/proc/self/exe"), NumericsClass("/proc/self/exe"));
  EXPECT_NE(NumericsClass("/proc/self/exe"), NumericsClass("/bin/sh"));
  const std::string parts = DescribeNumerics("/proc/self/exe");
  EXPECT_EQ(parts.find("unknown"), std::string::npos) << parts;
  EXPECT_NE(parts.find("avx2"), std::string::npos) << parts;
  EXPECT_NE(parts.find("libm.so"), std::string::npos) << parts;
}

TEST(NumericsTest, AnotherOrderOfBf16SumsIsAnotherClass) {
  ForceBf16Sums(Bf16Sums::kChain);
  const std::string chain = NumericsClass("/proc/self/exe");
  ForceBf16Sums(Bf16Sums::kBlocks);
  EXPECT_NE(NumericsClass("/proc/self/exe"), chain);
  ForceBf16Sums(std::nullopt);
}

}  // namespace
}  // namespace muster::agent
