// Deterministic simulation: the real scheduler; simulated shell, agents, ranks, network and time.
// MUSTER_SIM_SEED=N replays one run, MUSTER_SIM_SEEDS=N runs seeds 0 to N-1.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/sim/simulation.h"

namespace muster::sim {
namespace {

TEST(SchedulerSimTest, KeepsItsPromisesUnderFaults) {
  const char* replay = std::getenv("MUSTER_SIM_SEED");
  const char* many = std::getenv("MUSTER_SIM_SEEDS");
  const std::uint64_t first = replay != nullptr ? std::strtoull(replay, nullptr, 10) : 0;
  std::uint64_t count = many != nullptr ? std::strtoull(many, nullptr, 10) : 500;
  if (replay != nullptr) count = 1;
  std::uint64_t helpers = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    Simulation simulation(seed);
    ASSERT_EQ(simulation.Run(), "") << "replay with MUSTER_SIM_SEED=" << seed;
    helpers += simulation.helpers_started();
  }
  std::cout << helpers << " helpers in " << count << " runs\n";
  if (replay == nullptr) {
    EXPECT_GT(helpers, count);
  }
}

struct Planted {
  const char* name;
  Bug bug;
  std::uint64_t seeds;  // Enough to catch it; the rarer, the more.
};

class PlantedBugTest : public testing::TestWithParam<Planted> {};

TEST_P(PlantedBugTest, IsCaughtByTheSimulation) {
  std::uint64_t caught = 0;
  std::string first;
  for (std::uint64_t seed = 0; seed < GetParam().seeds; ++seed) {
    const std::string broken = Simulation(seed, GetParam().bug).Run();
    if (broken.empty()) continue;
    if (caught++ == 0) first = "first by seed " + std::to_string(seed) + ": " + broken;
  }
  std::cout << GetParam().name << ": caught by " << caught << " of " << GetParam().seeds
            << " seeds, " << first << "\n";
  EXPECT_GT(caught, 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Simulation, PlantedBugTest,
    testing::Values(Planted{"AcceptEveryCommit", Bug::kAcceptEveryCommit, 20},
                    Planted{"AnswerBeforeJournal", Bug::kAnswerBeforeJournal, 20},
                    Planted{"ForgetCancellation", Bug::kForgetCancellation, 20},
                    Planted{"ForgetAttemptNumber", Bug::kForgetAttemptNumber, 20},
                    Planted{"ForgetAttemptEnd", Bug::kForgetAttemptEnd, 20},
                    Planted{"ForgetEndedPlacement", Bug::kForgetEndedPlacement, 100},
                    Planted{"ReuseEpoch", Bug::kReuseEpoch, 20},
                    Planted{"ForgetNumerics", Bug::kForgetNumerics, 20},
                    Planted{"ForgetMemory", Bug::kForgetMemory, 100},
                    Planted{"ForgetLimits", Bug::kForgetLimits, 100},
                    Planted{"ForgetUnfenced", Bug::kForgetUnfenced, 300},
                    Planted{"ForgetUsedTime", Bug::kForgetUsedTime, 300},
                    Planted{"ForgetDrains", Bug::kForgetDrains, 100},
                    Planted{"NeverOrphan", Bug::kNeverOrphan, 1000},
                    Planted{"ObeyOlderAnswers", Bug::kObeyOlderAnswers, 20},
                    Planted{"IgnoreEpoch", Bug::kIgnoreEpoch, 3000},
                    Planted{"ReleaseTooEarly", Bug::kReleaseTooEarly, 20},
                    Planted{"KeepIncarnation", Bug::kKeepIncarnation, 20},
                    Planted{"DropExitedRanks", Bug::kDropExitedRanks, 20},
                    Planted{"ForgetObeyed", Bug::kForgetObeyed, 20}),
    [](const auto& planted) { return std::string(planted.param.name); });

}  // namespace
}  // namespace muster::sim
