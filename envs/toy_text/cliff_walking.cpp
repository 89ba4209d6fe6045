// CliffWalking-v1: from one end of a cliff to the other, not over it.
// Source: Gymnasium 1.4, gymnasium/envs/toy_text/cliffwalking.py; Sutton and Barto, 2nd edition,
// example 6.6.
#include <algorithm>

#include "envs/tabular/tabular_env.h"
#include "envs/toy_text/toy_text.h"

namespace muster::envs {
namespace {

constexpr int kRows = 4, kColumns = 12;
constexpr std::int32_t kStart = 36, kGoal = 47;

bool IsCliff(std::int32_t state) { return state > kStart && state < kGoal; }

TabularModel Model(bool slippery) {
  TabularModel model(kRows * kColumns, 4);
  model.start[kStart] = 1;
  // Up, right, down, left.
  constexpr int kDown[4] = {-1, 0, 1, 0}, kRight[4] = {0, 1, 0, -1};  // NOLINT
  for (int s = 0; s < kRows * kColumns; ++s) {
    for (int a = 0; a < 4; ++a) {
      for (const int turn : {3, 0, 1}) {
        if (!slippery && turn != 0) continue;
        const int direction = (a + turn) % 4;
        const int row = std::clamp(s / kColumns + kDown[direction], 0, kRows - 1);
        const int column = std::clamp(s % kColumns + kRight[direction], 0, kColumns - 1);
        const std::int32_t next = row * kColumns + column;
        const double probability = slippery ? 1.0 / 3 : 1.0;
        if (IsCliff(next)) {
          model.Add(s, a, {probability, kStart, -100, false});
        } else {
          model.Add(s, a, {probability, next, -1, next == kGoal});
        }
      }
    }
  }
  return model;
}

class CliffWalking final : public TabularEnv {
 public:
  CliffWalking(EnvSpec spec, bool slippery) : TabularEnv(std::move(spec), Model(slippery)) {}

  std::unique_ptr<Env> Clone() const override { return std::make_unique<CliffWalking>(*this); }
  std::string RenderText() const override {
    std::string text;
    for (std::int32_t s = 0; s < kRows * kColumns; ++s) {
      const bool here = state() == static_cast<std::size_t>(s);
      text += here ? 'x' : s == kGoal ? 'T' : IsCliff(s) ? 'C' : 'o';
      text += s % kColumns == kColumns - 1 ? "\n" : "  ";
    }
    return text;
  }
  Image RenderImage() const override {
    std::vector<Color> cells(kRows * kColumns, Color{150, 190, 120});
    for (std::int32_t s = kStart + 1; s < kGoal; ++s)
      cells[static_cast<std::size_t>(s)] = {70, 60, 60};
    cells[kGoal] = {240, 210, 90};
    return DrawGrid(kColumns, cells, state());
  }
};

}  // namespace

std::unique_ptr<Env> MakeCliffWalking(OptionReader& options, const std::string& name,
                                      bool slippery) {
  slippery = options.Flag("is_slippery", slippery, "steps may go to either side instead");
  EnvSpec spec;
  spec.name = name;
  spec.reward_low = -100;
  spec.reward_high = -1;
  spec.actions = {"up", "right", "down", "left"};
  return std::make_unique<CliffWalking>(std::move(spec), slippery);
}

}  // namespace muster::envs
