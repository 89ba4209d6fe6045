#include "trainer/rl/remote_rollouts.h"

#include <cstring>
#include <utility>

namespace muster::rl {
namespace {

constexpr std::size_t kMomentsMost = std::size_t{1} << 24U;

bool GetMoments(envs::ByteReader& from, envs::Moments& moments) {
  from.Get(moments.count);
  for (std::vector<double>* const values : {&moments.mean, &moments.variance}) {
    const auto size = from.Get<std::uint64_t>();
    if (!from.ok() || size > kMomentsMost || size * sizeof(double) > from.left()) return false;
    values->resize(size);
    from.GetAll(std::span<double>(*values));
  }
  return from.ok() && moments.mean.size() == moments.variance.size();
}

}  // namespace

std::string BytesOf(const NormalizerMoments& moments) {
  std::string bytes;
  envs::ByteWriter to(bytes);
  for (const envs::Moments* const each : {&moments.observations, &moments.rewards}) {
    to.Put(each->count);
    for (const std::vector<double>* const values : {&each->mean, &each->variance}) {
      to.Put<std::uint64_t>(values->size());
      to.PutAll(std::span<const double>(*values));
    }
  }
  return bytes;
}

Result<std::unique_ptr<RolloutRunner>> RolloutRunner::Create(const PpoOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const PpoPlan plan, PlanPpo(options, 1));
  std::unique_ptr<RolloutRunner> runner(new RolloutRunner(options));
  MUSTER_ASSIGN_OR_RETURN(runner->policy_,
                          Policy::Create(options.policy, plan.spec.observation, plan.spec.action));
  return runner;
}

RolloutRunner::Seat::Seat(const RolloutRunner& runner) : tape_(*runner.policy_) {}

Status RolloutRunner::SetPolicy(std::uint64_t version, std::string_view values,
                                std::string_view moments) {
  auto policy = std::make_shared<VersionedPolicy>();
  policy->version = version;
  const std::size_t elements = policy_->parameters().flat_elements();
  if (values.size() != elements * sizeof(float)) {
    return InvalidArgument("a policy of " + std::to_string(values.size()) +
                           " bytes; this one has " + std::to_string(elements * sizeof(float)));
  }
  policy->values.resize(elements);
  std::memcpy(policy->values.data(), values.data(), values.size());
  envs::ByteReader from(moments);
  if (!GetMoments(from, policy->moments.observations) ||
      !GetMoments(from, policy->moments.rewards) || from.left() > 0) {
    return InvalidArgument("damaged moments of the normalisers");
  }
  const std::scoped_lock lock(mutex_);
  current_ = std::move(policy);
  return {};
}

// `known`: there must be one already.
Result<LaneEnvs*> RolloutRunner::EnvsOf(std::size_t lane, bool known) {
  const std::scoped_lock lock(mutex_);
  if (lane >= options_.lanes) return InvalidArgument("lane " + std::to_string(lane));
  std::unique_ptr<LaneEnvs>& lane_envs = lanes_[lane];
  if (lane_envs == nullptr) {
    if (known) {
      return FailedPrecondition("nothing is known here of lane " + std::to_string(lane));
    }
    MUSTER_ASSIGN_OR_RETURN(lane_envs, LaneEnvs::Create(options_.environment, options_.lane_envs(),
                                                        options_.seed, lane, policy_->memory()));
  }
  return lane_envs.get();
}

Result<RolloutResult> RolloutRunner::Run(Seat& seat, std::size_t lane, std::uint64_t version,
                                         std::size_t rollouts,
                                         std::optional<std::string_view> state) {
  std::shared_ptr<const VersionedPolicy> policy;
  {
    const std::scoped_lock lock(mutex_);
    policy = current_;
  }
  const bool newer = options_.asynchronous && policy != nullptr && policy->version > version;
  if (policy == nullptr || (policy->version != version && !newer)) {
    return FailedPrecondition("policy version " + std::to_string(version) + " is not here");
  }
  MUSTER_ASSIGN_OR_RETURN(LaneEnvs* const lane_envs, EnvsOf(lane, !state));
  if (policy->moments.observations.mean.size() != lane_envs->normalized_elements()) {
    return InvalidArgument("moments of other normalisers");
  }
  if (state) MUSTER_RETURN_IF_ERROR(lane_envs->Load(*state));
  const auto begin = [&]() -> Tape& { return seat.tape_.Begin(policy->values); };
  RolloutResult result;
  Trajectory trajectory;
  for (std::size_t i = 0; i < rollouts; ++i) {
    trajectory.version = policy->version;
    MUSTER_RETURN_IF_ERROR(seat.collector_.Collect(*policy_, begin, policy->moments,
                                                   options_.rollout_steps, *lane_envs, trajectory));
    envs::ByteWriter to(result.trajectories.emplace_back());
    trajectory.Save(to);
  }
  lane_envs->Save(result.state);
  return result;
}

}  // namespace muster::rl
