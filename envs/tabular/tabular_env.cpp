#include "envs/tabular/tabular_env.h"

#include <algorithm>
#include <numeric>

namespace muster::envs {
namespace {

// numpy.argmax(numpy.cumsum(probabilities) > random()): the first where none exceeds it.
const TabularOutcome& Draw(std::span<const TabularOutcome> outcomes, double random) {
  double sum = 0;
  for (const TabularOutcome& outcome : outcomes) {
    sum += outcome.probability;
    if (sum > random) return outcome;
  }
  return outcomes.front();
}

}  // namespace

TabularEnv::TabularEnv(EnvSpec spec, TabularModel model)
    : spec_(std::move(spec)), model_(std::make_shared<TabularModel>(std::move(model))) {
  spec_.observation = Space::Discrete(static_cast<std::int32_t>(model_->states()));
  spec_.action = Space::Discrete(static_cast<std::int32_t>(model_->actions()));
  std::vector<double> sums(model_->states());
  std::partial_sum(model_->start.begin(), model_->start.end(), sums.begin());
  start_ = std::make_shared<std::vector<double>>(std::move(sums));
}

Status TabularEnv::OnReset(std::optional<std::uint64_t> seed) {
  if (seed) random_ = NumpyRandom(*seed);
  const auto first = std::upper_bound(start_->begin(), start_->end(), random_.Random());
  set_state(first == start_->end() ? 0 : static_cast<std::size_t>(first - start_->begin()));
  last_action_ = -1;
  return {};
}

Result<Transition> TabularEnv::OnStep(ConstValues action) {
  last_action_ = action.As<std::int32_t>()[0];
  const TabularOutcome& outcome =
      Draw(model_->Outcomes(state(), static_cast<std::size_t>(last_action_)), random_.Random());
  state_[0] = outcome.next;
  return Transition{.reward = outcome.reward, .terminated = outcome.terminated};
}

Status TabularEnv::OnSave(ByteWriter& to) const {
  random_.Save(to);
  to.Put(state_);
  to.Put(last_action_);
  return {};
}

Status TabularEnv::OnLoad(ByteReader& from) {
  random_.Load(from);
  from.Get(state_);
  from.Get(last_action_);
  if (state_[0] < 0 || state() >= model_->states()) return DataLoss("a state that there is not");
  return {};
}

Image DrawGrid(std::size_t columns, std::span<const Color> cells, std::size_t agent) {
  const std::size_t rows = cells.size() / columns;
  constexpr std::size_t kSideMax = 1024;
  const std::size_t cell =
      std::clamp(kSideMax / std::max(rows, columns), std::size_t{4}, std::size_t{64});
  Image image(columns * cell, rows * cell);
  const auto size = static_cast<double>(cell);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const double x = static_cast<double>(i % columns) * size;
    const double y = static_cast<double>(i / columns) * size;
    image.Rectangle({x + 1, y + 1}, {x + size - 1, y + size - 1}, cells[i]);
    if (i == agent) image.Disc({x + size / 2, y + size / 2}, size / 4, {200, 60, 60});
  }
  return image;
}

}  // namespace muster::envs
