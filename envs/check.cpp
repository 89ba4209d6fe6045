#include "envs/check.h"

#include <algorithm>
#include <cmath>

#include "envs/sample.h"
#include "envs/tabular/model.h"

namespace muster::envs {
namespace {

std::string Steps(std::size_t steps) { return std::to_string(steps) + " steps"; }

// A random policy at work in one environment, and a record of all that it saw.
class Player {
 public:
  Player(Env& env, std::uint64_t seed)
      : env_(env), random_(seed), action_(env.spec().action.dtype, env.spec().action.elements()) {}
  // Goes on with the choices of another player, in another environment.
  Player(Env& env, const Player& other)
      : env_(env), random_(other.random_), action_(other.action_) {}

  Status Begin(std::optional<std::uint64_t> seed) {
    MUSTER_RETURN_IF_ERROR(env_.Reset(seed));
    steps_ = 0;
    Record(env_.observation());
    return {};
  }

  // One random action; an end is followed by a reset without a seed.
  Result<Transition> Step() {
    Sample(env_.spec().action, random_, action_);
    MUSTER_ASSIGN_OR_RETURN(const Transition result, env_.Step(action_));
    ++steps_;
    Record(env_.observation());
    record_.append(reinterpret_cast<const char*>(&result.reward), sizeof result.reward);
    record_ += static_cast<char>('0' + (result.terminated ? 1 : 0) + (result.truncated ? 2 : 0));
    return result;
  }
  Status Play(std::size_t steps) {
    for (std::size_t i = 0; i < steps; ++i) {
      MUSTER_ASSIGN_OR_RETURN(const Transition result, Step());
      if (result.ended()) MUSTER_RETURN_IF_ERROR(Begin(std::nullopt));
    }
    return {};
  }

  const std::string& record() const { return record_; }
  void Forget() { record_.clear(); }
  std::size_t steps() const { return steps_; }  // Of the running episode.
  ConstValues action() const { return action_; }

 private:
  void Record(ConstValues values) {
    record_.append(static_cast<const char*>(values.data), values.bytes());
  }

