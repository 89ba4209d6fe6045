#include "envs/registry.h"
#include "envs/tabular/bandit.h"
#include "envs/tabular/grid_world.h"

namespace muster::envs {

std::vector<EnvEntry> TabularEntries() {
  const auto bandit = [](OptionReader& options) {
    const auto arms = options.Integer("num_arms", 10, {1, 1e4}, "how many arms");
    const bool stationary = options.Flag("stationary", true, "the means stay what they are");
    const auto problem = options.Integer("problem", -1, {-1, 2147483647},
                                         "the seed of every episode's means; -1 = new ones each");
    if (problem >= 0 && !stationary) options.Refuse("problem", "needs means that stay");
    return std::make_unique<Bandit>(
        static_cast<std::size_t>(arms), stationary,
        problem < 0 ? std::nullopt : std::optional(static_cast<std::uint64_t>(problem)));
  };
  return {{"ArmedBanditTestbed-v0", "tabular", "find the arm that pays best", bandit, {}},
          {"ToyGym-v0", "tabular", "a small reward now or a larger one next", MakeToyGym, {}},
          {"DialLock-v0", "tabular", "turn all dials of a lock to 0 at once", MakeDialLock, {}},
          {"NorvigGrid-v0", "tabular", "a 3x4 grid with a prize and a pit", MakeNorvigGrid, {}}};
}

}  // namespace muster::envs
