#include "trainer/rl/rollout.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "base/random_key.h"
#include "envs/encode.h"

namespace muster::rl {
namespace {

template <class T>
void PutVector(envs::ByteWriter& to, const std::vector<T>& values) {
  to.Put<std::uint64_t>(values.size());
  to.PutAll(std::span<const T>(values));
}

// At most `most` elements: what comes over a wire decides no allocation.
template <class T>
bool GetVector(envs::ByteReader& from, std::vector<T>& values, std::size_t most) {
  const auto size = from.Get<std::uint64_t>();
  if (!from.ok() || size > most || size * sizeof(T) > from.left()) return false;
  values.resize(size);
  from.GetAll(std::span<T>(values));
  return from.ok();
}

void PutSums(envs::ByteWriter& to, const envs::MomentSums& sums) {
  to.Put(sums.count);
  PutVector(to, sums.sum);
  PutVector(to, sums.square);
}

bool GetSums(envs::ByteReader& from, envs::MomentSums& sums) {
  constexpr std::size_t kMost = std::size_t{1} << 24U;
  from.Get(sums.count);
  return GetVector(from, sums.sum, kMost) && GetVector(from, sums.square, kMost) &&
         sums.sum.size() == sums.square.size();
}

std::string ActionText(const Actions& actions, std::size_t row, std::size_t elements) {
  std::string text;
  for (std::size_t k = 0; k < elements; ++k) {
    if (k > 0) text += ", ";
    const std::size_t at = row * elements + k;
    text += actions.choices.empty() ? std::to_string(actions.numbers[at])
                                    : std::to_string(actions.choices[at]);
  }
  return elements == 1 ? text : "[" + text + "]";
}

}  // namespace

void Trajectory::Save(envs::ByteWriter& to) const {
  to.Put(version);
  for (const auto* const values :
       {&features, &last_features, &actions.numbers, &log_probs, &rewards, &cut_features}) {
    PutVector(to, *values);
  }
  PutVector(to, actions.choices);
  PutVector(to, terminated);
  PutVector(to, truncated);
  PutVector(to, cut);
  to.Put<std::uint64_t>(episodes.size());
  for (const envs::FinishedEpisode& episode : episodes) {
    to.Put<std::uint64_t>(episode.env);
    to.Put(episode.episode_return);
    to.Put(episode.length);
  }
  PutSums(to, observation_sums);
  PutSums(to, reward_sums);
  to.PutAll(std::span<const float>(memory));
}

Status Trajectory::Load(envs::ByteReader& from, const Policy& policy, std::size_t steps_given,
                        std::size_t envs_given) {
  steps = steps_given;
  envs = envs_given;
  const std::size_t all = rows(), wide = policy.features(), acts = all * policy.action_elements();
  from.Get(version);
  bool fits = GetVector(from, features, all * wide) &&
              GetVector(from, last_features, envs * wide) &&
              GetVector(from, actions.numbers, acts) && GetVector(from, log_probs, all) &&
              GetVector(from, rewards, all) && GetVector(from, cut_features, all * wide) &&
              GetVector(from, actions.choices, acts) && GetVector(from, terminated, all) &&
              GetVector(from, truncated, all) && GetVector(from, cut, all);
  const auto ended = from.Get<std::uint64_t>();
  fits = fits && ended <= all;
  episodes.resize(fits ? ended : 0);
  for (envs::FinishedEpisode& episode : episodes) {
    episode.env = from.Get<std::uint64_t>();
    from.Get(episode.episode_return);
    from.Get(episode.length);
  }
  fits = fits && GetSums(from, observation_sums) && GetSums(from, reward_sums);
  memory.resize(envs * policy.memory());
  from.GetAll(std::span<float>(memory));
  fits = fits && from.ok();
  fits = fits && features.size() == all * wide && last_features.size() == envs * wide &&
         log_probs.size() == all && rewards.size() == all && terminated.size() == all &&
         truncated.size() == all && cut_features.size() == cut.size() * wide &&
         (policy.discrete() ? actions.choices.size() : actions.numbers.size()) == acts;
  for (std::size_t i = 0; fits && i < cut.size(); ++i) fits = cut[i] < all;
  fits = fits && policy.Knows(actions);
  if (fits) return {};
  return DataLoss("a trajectory of other sizes than this job's, or damaged");
}

Result<std::unique_ptr<LaneEnvs>> LaneEnvs::Create(const EnvironmentOptions& options,
                                                   std::size_t count, std::uint64_t seed,
                                                   std::size_t lane, std::size_t memory) {
  std::unique_ptr<LaneEnvs> envs(new LaneEnvs);
  MUSTER_ASSIGN_OR_RETURN(envs->wrapped_, MakeWrappedEnvs(options, count));
  envs->name_ = options.name;
  envs->seed_ = seed;
  envs->first_ = lane * count;
  envs->memory_.resize(count * memory);
  return envs;
}

Status LaneEnvs::Reset() {
  steps_done_ = 0;
  std::fill(memory_.begin(), memory_.end(), 0.0F);
  return wrapped_.env->ResetFrom(FirstEnvSeed(seed_, EnvUse::kTraining) + first_);
}

void LaneEnvs::Save(std::string& bytes) const {
  envs::ByteWriter to(bytes);
  to.Put(steps_done_);
  std::string state;
  const Status saved = wrapped_.env->Save(0, count(), state);
  // Plug-ins that cannot, now and then: the rank ends with what they say.
  if (!saved.ok()) throw std::runtime_error(saved.message());
  to.PutText(state);
  to.PutAll(std::span<const float>(memory_));
}

Status LaneEnvs::Load(std::string_view bytes) {
  envs::ByteReader from(bytes);
  from.Get(steps_done_);
  const std::string state = from.GetText();
  from.GetAll(std::span<float>(memory_));
  if (!from.ok() || from.left() > 0) return DataLoss("a lane's state is damaged");
  return wrapped_.env->Load(0, state);
}

Status Collector::CheckNumbers(const Policy& policy, const LaneEnvs& lane, std::size_t step,
                               std::span<const float> features) const {
  const std::size_t width = policy.features();
  for (std::size_t i = 0; i < features.size(); ++i) {
    if (std::isfinite(features[i])) continue;
    const std::size_t env = i / width;
    std::string when = "number " + std::to_string(lane.first_ + env) + ", its step " +
                       std::to_string(lane.steps_done_);
    if (step > 0) when += ", after action " + ActionText(actions_, env, policy.action_elements());
    return FailedPrecondition("environment " + lane.name_ + " (" + when + ") gave " +
                              std::to_string(features[i]) + " as element " +
                              std::to_string(i % width) +
                              " of its observation; an environment must give numbers");
  }
  return {};
}

// What the newest step was and gave.
void Collector::KeepStep(const Policy& policy, const LaneEnvs& lane, std::size_t step,
                         Trajectory& trajectory) const {
  const envs::VectorEnv& env = *lane.wrapped_.env;
  const std::size_t at = step * trajectory.envs, first = at * policy.action_elements();
  const auto put = [](const auto& from, auto& to, std::size_t place) {
    std::copy(from.begin(), from.end(), to.begin() + static_cast<std::ptrdiff_t>(place));
  };
  if (policy.discrete()) {
    put(actions_.choices, trajectory.actions.choices, first);
  } else {
    put(actions_.numbers, trajectory.actions.numbers, first);
  }
  put(env.rewards(), trajectory.rewards, at);
  put(env.terminated(), trajectory.terminated, at);
  put(env.truncated(), trajectory.truncated, at);
}

// Where an episode has ended the next one begins, of which nothing is known yet.
void Collector::Forget(LaneEnvs& lane) {
  const envs::VectorEnv& env = *lane.wrapped_.env;
  const std::size_t each = lane.memory_.size() / lane.count();
  for (std::size_t e = 0; each > 0 && e < lane.count(); ++e) {
    if (env.terminated()[e] == 0 && env.truncated()[e] == 0) continue;
    std::fill_n(lane.memory_.begin() + static_cast<std::ptrdiff_t>(e * each), each, 0.0F);
  }
}

// What truncated episodes would have gone on from.
void Collector::KeepCut(const LaneEnvs& lane, std::size_t step, std::size_t width,
                        Trajectory& trajectory) {
  const envs::VectorEnv& env = *lane.wrapped_.env;
  const std::size_t elements = env.spec().observation.elements();
  for (std::size_t e = 0; e < trajectory.envs; ++e) {
    if (env.truncated()[e] == 0 || env.terminated()[e] != 0) continue;
    trajectory.cut.push_back(static_cast<std::uint32_t>(step * trajectory.envs + e));
    trajectory.cut_features.resize(trajectory.cut.size() * width);
    envs::Encode(env.spec().observation, env.final_observations().Part(e * elements, elements),
                 std::span(trajectory.cut_features).last(width));
  }
}

void Trajectory::Begin(const Policy& policy, std::size_t steps_wanted, std::size_t envs_given) {
  steps = steps_wanted;
  envs = envs_given;
  const std::size_t acts = rows() * policy.action_elements();
  features.resize(rows() * policy.features());
  last_features.resize(envs * policy.features());
  actions.choices.resize(policy.discrete() ? acts : 0);
  actions.numbers.resize(policy.discrete() ? 0 : acts);
  log_probs.resize(rows());
  rewards.resize(rows());
  terminated.resize(rows());
  truncated.resize(rows());
  cut.clear();
  cut_features.clear();
}

Status Collector::Collect(const Policy& policy, const BeginTape& begin,
                          const NormalizerMoments& moments, std::size_t steps, LaneEnvs& lane,
                          Trajectory& trajectory) {
  WrappedEnvs& wrapped = lane.wrapped_;
  envs::VectorEnv& env = *wrapped.env;
  const std::size_t envs = env.envs(), width = policy.features();
  if (wrapped.observations != nullptr) wrapped.observations->Use(moments.observations);
  if (wrapped.rewards != nullptr) wrapped.rewards->Use(moments.rewards);
  MUSTER_CHECK(lane.memory_.size() == envs * policy.memory(), "a lane of another policy");
  trajectory.Begin(policy, steps, envs);
  trajectory.memory = lane.memory_;
  const std::span<float> seen = trajectory.last_features;
  envs::Encode(env.spec().observation, env.observations(), seen);
  MUSTER_RETURN_IF_ERROR(CheckNumbers(policy, lane, 0, seen));
  const std::uint64_t first_step = lane.steps_done_;
  for (std::size_t step = 0; step < steps; ++step) {
    std::copy(seen.begin(), seen.end(),
              trajectory.features.begin() + static_cast<std::ptrdiff_t>(step * envs * width));
    Tape& tape = begin();
    const Past past{.memory = lane.memory_, .after = lane.memory_};
    const Sampled draw{lane.seed_, static_cast<std::uint32_t>(lane.first_), lane.steps_done_,
                       policy.NoiseStep(lane.steps_done_, first_step)};
    sampler_.Sample(tape, policy, policy.Act(tape, tape.Input({envs, width}, seen.data()), past),
                    draw, actions_, std::span(trajectory.log_probs).subspan(step * envs, envs));
    MUSTER_RETURN_IF_ERROR(policy.discrete() ? env.Step(actions_.choices)
                                             : env.Step(actions_.numbers));
    ++lane.steps_done_;
    Forget(lane);
    KeepStep(policy, lane, step, trajectory);
    envs::Encode(env.spec().observation, env.observations(), seen);
    MUSTER_RETURN_IF_ERROR(CheckNumbers(policy, lane, step + 1, seen));
    KeepCut(lane, step, width, trajectory);
  }
  const auto bad = std::find_if_not(trajectory.rewards.begin(), trajectory.rewards.end(),
                                    [](float reward) { return std::isfinite(reward); });
  if (bad != trajectory.rewards.end()) {
    return FailedPrecondition("environment " + lane.name_ + " gave " + std::to_string(*bad) +
                              " as a reward; an environment must give numbers");
  }
  trajectory.episodes = wrapped.statistics->TakeFinished();
  const auto take = [envs](envs::Normalizer* from) {
    return from == nullptr ? envs::MomentSums{} : from->Take(0, envs);
  };
  trajectory.observation_sums = take(wrapped.observations);
  trajectory.reward_sums = take(wrapped.rewards);
  return {};
}

}  // namespace muster::rl