  Env& env_;
  NumpyRandom random_;
  ValueArray action_;
  std::string record_;
  std::size_t steps_ = 0;
};

// Each part of the check fails with a sentence, or passes with a remark.
using CheckPart = std::function<Result<std::string>()>;

Status Broken(const std::string& sentence) { return FailedPrecondition(sentence); }

Result<std::string> CheckSpec(const EnvSpec& spec) {
  if (spec.name.empty()) return Broken("it has no name");
  for (const Space* space : {&spec.observation, &spec.action}) {
    if (space->elements() == 0) return Broken("a space has no elements");
    if (space->kind == SpaceKind::kBox) {
      if (space->low.size() != space->elements() || space->high.size() != space->elements()) {
        return Broken("a box has bounds for another number of elements");
      }
      for (std::size_t i = 0; i < space->elements(); ++i) {
        if (!(space->low[i] <= space->high[i])) return Broken("a lower bound is above the upper");
      }
    } else if (space->choices.size() != space->elements() || space->dtype != DType::kInt32 ||
               *std::min_element(space->choices.begin(), space->choices.end()) < 1) {
      return Broken("a discrete space needs int32 and at least one choice");
    }
  }
  if (!spec.actions.empty() && (spec.action.kind != SpaceKind::kDiscrete ||
                                spec.actions.size() != std::size_t(spec.action.choices[0]))) {
    return Broken("actions are named, but not each of them");
  }
  if (!(spec.reward_low <= spec.reward_high)) return Broken("the reward's range is empty");
  return spec.observation.Text() + " -> " + spec.action.Text();
}

Result<std::string> CheckValues(Env& env, const CheckOptions& options) {
  const EnvSpec& spec = env.spec();
  Player player(env, options.seed);
  MUSTER_RETURN_IF_ERROR(player.Begin(options.seed));
  std::size_t episodes = 0;
  for (std::size_t i = 0; i < options.steps; ++i) {
    const std::string when = " (step " + std::to_string(i) + ")";
    if (Status seen = spec.observation.Check(env.observation(), "observation"); !seen.ok()) {
      return Broken(seen.message() + when);
    }
    MUSTER_ASSIGN_OR_RETURN(const Transition result, player.Step());
    if (!std::isfinite(result.reward) || result.reward < spec.reward_low ||
        result.reward > spec.reward_high) {
      return Broken("reward " + std::to_string(result.reward) + " is outside of " +
                    std::to_string(spec.reward_low) + ".." + std::to_string(spec.reward_high) +
                    when);
    }
    const bool late = spec.steps_max > 0 && player.steps() >= spec.steps_max;
    if (late && !result.truncated) return Broken("no truncation at the time limit" + when);
    if (!result.ended()) continue;
    ++episodes;
    if (env.Step(player.action()).ok()) return Broken("a step after the end is taken" + when);
    MUSTER_RETURN_IF_ERROR(player.Begin(std::nullopt));
  }
  return Steps(options.steps) + ", " + std::to_string(episodes) + " episodes ended";
}

Result<std::string> CheckRefusals(const EnvMaker& make) {
  MUSTER_ASSIGN_OR_RETURN(const auto env, make());
  const Space& space = env->spec().action;
  NumpyRandom random(1);
  ValueArray good(space.dtype, space.elements());
  Sample(space, random, good);
  if (env->Step(good).ok()) return Broken("a step before the first reset is taken");
  MUSTER_RETURN_IF_ERROR(env->Reset(1));
  std::vector<ValueArray> bad = {ValueArray(space.dtype, space.elements() + 1)};
  if (space.dtype == DType::kInt32) {
    for (const std::int32_t outside : {-1, space.choices[0]}) {
      bad.push_back(good);
      bad.back().As<std::int32_t>()[0] = outside;
    }
  } else if (space.dtype == DType::kFloat32) {
    bad.push_back(good);
    bad.back().As<float>()[0] = std::nanf("");
  }
  for (const ValueArray& action : bad) {
    if (env->Step(action).ok()) return Broken("an action outside of its space is taken");
  }
  MUSTER_ASSIGN_OR_RETURN(const Transition after, env->Step(good));
  static_cast<void>(after);
  return std::to_string(bad.size() + 1) + " tried";
}

// Two environments that take turns, so that anything they share shows.
Result<std::string> CheckDeterminism(const EnvMaker& make, const CheckOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto first, make());
  MUSTER_ASSIGN_OR_RETURN(const auto second, make());
  Player one(*first, options.seed), two(*second, options.seed);
  MUSTER_RETURN_IF_ERROR(one.Begin(options.seed));
  MUSTER_RETURN_IF_ERROR(two.Begin(options.seed));
  for (std::size_t i = 0; i < options.steps; ++i) {
    MUSTER_RETURN_IF_ERROR(one.Play(1));
    MUSTER_RETURN_IF_ERROR(two.Play(1));
    if (one.record() != two.record()) {
      return Broken("the same seed and actions give something else in step " + std::to_string(i));
    }
  }
  // And from the same seed once more, after all that.
  Player again(*first, options.seed);
  MUSTER_RETURN_IF_ERROR(again.Begin(options.seed));
  MUSTER_RETURN_IF_ERROR(again.Play(options.steps));
  if (again.record() != one.record())
    return Broken("a reset with the same seed gives something else");
  return Steps(options.steps) + ", twice";
}

Result<std::string> CheckContinuation(const EnvMaker& make, const CheckOptions& options) {
  constexpr std::size_t kResets = 20;
  MUSTER_ASSIGN_OR_RETURN(const auto first, make());
  MUSTER_ASSIGN_OR_RETURN(const auto second, make());
  Player one(*first, options.seed), two(*second, options.seed);
  for (std::size_t i = 0; i < kResets; ++i) {
    const auto seed = i == 0 ? std::optional(options.seed) : std::nullopt;
    for (Player* player : {&one, &two}) {
      MUSTER_RETURN_IF_ERROR(player->Begin(seed));
      MUSTER_RETURN_IF_ERROR(player->Step().status());
    }
  }
  if (one.record() != two.record()) return Broken("resets without a seed give something else");
  return std::to_string(kResets) + " resets";
}

Result<std::string> CheckSave(const EnvMaker& make, const CheckOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto env, make());
  MUSTER_ASSIGN_OR_RETURN(const auto other, make());
  Player player(*env, options.seed);
  MUSTER_RETURN_IF_ERROR(player.Begin(options.seed));
  std::size_t bytes = 0;
  constexpr std::size_t kSaves = 10;
  for (std::size_t i = 0; i < kSaves; ++i) {
    MUSTER_RETURN_IF_ERROR(player.Play(3 + i));  // Into an episode.
    // The other one comes from elsewhere: what a state forgets is not there by chance.
    Player stray(*other, options.seed + 1 + i);
    MUSTER_RETURN_IF_ERROR(stray.Begin(options.seed + 1 + i));
    MUSTER_RETURN_IF_ERROR(stray.Play(5 + 3 * i));
    const std::string when = " (save " + std::to_string(i) + ")";
    std::string state, repeated;
    MUSTER_RETURN_IF_ERROR(env->Save(state));
    bytes = state.size();
    Player there(*other, player);
    player.Forget();
    MUSTER_RETURN_IF_ERROR(player.Play(options.steps / kSaves + i));
    MUSTER_RETURN_IF_ERROR(other->Load(state));
    MUSTER_RETURN_IF_ERROR(other->Save(repeated));
    if (repeated != state) return Broken("a loaded state is saved as other bytes" + when);
    MUSTER_RETURN_IF_ERROR(there.Play(options.steps / kSaves + i));
    if (player.record() != there.record()) {
      return Broken("after load it goes on otherwise than after save" + when);
    }
    std::string here_state, there_state;
    MUSTER_RETURN_IF_ERROR(env->Save(here_state));
    MUSTER_RETURN_IF_ERROR(other->Save(there_state));
    if (here_state != there_state) return Broken("the states differ in the end" + when);
  }
  return std::to_string(kSaves) + " saves of " + std::to_string(bytes) + " bytes";
}

