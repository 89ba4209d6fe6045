// FrozenLake-v1 and FrozenLake8x8-v1: cross the ice to the goal, past the holes.
// Source: Gymnasium 1.4, gymnasium/envs/toy_text/frozen_lake.py.
#include <algorithm>

#include "envs/tabular/tabular_env.h"
#include "envs/toy_text/toy_text.h"

namespace muster::envs {
namespace {

using Map = std::vector<std::string>;  // S start, F frozen, H hole, G goal.

const Map kSmall = {"SFFF", "FHFH", "FFFH", "HFFG"};
const Map kLarge = {"SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF",
                    "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"};

struct Ice {
  bool slippery = true;
  double success = 1.0 / 3.0;  // Of moving as intended.
  double goal_reward = 1, hole_reward = 0, frozen_reward = 0;
};

// Left, down, right, up; at the border the step goes nowhere.
std::size_t Moved(const Map& map, std::size_t state, std::size_t action) {
  const std::size_t columns = map[0].size();
  std::size_t row = state / columns, column = state % columns;
  if (action == 0 && column > 0) --column;
  if (action == 1) row = std::min(row + 1, map.size() - 1);
  if (action == 2) column = std::min(column + 1, columns - 1);
  if (action == 3 && row > 0) --row;
  return row * columns + column;
}

TabularModel Model(const Map& map, const Ice& ice) {
  const std::size_t columns = map[0].size();
  TabularModel model(map.size() * columns, 4);
  const auto tile = [&](std::size_t state) { return map[state / columns][state % columns]; };
  std::size_t starts = 0;
  for (std::size_t s = 0; s < model.states(); ++s) starts += tile(s) == 'S' ? 1 : 0;
  const double failure = (1.0 - ice.success) / 2.0;
  for (std::size_t s = 0; s < model.states(); ++s) {
    model.start[s] = tile(s) == 'S' ? 1.0 / static_cast<double>(starts) : 0.0;
    for (std::size_t a = 0; a < 4; ++a) {
      const auto add = [&](double probability, std::size_t direction) {
        const std::size_t next = Moved(map, s, direction);
        const char there = tile(next);
        const double reward = there == 'G'   ? ice.goal_reward
                              : there == 'H' ? ice.hole_reward
                                             : ice.frozen_reward;
        model.Add(
            s, a,
            {probability, static_cast<std::int32_t>(next), reward, there == 'G' || there == 'H'});
      };
      if (tile(s) == 'G' || tile(s) == 'H') {
        model.Add(s, a, {1.0, static_cast<std::int32_t>(s), 0, true});
      } else if (!ice.slippery) {
        add(1.0, a);
      } else {
        for (const std::size_t b : {(a + 3) % 4, a, (a + 1) % 4}) {
          add(b == a ? ice.success : failure, b);
        }
      }
    }
  }
  return model;
}

class FrozenLake final : public TabularEnv {
 public:
  FrozenLake(EnvSpec spec, Map map, const Ice& ice)
      : TabularEnv(std::move(spec), Model(map, ice)), map_(std::move(map)) {}

  std::unique_ptr<Env> Clone() const override { return std::make_unique<FrozenLake>(*this); }
  std::string RenderText() const override {
    std::string text;
    for (std::size_t row = 0; row < map_.size(); ++row) {
      for (std::size_t column = 0; column < map_[row].size(); ++column) {
        const bool here = state() == row * map_[row].size() + column;
        text += here ? std::string("[") + map_[row][column] + "]"
                     : std::string(" ") + map_[row][column] + " ";
      }
      text += "\n";
    }
    return text;
  }
  Image RenderImage() const override {
    std::vector<Color> cells;
    for (const std::string& row : map_) {
      for (const char tile : row) {
        cells.push_back(tile == 'H'   ? Color{40, 60, 110}
                        : tile == 'G' ? Color{120, 200, 120}
                                      : Color{215, 235, 245});
      }
    }
    return DrawGrid(map_[0].size(), cells, state());
  }

 private:
  Map map_;
};

// "SFF/FHF/FFG"; empty where it is no map.
Map ParseMap(const std::string& text) {
  Map map(1);
  for (const char c : text) {
    if (c == '/') {
      map.emplace_back();
    } else {
      map.back() += c;
    }
  }
  bool start = false;
  for (const std::string& row : map) {
    if (row.empty() || row.size() != map[0].size()) return {};
    if (row.find_first_not_of("SFHG") != std::string::npos) return {};
    start = start || row.find('S') != std::string::npos;
  }
  return start ? map : Map();
}

}  // namespace

std::unique_ptr<Env> MakeFrozenLake(OptionReader& options, const std::string& name,
                                    const std::string& map_name) {
  Ice ice;
  const std::string chosen = options.Choice("map_name", map_name, {"4x4", "8x8"}, "which lake");
  const std::string own =
      options.Text("desc", "", "a lake of your own: rows of SFHG, as SFF/FHF/FFG");
  ice.slippery = options.Flag("is_slippery", true, "steps may go to either side instead");
  ice.success = options.Number("success_rate", 1.0 / 3.0, {0, 1},
                               "probability of the intended step where it is slippery");
  ice.goal_reward = options.Number("goal_reward", 1, {}, "reward at the goal");
  ice.hole_reward = options.Number("hole_reward", 0, {}, "reward in a hole");
  ice.frozen_reward = options.Number("frozen_reward", 0, {}, "reward of any other step");
  Map map = chosen == "4x4" ? kSmall : kLarge;
  if (!own.empty()) {
    map = ParseMap(own);
    if (map.empty()) {
      options.Refuse("desc",
                     "'" + own + "' is not rows of one length, of S, F, H and G, with an S");
      map = kSmall;
    }
  }
  EnvSpec spec;
  spec.name = name;
  spec.reward_low = std::min({ice.goal_reward, ice.hole_reward, ice.frozen_reward, 0.0});
  spec.reward_high = std::max({ice.goal_reward, ice.hole_reward, ice.frozen_reward, 0.0});
  spec.steps_max = map_name == "4x4" ? 100 : 200;
  spec.solved_at = map_name == "4x4" ? 0.70 : 0.85;
  spec.actions = {"left", "down", "right", "up"};
  return std::make_unique<FrozenLake>(std::move(spec), std::move(map), ice);
}

}  // namespace muster::envs
