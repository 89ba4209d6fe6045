#include "trainer/rl/policy_evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "envs/encode.h"
#include "trainer/rl/action_sampler.h"

namespace muster::rl {
namespace {

// Away from the draws of training.
constexpr std::uint32_t kLanesOfEvaluation = 1U << 31U;
// Of episodes in an environment without a limit of its own: a policy may walk in circles for ever.
constexpr std::size_t kEpisodeStepsMax = 10'000;

Result<EnvironmentOptions> Limited(const EnvironmentOptions& given) {
  EnvironmentOptions options = given;
  if (options.settings.contains("max_episode_steps")) return options;
  MUSTER_ASSIGN_OR_RETURN(const WrappedEnvs one, MakeWrappedEnvs(options, 1, true));
  if (one.env->spec().steps_max == 0) {
    options.settings["max_episode_steps"] = std::to_string(kEpisodeStepsMax);
  }
  return options;
}

}  // namespace

struct PolicyEvaluator::Lane {
  std::size_t first = 0;  // Episode.
  WrappedEnvs wrapped;    // One for each episode; null where there are none.
  std::vector<std::uint64_t> seeds;
  std::vector<float> features;
  std::vector<float> memory;  // The policy's, of each episode.
  ActionSampler sampler;
  std::vector<double> returns;
  std::vector<std::uint64_t> lengths;  // 0 while it runs.
  Actions actions;
  Status status;
};

PolicyEvaluator::PolicyEvaluator(const EvaluationOptions& options, std::uint64_t seed,
                                 const Policy& policy, LaneLoop& loop)
    : options_(options), seed_(seed), policy_(policy), loop_(loop) {}

PolicyEvaluator::~PolicyEvaluator() = default;

Result<std::unique_ptr<PolicyEvaluator>> PolicyEvaluator::Create(
    const EnvironmentOptions& environment, const EvaluationOptions& options, std::uint64_t seed,
    const Policy& policy, LaneLoop& loop) {
  std::unique_ptr<PolicyEvaluator> evaluator(new PolicyEvaluator(options, seed, policy, loop));
  evaluator->lanes_.resize(loop.local_lanes());
  MUSTER_ASSIGN_OR_RETURN(evaluator->environment_, Limited(environment));
  const std::uint64_t first_seed = FirstEnvSeed(seed, EnvUse::kEvaluation);
  for (std::size_t local = 0; local < loop.local_lanes(); ++local) {
    Lane& lane = evaluator->lanes_[local];
    const std::size_t number = loop.LaneOf(local);
    lane.first = options.episodes * number / loop.lanes();
    const std::size_t count = options.episodes * (number + 1) / loop.lanes() - lane.first;
    lane.seeds.resize(count);
    std::iota(lane.seeds.begin(), lane.seeds.end(), first_seed + lane.first);
    if (count == 0) continue;
    MUSTER_ASSIGN_OR_RETURN(lane.wrapped, MakeWrappedEnvs(evaluator->environment_, count, true));
  }
  evaluator->sums_.resize(loop.local_lanes() * options.episodes * 2);
  return evaluator;
}

Status PolicyEvaluator::Begin(const NormalizerMoments& moments, Lane& lane) {
  const std::size_t count = lane.seeds.size();
  lane.features.resize(count * policy_.features());
  lane.memory.assign(count * policy_.memory(), 0.0F);
  if (lane.wrapped.observations != nullptr) lane.wrapped.observations->Use(moments.observations);
  return lane.wrapped.env->Reset(lane.seeds);
}

Status PolicyEvaluator::Step(LaneLoop::Block& block, std::span<const float> values,
                             std::uint64_t step, Lane& lane) {
  envs::VectorEnv& env = *lane.wrapped.env;
  envs::Encode(env.spec().observation, env.observations(), lane.features);
  Tape& tape = loop_.BeginInference(block, values);
  const Policy::Distribution distribution =
      policy_.Act(tape, tape.Input({lane.seeds.size(), policy_.features()}, lane.features.data()),
                  {.memory = lane.memory, .after = lane.memory});
  if (options_.deterministic) {
    policy_.Mode(distribution, lane.actions);
  } else {
    const Sampled draw{seed_, kLanesOfEvaluation + static_cast<std::uint32_t>(lane.first), step,
                       policy_.NoiseStep(step, 0)};
    lane.sampler.Sample(tape, policy_, distribution, draw, lane.actions, {});
  }
  return policy_.discrete() ? env.Step(lane.actions.choices) : env.Step(lane.actions.numbers);
}

// An environment whose episode has ended goes on with the next one, which nobody counts.
Status PolicyEvaluator::RunLane(LaneLoop::Block& block, std::span<const float> values,
                                const NormalizerMoments& moments, Lane& lane) {
  const std::size_t count = lane.seeds.size();
  lane.returns.assign(count, 0.0);
  lane.lengths.assign(count, 0);
  if (count == 0) return {};
  MUSTER_RETURN_IF_ERROR(Begin(moments, lane));
  std::size_t running = count;
  for (std::uint64_t step = 0; running > 0; ++step) {
    MUSTER_RETURN_IF_ERROR(Step(block, values, step, lane));
    for (const envs::FinishedEpisode& episode : lane.wrapped.statistics->TakeFinished()) {
      if (lane.lengths[episode.env] > 0) continue;
      lane.returns[episode.env] = episode.episode_return;
      lane.lengths[episode.env] = episode.length;
      --running;
    }
  }
  return {};
}

Status PolicyEvaluator::RecordLane(LaneLoop::Block& block, std::span<const float> values,
                                   const NormalizerMoments& moments, const envs::Env& env,
                                   Lane& lane, EpisodeRecorder& recorder) {
  MUSTER_RETURN_IF_ERROR(Begin(moments, lane));
  MUSTER_RETURN_IF_ERROR(recorder.Add(env, false));
  const envs::VectorEnv& seen = *lane.wrapped.env;
  bool ended = false;
  for (std::uint64_t step = 0; !ended; ++step) {
    MUSTER_RETURN_IF_ERROR(Step(block, values, step, lane));
    ended = seen.terminated()[0] != 0 || seen.truncated()[0] != 0 || step + 1 == kRecordedStepsMax;
    MUSTER_RETURN_IF_ERROR(recorder.Add(env, ended));
  }
  return {};
}

Result<std::string> PolicyEvaluator::Record(std::span<const float> values,
                                            const NormalizerMoments& moments,
                                            const PolicyEvaluation& expected) {
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<envs::Env> one,
                          envs::MakeEnv(environment_.name, environment_.settings));
  const envs::Env& env = *one;
  EpisodeRecorder recorder(env.spec(), expected.length_mean);
  std::vector<std::unique_ptr<envs::Env>> all;
  all.push_back(std::move(one));
  Lane lane;
  lane.seeds = {FirstEnvSeed(seed_, EnvUse::kEvaluation)};
  // Not reset within the step: the last picture is that of the episode's end.
  MUSTER_ASSIGN_OR_RETURN(
      lane.wrapped,
      WrapEnvs(environment_, envs::Batch(std::move(all), envs::Autoreset::kNextStep), true));
  loop_.ForLanes([&](LaneLoop::Block& block, std::size_t local) {
    if (local == 0) lane.status = RecordLane(block, values, moments, env, lane, recorder);
  });
  MUSTER_RETURN_IF_ERROR(lane.status);
  return recorder.Finish();
}