Result<std::string> CheckClone(const EnvMaker& make, const CheckOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto env, make());
  Player player(*env, options.seed);
  MUSTER_RETURN_IF_ERROR(player.Begin(options.seed));
  MUSTER_RETURN_IF_ERROR(player.Play(options.steps / 10));
  const std::unique_ptr<Env> copy = env->Clone();
  if (copy == nullptr) return std::string("none");
  Player there(*copy, player);
  player.Forget();
  MUSTER_RETURN_IF_ERROR(player.Play(options.steps));
  MUSTER_RETURN_IF_ERROR(there.Play(options.steps));
  if (player.record() != there.record()) return Broken("a copy goes on otherwise");
  return Steps(options.steps);
}

Result<std::string> CheckDamage(const EnvMaker& make, const CheckOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto env, make());
  Player player(*env, options.seed);
  MUSTER_RETURN_IF_ERROR(player.Begin(options.seed));
  std::string state;
  MUSTER_RETURN_IF_ERROR(env->Save(state));
  for (const std::string& damaged : {std::string(), state.substr(0, state.size() - 1),
                                     state.substr(0, state.size() / 2), state + "x"}) {
    if (env->Load(damaged).ok()) return Broken("a damaged state is loaded");
  }
  // Other bytes of the right length may pass for a state; they must do no harm.
  constexpr int kTries = 100;
  NumpyRandom random(options.seed);
  for (int i = 0; i < kTries; ++i) {
    std::string damaged = state;
    for (int k = 0; k < 3; ++k) {
      damaged[random.Choice(damaged.size())] = static_cast<char>(random.Integers(0, 256));
    }
    const bool played = env->Load(damaged).ok() && player.Step().ok();
    static_cast<void>(played);
  }
  MUSTER_RETURN_IF_ERROR(env->Reset(options.seed));
  return std::to_string(4 + kTries) + " tried";
}

Result<std::string> CheckModel(Env& env, const CheckOptions& options) {
  const TabularModel* const model = env.model();
  if (model == nullptr) return std::string("none");
  double start = 0;
  for (const double p : model->start) start += p;
  if (std::abs(start - 1) > 1e-9) return Broken("the start's probabilities do not add up to 1");
  for (std::size_t s = 0; s < model->states(); ++s) {
    for (std::size_t a = 0; a < model->actions(); ++a) {
      double sum = 0;
      for (const TabularOutcome& outcome : model->Outcomes(s, a)) {
        sum += outcome.probability;
        if (outcome.next < 0 || std::size_t(outcome.next) >= model->states()) {
          return Broken("an outcome leads to a state that there is not");
        }
      }
      if (std::abs(sum - 1) > 1e-9) {
        return Broken("the outcomes of state " + std::to_string(s) + ", action " +
                      std::to_string(a) + " do not add up to 1");
      }
    }
  }
  Player player(env, options.seed);
  MUSTER_RETURN_IF_ERROR(player.Begin(options.seed));
  for (std::size_t i = 0; i < options.steps; ++i) {
    const auto from = static_cast<std::size_t>(env.observation()[0]);
    MUSTER_ASSIGN_OR_RETURN(const Transition result, player.Step());
    bool foreseen = false;
    for (const TabularOutcome& o : model->Outcomes(from, std::size_t(player.action()[0]))) {
      foreseen = foreseen || (o.probability > 0 && o.next == env.observation()[0] &&
                              o.reward == result.reward && o.terminated == result.terminated);
    }
    if (!foreseen) return Broken("step " + std::to_string(i) + " is none that the model foresees");
    if (result.ended()) MUSTER_RETURN_IF_ERROR(player.Begin(std::nullopt));
  }
  return std::to_string(model->states()) + " states";
}

