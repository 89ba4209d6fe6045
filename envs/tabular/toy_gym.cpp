// ToyGym-v0: three states in a row. From the middle, left pays 1 at once; right pays 2 one step
// later. Two steps make an episode.
// Source: the ARENA curriculum, chapter 2.1 (after Sutton and Barto, 2nd edition, exercise 3.22).
#include "envs/tabular/grid_world.h"
#include "envs/tabular/tabular_env.h"

namespace muster::envs {

std::unique_ptr<Env> MakeToyGym(OptionReader& /*options*/) {
  constexpr std::int32_t kLeft = 0, kMiddle = 1, kRight = 2;
  TabularModel model(3, 2);
  model.start[kMiddle] = 1;
  for (const std::size_t action : {0, 1}) model.Add(kLeft, action, {1, kMiddle, 0, false});
  model.Add(kMiddle, 0, {1, kLeft, 1, false});
  model.Add(kMiddle, 1, {1, kRight, 0, false});
  for (const std::size_t action : {0, 1}) model.Add(kRight, action, {1, kMiddle, 2, false});
  EnvSpec spec;
  spec.name = "ToyGym-v0";
  spec.reward_low = 0;
  spec.reward_high = 2;
  spec.steps_max = 2;
  spec.actions = {"left", "right"};
  return std::make_unique<TabularEnv>(std::move(spec), std::move(model));
}

}  // namespace muster::envs
