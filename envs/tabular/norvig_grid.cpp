// NorvigGrid-v0: a grid of 3 rows and 4 columns, a prize and a pit on the right, a wall inside.
// Source: Russell and Norvig, "Artificial intelligence: a modern approach", figure 17.1, with the
// slips of the ARENA curriculum, chapter 2.1: 0.7 as meant, 0.1 in each other direction.
#include <algorithm>

#include "envs/tabular/grid_world.h"
#include "envs/tabular/tabular_env.h"

namespace muster::envs {
namespace {

constexpr int kColumns = 4, kRows = 3;
constexpr std::int32_t kPrize = 3, kPit = 7, kWall = 5, kStart = 8;

// Up, right, down, left; the border and the wall keep one where one is.
std::int32_t Moved(std::int32_t state, int direction) {
  const int row = state / kColumns + (direction == 2 ? 1 : direction == 0 ? -1 : 0);
  const int column = state % kColumns + (direction == 1 ? 1 : direction == 3 ? -1 : 0);
  if (row < 0 || row >= kRows || column < 0 || column >= kColumns) return state;
  const std::int32_t next = row * kColumns + column;
  return next == kWall ? state : next;
}

TabularModel Model(double penalty) {
  TabularModel model(kRows * kColumns, 4);
  model.start[kStart] = 1;
  for (std::int32_t s = 0; s < kRows * kColumns; ++s) {
    for (int a = 0; a < 4; ++a) {
      if (s == kPrize || s == kPit || s == kWall) {
        model.Add(s, a, {1, s, 0, s != kWall});
        continue;
      }
      for (int direction = 0; direction < 4; ++direction) {
        const std::int32_t next = Moved(s, direction);
        const double reward = next == kPrize ? 1 : next == kPit ? -1 : penalty;
        model.Add(s, a, {direction == a ? 0.7 : 0.1, next, reward, next == kPrize || next == kPit});
      }
    }
  }
  return model;
}

class NorvigGrid final : public TabularEnv {
 public:
  NorvigGrid(EnvSpec spec, double penalty) : TabularEnv(std::move(spec), Model(penalty)) {}

  std::unique_ptr<Env> Clone() const override { return std::make_unique<NorvigGrid>(*this); }
  std::string RenderText() const override {
    std::string text;
    for (std::int32_t s = 0; s < kRows * kColumns; ++s) {
      const bool here = state() == static_cast<std::size_t>(s);
      text += here ? '@' : s == kPrize ? '+' : s == kPit ? '-' : s == kWall ? '#' : '.';
      text += s % kColumns == kColumns - 1 ? '\n' : ' ';
    }
    return text;
  }
  Image RenderImage() const override {
    std::vector<Color> cells(kRows * kColumns, Color{235, 235, 225});
    cells[kPrize] = {120, 200, 120};
    cells[kPit] = {230, 120, 110};
    cells[kWall] = {90, 90, 90};
    return DrawGrid(kColumns, cells, state());
  }
};

}  // namespace

std::unique_ptr<Env> MakeNorvigGrid(OptionReader& options) {
  const double penalty = options.Number("penalty", -0.04, {}, "reward of a step to anywhere else");
  EnvSpec spec;
  spec.name = "NorvigGrid-v0";
  spec.reward_low = std::min({-1.0, penalty});
  spec.reward_high = std::max({1.0, penalty});
  spec.steps_max = 100;
  spec.actions = {"up", "right", "down", "left"};
  return std::make_unique<NorvigGrid>(std::move(spec), penalty);
}

}  // namespace muster::envs