Result<std::string> CheckRendering(Env& env, const CheckOptions& options) {
  MUSTER_RETURN_IF_ERROR(env.Reset(options.seed));
  if (env.RenderText().empty()) return Broken("it renders no text");
  const Image image = env.RenderImage();
  if (image.rgb.size() != image.width * image.height * 3)
    return Broken("the picture has another size");
  return image.rgb.empty() ? std::string("text alone")
                           : std::to_string(image.width) + " x " + std::to_string(image.height);
}

constexpr std::size_t kBatch = 7;  // No multiple of four.

// What a batch with these seeds must show, from single environments.
Result<std::string> CheckMode(const EnvMaker& make, const BatchMaker& make_batch, Autoreset mode,
                              const CheckOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto batch, make_batch({.envs = kBatch, .autoreset = mode}));
  MUSTER_RETURN_IF_ERROR(batch->ResetFrom(options.seed));
  const EnvSpec& spec = batch->spec();
  const std::size_t seen = spec.observation.elements(), width = spec.action.elements();
  std::vector<std::unique_ptr<Env>> singles;
  for (std::size_t i = 0; i < kBatch; ++i) {
    MUSTER_ASSIGN_OR_RETURN(auto env, make());
    MUSTER_RETURN_IF_ERROR(env->Reset(options.seed + i));
    singles.push_back(std::move(env));
  }
  NumpyRandom random(options.seed);
  ValueArray action(spec.action.dtype, width), actions(spec.action.dtype, kBatch * width);
  std::vector<bool> ended(kBatch);
  const auto same = [](ConstValues a, ConstValues b) {
    return a.size == b.size && std::memcmp(a.data, b.data, a.bytes()) == 0;
  };
  for (std::size_t step = 0; step < options.steps; ++step) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      Sample(spec.action, random, action);
      actions.Set(i * width, action);
    }
    if (mode == Autoreset::kDisabled &&
        std::find(ended.begin(), ended.end(), true) != ended.end()) {
      if (batch->Step(actions).ok()) return Broken("a step over ended episodes is taken");
      MUSTER_RETURN_IF_ERROR(batch->ResetEnded());
    }
    MUSTER_RETURN_IF_ERROR(batch->Step(actions));
    for (std::size_t i = 0; i < kBatch; ++i) {
      const std::string where =
          " (environment " + std::to_string(i) + ", step " + std::to_string(step) + ")";
      Transition expected;
      const bool restarts = ended[i] && mode == Autoreset::kNextStep;
      if (ended[i]) MUSTER_RETURN_IF_ERROR(singles[i]->Reset());
      if (!restarts) {
        MUSTER_ASSIGN_OR_RETURN(expected, singles[i]->Step(actions.Part(i * width, width)));
      }
      ended[i] = expected.ended();
      if (batch->rewards()[i] != static_cast<float>(expected.reward) ||
          (batch->terminated()[i] != 0) != expected.terminated ||
          (batch->truncated()[i] != 0) != expected.truncated) {
        return Broken("another reward or flag than that of a single environment" + where);
      }
      bool started = restarts;
      if (ended[i] && mode == Autoreset::kSameStep) {
        if (!same(batch->final_observations().Part(i * seen, seen), singles[i]->observation())) {
          return Broken("another final observation" + where);
        }
        MUSTER_RETURN_IF_ERROR(singles[i]->Reset());
        ended[i] = false;
        started = true;
      }
      if ((batch->started()[i] != 0) != started) return Broken("a wrong start flag" + where);
      if (!same(batch->observations().Part(i * seen, seen), singles[i]->observation())) {
        return Broken("another observation than that of a single environment" + where);
      }
    }
  }
  return Steps(options.steps);
}

