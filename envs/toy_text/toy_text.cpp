#include "envs/toy_text/toy_text.h"

#include "envs/registry.h"

namespace muster::envs {

std::vector<EnvEntry> ToyTextEntries() {
  const auto lake = [](const char* name, const char* map) {
    return [name, map](OptionReader& options) { return MakeFrozenLake(options, name, map); };
  };
  const auto cliff = [](const char* name, bool slippery) {
    return [name, slippery](OptionReader& options) {
      return MakeCliffWalking(options, name, slippery);
    };
  };
  return {
      {"FrozenLake-v1",
       "toy_text",
       "cross slippery ice to the goal",
       lake("FrozenLake-v1", "4x4"),
       {}},
      {"FrozenLake8x8-v1",
       "toy_text",
       "the same on a larger lake",
       lake("FrozenLake8x8-v1", "8x8"),
       {}},
      {"CliffWalking-v1", "toy_text", "walk along a cliff", cliff("CliffWalking-v1", false), {}},
      {"CliffWalkingSlippery-v1",
       "toy_text",
       "the same where feet slip",
       cliff("CliffWalkingSlippery-v1", true),
       {}},
      {"Taxi-v4", "toy_text", "fetch a passenger and bring them home", MakeTaxi, {}},
      {"Blackjack-v1", "toy_text", "hit or stick against the dealer", MakeBlackjack, {}},
  };
}

}  // namespace muster::envs
