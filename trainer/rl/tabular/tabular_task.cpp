#include "trainer/rl/tabular/tabular_task.h"

#include <utility>

#include "trainer/rl/episode_recorder.h"

namespace muster::rl {
namespace {

constexpr std::uint64_t kPairsMax = 1ULL << 27U;

// How many values a space of choices has; 0 for a box, or where it is beyond any table.
std::uint64_t CountOf(const envs::Space& space) {
  if (space.kind == envs::SpaceKind::kBox) return 0;
  std::uint64_t count = 1;
  for (const std::int32_t n : space.choices) {
    count *= static_cast<std::uint64_t>(n);
    if (count > kPairsMax) return 0;
  }
  return count;
}

Status CheckSpace(const envs::EnvSpec& spec, const envs::Space& space, const char* what) {
  if (space.kind == envs::SpaceKind::kBox) {
    return InvalidArgument(spec.name + ": its " + what + " are " + space.Text() +
                           ", and a table has room for choices only; use an environment such as "
                           "FrozenLake-v1, or a recipe with a network");
  }
  if (CountOf(space) > 0) return {};
  return InvalidArgument(spec.name + ": its " + what + " are " + space.Text() +
                         ", which is more than a table can hold");
}

}  // namespace

Status TabularTask::Check(const envs::EnvSpec& spec) {
  MUSTER_RETURN_IF_ERROR(CheckSpace(spec, spec.observation, "observations"));
  MUSTER_RETURN_IF_ERROR(CheckSpace(spec, spec.action, "actions"));
  const std::uint64_t states = CountOf(spec.observation), actions = CountOf(spec.action);
  if (states * actions <= kPairsMax) return {};
  return InvalidArgument(spec.name + ": " + std::to_string(states) + " states with " +
                         std::to_string(actions) + " actions are more than a table can hold");
}

TabularTask::TabularTask(std::unique_ptr<envs::Env> env)
    : env_(std::move(env)),
      states_(CountOf(env_->spec().observation)),
      actions_(CountOf(env_->spec().action)),
      action_(env_->spec().action.dtype, env_->spec().action.elements()) {
  MUSTER_CHECK(states_ > 0 && actions_ > 0, "the spaces have been checked");
}

Result<std::size_t> TabularTask::Begin() {
  MUSTER_RETURN_IF_ERROR(env_->Reset(std::exchange(seed_, std::nullopt)));
  return State();
}

Result<TabularOutcome> TabularTask::Step(std::size_t action) {
  const std::span<std::int32_t> parts = action_.As<std::int32_t>();
  const std::vector<std::int32_t>& choices = env_->spec().action.choices;
  for (std::size_t i = parts.size(); i-- > 0;) {
    const auto n = static_cast<std::size_t>(choices[i]);
    parts[i] = static_cast<std::int32_t>(action % n);
    action /= n;
  }
  MUSTER_ASSIGN_OR_RETURN(const envs::Transition transition, env_->Step(action_));
  TabularOutcome outcome;
  outcome.reward = transition.reward;
  outcome.terminated = transition.terminated;
  outcome.truncated = transition.truncated;
  MUSTER_ASSIGN_OR_RETURN(outcome.state, State());
  return outcome;
}

Result<std::size_t> TabularTask::State() const {
  const std::span<const std::int32_t> parts = env_->observation().As<std::int32_t>();
  const std::vector<std::int32_t>& choices = env_->spec().observation.choices;
  std::size_t state = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] < 0 || parts[i] >= choices[i]) {
      return InvalidArgument(env_->spec().name + ": observation " + std::to_string(parts[i]) +
                             " is outside of " + env_->spec().observation.Text());
    }
    state = state * static_cast<std::size_t>(choices[i]) + static_cast<std::size_t>(parts[i]);
  }
  return state;
}

Result<std::string> TabularTask::Save() const {
  std::string bytes;
  MUSTER_RETURN_IF_ERROR(env_->Save(bytes));
  return bytes;
}

Status TabularTask::Load(std::string_view bytes) {
  seed_.reset();
  return env_->Load(bytes);
}

Result<EpisodeSums> PlayPolicy(TabularTask& task, std::span<const std::size_t> policy,
                               std::uint64_t episodes, std::uint64_t first_seed, double discount) {
  EpisodeSums sums;
  for (std::uint64_t i = 0; i < episodes; ++i) {
    task.SeedNext(first_seed + i);
    EpisodeReturn returns(discount);
    MUSTER_ASSIGN_OR_RETURN(std::size_t state, task.Begin());
    for (bool ended = false; !ended;) {
      MUSTER_ASSIGN_OR_RETURN(const TabularOutcome outcome, task.Step(policy[state]));
      returns.Add(outcome.reward);
      state = outcome.state;
      ended = outcome.ended();
    }
    returns.AddTo(sums);
  }
  return sums;
}

Result<std::string> RecordPolicy(TabularTask& task, std::span<const std::size_t> policy,
                                 std::uint64_t seed, double steps) {
  EpisodeRecorder recorder(task.env().spec(), steps);
  task.SeedNext(seed);
  MUSTER_ASSIGN_OR_RETURN(std::size_t state, task.Begin());
  MUSTER_RETURN_IF_ERROR(recorder.Add(task.env(), false));
  bool ended = false;
  for (std::uint64_t step = 0; !ended; ++step) {
    MUSTER_ASSIGN_OR_RETURN(const TabularOutcome outcome, task.Step(policy[state]));
    state = outcome.state;
    ended = outcome.ended() || step + 1 == kRecordedStepsMax;
    MUSTER_RETURN_IF_ERROR(recorder.Add(task.env(), ended));
  }
  return recorder.Finish();
}

}  // namespace muster::rl