// A slice of one batch goes on in another place of another batch.
Result<std::string> CheckSlices(const BatchMaker& make_batch, const CheckOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto from, make_batch({.envs = kBatch}));
  MUSTER_ASSIGN_OR_RETURN(const auto to, make_batch({.envs = 5}));
  MUSTER_RETURN_IF_ERROR(from->ResetFrom(options.seed));
  MUSTER_RETURN_IF_ERROR(to->ResetFrom(options.seed + 100));
  const EnvSpec& spec = from->spec();
  const std::size_t seen = spec.observation.elements(), width = spec.action.elements();
  NumpyRandom random(options.seed);
  ValueArray actions(spec.action.dtype, kBatch * width), fewer(spec.action.dtype, 5 * width);
  ValueArray action(spec.action.dtype, width);
  const auto draw = [&] {
    for (std::size_t i = 0; i < kBatch; ++i) {
      Sample(spec.action, random, action);
      actions.Set(i * width, action);
      if (i >= 2 && i < 5) fewer.Set((i - 1) * width, action);
      if (i == 0 || i == 6) fewer.Set((i == 0 ? 0 : 4) * width, action);
    }
  };
  for (std::size_t step = 0; step < options.steps / 10 + 3; ++step) {
    draw();
    MUSTER_RETURN_IF_ERROR(from->Step(actions));
  }
  std::string state;
  MUSTER_RETURN_IF_ERROR(from->Save(2, 3, state));
  MUSTER_RETURN_IF_ERROR(to->Load(1, state));
  for (std::size_t step = 0; step < options.steps; ++step) {
    const ConstValues a = from->observations().Part(2 * seen, 3 * seen);
    const ConstValues b = to->observations().Part(1 * seen, 3 * seen);
    if (std::memcmp(a.data, b.data, a.bytes()) != 0) {
      return Broken("environments go on otherwise where they were loaded (step " +
                    std::to_string(step) + ")");
    }
    draw();
    MUSTER_RETURN_IF_ERROR(from->Step(actions));
    MUSTER_RETURN_IF_ERROR(to->Step(fewer));
  }
  for (const std::string& damaged :
       {std::string(), state.substr(0, state.size() - 1), state + "x"}) {
    if (to->Load(1, damaged).ok()) return Broken("a damaged state is loaded");
  }
  if (to->Load(3, state).ok()) return Broken("a state of 3 environments is loaded where 2 are");
  return Steps(options.steps);
}

std::vector<CheckLine> Run(const std::vector<std::pair<const char*, CheckPart>>& parts) {
  std::vector<CheckLine> lines;
  for (const auto& [what, part] : parts) {
    const Result<std::string> result = part();
    lines.push_back({what, result.ok(), result.ok() ? *result : result.status().message()});
  }
  return lines;
}

}  // namespace

std::vector<CheckLine> CheckEnv(const EnvMaker& make, const CheckOptions& options) {
  Result<std::unique_ptr<Env>> made = make();
  if (!made.ok()) return {{"it can be made", false, made.status().message()}};
  Env& env = **made;
  const auto with_env = [&](auto check) {
    return [&env, &options, check] { return check(env, options); };
  };
  const auto with_make = [&](auto check) {
    return [&make, &options, check] { return check(make, options); };
  };
  return Run(
      {{"the spec is whole", [&] { return CheckSpec(env.spec()); }},
       {"observations, rewards and flags are as the spec says", with_env(CheckValues)},
       {"wrong actions and steps out of place are refused", [&] { return CheckRefusals(make); }},
       {"the same seed and actions give the same bytes", with_make(CheckDeterminism)},
       {"resets without a seed go on with the generator", with_make(CheckContinuation)},
       {"save and load in mid-episode are exact", with_make(CheckSave)},
       {"copies go on alike and apart", with_make(CheckClone)},
       {"damaged states are refused", with_make(CheckDamage)},
       {"the model foresees what happens", with_env(CheckModel)},
       {"it can be rendered", with_env(CheckRendering)}});
}

std::vector<CheckLine> CheckBatch(const EnvMaker& make, const BatchMaker& make_batch,
                                  const CheckOptions& options) {
  const auto mode = [&](Autoreset autoreset) {
    return [&, autoreset] { return CheckMode(make, make_batch, autoreset, options); };
  };
  return Run(
      {{"batches equal single environments, same-step", mode(Autoreset::kSameStep)},
       {"batches equal single environments, next-step", mode(Autoreset::kNextStep)},
       {"batches equal single environments, disabled", mode(Autoreset::kDisabled)},
       {"slices of a batch can be moved", [&] { return CheckSlices(make_batch, options); }}});
}

bool AllPassed(const std::vector<CheckLine>& lines) {
  return std::all_of(lines.begin(), lines.end(), [](const CheckLine& line) { return line.passed; });
}

std::string TextOf(const std::vector<CheckLine>& lines) {
  std::string text;
  for (const CheckLine& line : lines) {
    text += (line.passed ? "ok    " : "FAIL  ") + line.what;
    if (!line.detail.empty())
      text += (line.passed ? " (" : ": ") + line.detail + (line.passed ? ")" : "");
    text += "\n";
  }
  return text;
}

}  // namespace muster::envs
