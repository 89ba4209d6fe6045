#include "trainer/rl/tabular/tabular_checkpoint.h"

#include <utility>

#include "envs/bytes.h"
#include "trainer/lanes/lane_bytes.h"
#include "trainer/model_state.h"

namespace muster::rl {
namespace {

using nlohmann::json;

void Write(const RunState& run, envs::ByteWriter& to) {
  to.Put<std::uint64_t>(run.values.size());
  to.PutAll(std::span<const double>(run.values));
  to.Put<std::uint64_t>(run.choices.size());
  to.PutAll(std::span<const std::int64_t>(run.choices));
  to.Put(run.reward_mean);
  to.Put(run.drawn);
  to.Put<std::uint8_t>(run.converged ? 1 : 0);
  to.PutText(run.environment);
}

RunState Read(envs::ByteReader& from) {
  RunState run;
  run.values.resize(from.Get<std::uint64_t>());
  from.GetAll(std::span(run.values));
  run.choices.resize(from.Get<std::uint64_t>());
  from.GetAll(std::span(run.choices));
  from.Get(run.reward_mean);
  from.Get(run.drawn);
  run.converged = from.Get<std::uint8_t>() != 0;
  run.environment = from.GetText();
  return run;
}

std::vector<std::uint64_t> WithRuns(std::size_t runs, const std::vector<std::uint64_t>& shape) {
  std::vector<std::uint64_t> whole = {runs};
  whole.insert(whole.end(), shape.begin(), shape.end());
  return whole;
}

json JsonOf(const std::optional<TabularEvaluation>& evaluation) {
  if (!evaluation) return nullptr;
  return {{"return", evaluation->reward},
          {"discounted_return", evaluation->discounted_reward},
          {"length", evaluation->steps}};
}

Status ReadTrainer(const json& trainer, TabularState& state) {
  const auto number = [&](const char* name) { return trainer.value(name, json()); };
  if (number("step") != state.step) {
    return DataLoss("the checkpoint's trainer.json and manifest.json name different steps");
  }
  const json steps = number("environment_steps"), converged = number("converged");
  if (!steps.is_number_unsigned() || !converged.is_boolean()) {
    return DataLoss("the checkpoint's trainer.json lacks environment_steps or converged");
  }
  state.environment_steps = steps.get<std::uint64_t>();
  state.converged = converged.get<bool>();
  if (const json found = number("evaluation"); found.is_object()) {
    state.evaluation =
        TabularEvaluation{found.value("return", 0.0), found.value("discounted_return", 0.0),
                          found.value("length", 0.0)};
  }
  if (const json best = number("best"); best.is_object()) {
    state.best_reward = best.value("evaluation/return", 0.0);
    state.best_step = best.value("step", std::uint64_t{0});
  }
  return {};
}

Result<ArrayView> Find(const NamedArrays& arrays, const std::string& name, ArrayType type,
                       const std::vector<std::uint64_t>& shape) {
  const auto found = arrays.find(name);
  if (found == arrays.end() || found->second.type != type || found->second.shape != shape) {
    return DataLoss("the checkpoint's array '" + name + "' is missing or of another shape");
  }
  return found->second;
}

// Cuts the environments' bytes into those of each run.
Status ReadEnvironments(const NamedArrays& lanes, std::vector<RunState>& runs) {
  MUSTER_ASSIGN_OR_RETURN(const ArrayView offsets,
                          Find(lanes, "environment_offsets", ArrayType::kI64, {runs.size() + 1}));
  const auto all = lanes.find("environments");
  if (all == lanes.end() || all->second.type != ArrayType::kU8) {
    return DataLoss("the checkpoint has no states of environments");
  }
  const std::span<const std::uint8_t> bytes = all->second.u8();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::int64_t begin = offsets.i64()[i], end = offsets.i64()[i + 1];
    if (begin < 0 || end < begin || static_cast<std::uint64_t>(end) > bytes.size()) {
      return DataLoss("the checkpoint's environment_offsets do not fit its environments");
    }
    runs[i].environment.assign(bytes.begin() + begin, bytes.begin() + end);
  }
  return {};
}

}  // namespace

Result<std::vector<RunState>> GatherRuns(Group& group, std::span<const RunState> own) {
  std::vector<std::string> bytes(own.size());
  for (std::size_t i = 0; i < own.size(); ++i) {
    envs::ByteWriter writer(bytes[i]);
    Write(own[i], writer);
  }
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> all, GatherLaneBytes(group, bytes));
  std::vector<RunState> runs;
  for (const std::string& one : all) {
    envs::ByteReader reader(one);
    runs.push_back(Read(reader));
  }
  return runs;
}