Result<PolicyEvaluation> PolicyEvaluator::Run(std::span<const float> values,
                                              const NormalizerMoments& moments) {
  const std::size_t width = options_.episodes * 2;
  std::fill(sums_.begin(), sums_.end(), 0.0);
  loop_.ForLanes([&](LaneLoop::Block& block, std::size_t local) {
    Lane& lane = lanes_[local];
    lane.status = RunLane(block, values, moments, lane);
    for (std::size_t e = 0; e < lane.seeds.size(); ++e) {
      sums_[local * width + (lane.first + e) * 2] = lane.returns[e];
      sums_[local * width + (lane.first + e) * 2 + 1] = static_cast<double>(lane.lengths[e]);
    }
  });
  for (const Lane& lane : lanes_) MUSTER_RETURN_IF_ERROR(lane.status);
  // Every episode belongs to one lane: the sums are the episodes themselves, on all ranks.
  MUSTER_RETURN_IF_ERROR(loop_.SumLanes(sums_, width));
  PolicyEvaluation result;
  result.episodes = options_.episodes;
  const auto count = static_cast<double>(options_.episodes);
  result.return_min = result.return_max = sums_[0];
  for (std::size_t e = 0; e < options_.episodes; ++e) {
    result.return_mean += sums_[e * 2] / count;
    result.length_mean += sums_[e * 2 + 1] / count;
    result.return_min = std::min(result.return_min, sums_[e * 2]);
    result.return_max = std::max(result.return_max, sums_[e * 2]);
  }
  for (std::size_t e = 0; e < options_.episodes; ++e) {
    const double difference = sums_[e * 2] - result.return_mean;
    result.return_std += difference * difference / count;
  }
  result.return_std = std::sqrt(result.return_std);
  return result;
}

}  // namespace muster::rl