TabularCheckpoint::TabularCheckpoint(const TabularState& state, const RunArrays& arrays,
                                     const TabularOptions& options) {
  const std::size_t runs = state.runs.size();
  offsets_.push_back(0);
  for (const RunState& run : state.runs) {
    values_.insert(values_.end(), run.values.begin(), run.values.end());
    choices_.insert(choices_.end(), run.choices.begin(), run.choices.end());
    reward_means_.push_back(run.reward_mean);
    drawn_.push_back(static_cast<std::int64_t>(run.drawn));
    environments_.insert(environments_.end(), run.environment.begin(), run.environment.end());
    offsets_.push_back(static_cast<std::int64_t>(environments_.size()));
  }
  // Whole numbers of eight bytes keep the arrays behind them aligned.
  environments_.resize((environments_.size() + 7) / 8 * 8);

  contents_.step = state.step;
  contents_.model[arrays.values] =
      ViewOf(std::span<const double>(values_), WithRuns(runs, arrays.values_shape));
  if (!arrays.choices.empty()) {
    contents_.model[arrays.choices] =
        ViewOf(std::span<const std::int64_t>(choices_), WithRuns(runs, arrays.choices_shape));
  }
  contents_.lanes["reward_mean"] = ViewOf(std::span<const double>(reward_means_), {runs});
  contents_.lanes["drawn"] = ViewOf(std::span<const std::int64_t>(drawn_), {runs});
  contents_.lanes["environment_offsets"] =
      ViewOf(std::span<const std::int64_t>(offsets_), {runs + 1});
  contents_.lanes["environments"] =
      ViewOf(std::span<const std::uint8_t>(environments_), {environments_.size()});
  contents_.trainer = {{"recipe", RecipeOf(options)},
                       {"step", state.step},
                       {"environment_steps", state.environment_steps},
                       {"converged", state.converged},
                       {"evaluation", JsonOf(state.evaluation)},
                       {"best", nullptr}};
  if (state.best_reward) {
    contents_.trainer["best"] = {{"step", state.best_step},
                                 {"evaluation/return", *state.best_reward}};
  }
}

Result<TabularState> ReadTabularState(const CheckpointContents& contents, const RunArrays& arrays,
                                      const TabularOptions& options) {
  MUSTER_RETURN_IF_ERROR(CheckSameRecipe(RecipeOf(options), contents.trainer));
  TabularState state;
  state.step = contents.step;
  MUSTER_RETURN_IF_ERROR(ReadTrainer(contents.trainer, state));
  const std::size_t runs = options.runs;
  state.runs.resize(runs);
  MUSTER_ASSIGN_OR_RETURN(
      const ArrayView values,
      Find(contents.model, arrays.values, ArrayType::kF64, WithRuns(runs, arrays.values_shape)));
  MUSTER_ASSIGN_OR_RETURN(const ArrayView reward_means,
                          Find(contents.lanes, "reward_mean", ArrayType::kF64, {runs}));
  MUSTER_ASSIGN_OR_RETURN(const ArrayView drawn,
                          Find(contents.lanes, "drawn", ArrayType::kI64, {runs}));
  const std::size_t each = values.elements() / runs;
  for (std::size_t i = 0; i < runs; ++i) {
    const auto own = values.f64().subspan(i * each, each);
    state.runs[i].values.assign(own.begin(), own.end());
    state.runs[i].reward_mean = reward_means.f64()[i];
    state.runs[i].drawn = static_cast<std::uint64_t>(drawn.i64()[i]);
    state.runs[i].converged = state.converged;
  }
  if (!arrays.choices.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const ArrayView choices,
                            Find(contents.model, arrays.choices, ArrayType::kI64,
                                 WithRuns(runs, arrays.choices_shape)));
    const std::size_t chosen = choices.elements() / runs;
    for (std::size_t i = 0; i < runs; ++i) {
      const auto own = choices.i64().subspan(i * chosen, chosen);
      state.runs[i].choices.assign(own.begin(), own.end());
    }
  }
  MUSTER_RETURN_IF_ERROR(ReadEnvironments(contents.lanes, state.runs));
  return state;
}

}  // namespace muster::rl
