#include "trainer/rl/ppo_state.h"

#include <span>
#include <utility>

#include "trainer/lanes/lane_bytes.h"

namespace muster::rl {
namespace {

std::string LaneArray(std::size_t lane) { return "lane." + std::to_string(lane) + ".state"; }

nlohmann::json JsonOf(const envs::Moments& moments) {
  return {{"count", moments.count}, {"mean", moments.mean}, {"variance", moments.variance}};
}

bool TakeMoments(const nlohmann::json& json, envs::Moments& moments) {
  const auto numbers = [](const nlohmann::json& list, std::vector<double>& to) {
    if (!list.is_array() || list.size() != to.size()) return false;
    for (std::size_t i = 0; i < to.size(); ++i) {
      if (!list[i].is_number()) return false;
      to[i] = list[i].get<double>();
    }
    return true;
  };
  if (!json.is_object() || !json.contains("count") || !json["count"].is_number()) return false;
  moments.count = json["count"].get<double>();
  return numbers(json.value("mean", nlohmann::json()), moments.mean) &&
         numbers(json.value("variance", nlohmann::json()), moments.variance);
}

nlohmann::json JsonOf(const std::optional<PolicyEvaluation>& evaluation) {
  if (!evaluation) return nullptr;
  return {{"return", evaluation->return_mean},    {"return_std", evaluation->return_std},
          {"return_min", evaluation->return_min}, {"return_max", evaluation->return_max},
          {"length", evaluation->length_mean},    {"episodes", evaluation->episodes}};
}

std::optional<PolicyEvaluation> EvaluationOf(const nlohmann::json& json) {
  if (!json.is_object()) return std::nullopt;
  PolicyEvaluation evaluation;
  evaluation.return_mean = json.value("return", 0.0);
  evaluation.return_std = json.value("return_std", 0.0);
  evaluation.return_min = json.value("return_min", 0.0);
  evaluation.return_max = json.value("return_max", 0.0);
  evaluation.length_mean = json.value("length", 0.0);
  evaluation.episodes = json.value("episodes", std::uint64_t{0});
  return evaluation;
}

}  // namespace

PpoState::PpoState(const PpoOptions& options, const Policy& policy, std::size_t first_lane)
    : model(policy.parameters(),
            {.kind = nn::OptimizerKind::kAdam, .epsilon = options.adam_epsilon}, options.seed),
      policy_(policy),
      rollout_steps_(options.rollout_steps),
      lag_max_(options.max_policy_lag),
      recipe_(RecipeOf(options)),
      first_lane_(first_lane) {
  if (options.vpg) {
    model.AddOptimizer("value",
                       {.kind = nn::OptimizerKind::kAdam, .epsilon = options.adam_epsilon});
  }
  policy.FinishValues(model.values());
  model.Changed();
}

Result<std::unique_ptr<PpoState>> PpoState::Create(const PpoOptions& options, const Policy& policy,
                                                   std::size_t first_lane,
                                                   std::size_t local_lanes) {
  std::unique_ptr<PpoState> state(new PpoState(options, policy, first_lane));
  for (std::size_t local = 0; local < local_lanes; ++local) {
    MUSTER_ASSIGN_OR_RETURN(auto lane,
                            LaneEnvs::Create(options.environment, options.lane_envs(), options.seed,
                                             first_lane + local, policy.memory()));
    MUSTER_RETURN_IF_ERROR(lane->Reset());
    state->lanes.push_back({.envs = std::move(lane)});
  }
  state->moments.observations = envs::Moments(state->lanes.front().envs->normalized_elements());
  if (options.environment.normalize_rewards) state->moments.rewards = envs::Moments(1);
  return state;
}

std::string PpoState::Lane::StateBytes() const {
  if (remote_state) return *remote_state;
  std::string bytes;
  envs->Save(bytes);
  return bytes;
}

Status PpoState::Lane::TakeHome() {
  if (!remote_state) return {};
  MUSTER_RETURN_IF_ERROR(envs->Load(*remote_state));
  remote_state.reset();
  return {};
}

std::string PpoState::BytesOf(const Lane& lane) {
  std::string bytes;
  envs::ByteWriter to(bytes);
  to.PutText(lane.StateBytes());
  to.Put<std::uint64_t>(lane.pending.size());
  for (const Trajectory& trajectory : lane.pending) trajectory.Save(to);
  return bytes;
}

Status PpoState::RestoreLane(std::string_view bytes, Lane& lane) const {
  envs::ByteReader from(bytes);
  const std::string state = from.GetText();
  const auto pending = from.Get<std::uint64_t>();
  if (!from.ok() || pending > lag_max_) return DataLoss("damaged");
  MUSTER_RETURN_IF_ERROR(lane.envs->Load(state));
  lane.remote_state.reset();
  lane.pending.resize(pending);
  for (Trajectory& trajectory : lane.pending) {
    MUSTER_RETURN_IF_ERROR(trajectory.Load(from, policy_, rollout_steps_, lane.envs->count()));
  }
  if (from.left() > 0) return DataLoss("damaged");
  return {};
}

Status PpoState::Gather(Group& group) {
  std::vector<std::string> local;
  for (const Lane& lane : lanes) local.push_back(BytesOf(lane));
  MUSTER_ASSIGN_OR_RETURN(lane_bytes_, GatherLaneBytes(group, local));
  return {};
}

CheckpointContents PpoState::Contents() {
  CheckpointContents contents;
  contents.step = update;
  model.AddTo(contents);
  for (std::size_t lane = 0; lane < lane_bytes_.size(); ++lane) {
    const std::string& bytes = lane_bytes_[lane];
    contents.lanes.emplace(
        LaneArray(lane),
        ViewOf(std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()),
               {bytes.size()}));
  }
  contents.trainer["recipe"] = recipe_;
  contents.trainer["step"] = update;
  contents.trainer["episodes"] = episodes;
  contents.trainer["evaluation"] = JsonOf(evaluation);
  contents.trainer["reached"] = reached;
  contents.trainer["best"] = nullptr;
  if (best_return) {
    contents.trainer["best"] = {{"step", best_update}, {"evaluation/return", *best_return}};
  }
  contents.trainer["moments"] = {{"observations", JsonOf(moments.observations)},
                                 {"rewards", JsonOf(moments.rewards)}};
  return contents;
}

Status PpoState::RestoreTrainer(const nlohmann::json& trainer) {
  if (!trainer.contains("step") || trainer["step"] != update) {
    return DataLoss("the checkpoint's trainer.json and manifest.json name different steps");
  }
  const nlohmann::json kept = trainer.value("moments", nlohmann::json::object());
  if (!TakeMoments(kept.value("observations", nlohmann::json()), moments.observations) ||
      !TakeMoments(kept.value("rewards", nlohmann::json()), moments.rewards)) {
    return DataLoss("the checkpoint's trainer.json has no moments of the normalisers");
  }
  if (!trainer.contains("episodes") || !trainer["episodes"].is_number_unsigned() ||
      !trainer.contains("reached") || !trainer["reached"].is_boolean()) {
    return DataLoss("the checkpoint's trainer.json has no episodes, or not whether it is done");
  }
  episodes = trainer["episodes"].get<std::uint64_t>();
  reached = trainer["reached"].get<bool>();
  evaluation = EvaluationOf(trainer.value("evaluation", nlohmann::json()));
  const nlohmann::json best = trainer.value("best", nlohmann::json());
  best_return = std::nullopt;
  if (best.is_object()) {
    best_return = best.value("evaluation/return", 0.0);
    best_update = best.value("step", std::uint64_t{0});
  }
  return {};
}

Status PpoState::Restore(const CheckpointContents& contents) {
  MUSTER_RETURN_IF_ERROR(CheckSameRecipe(recipe_, contents.trainer));
  update = contents.step;
  for (std::size_t local = 0; local < lanes.size(); ++local) {
    const std::string name = LaneArray(first_lane_ + local);
    const auto found = contents.lanes.find(name);
    if (found == contents.lanes.end() || found->second.type != ArrayType::kU8) {
      return DataLoss("the checkpoint has no " + name);
    }
    const std::span<const std::uint8_t> bytes = found->second.u8();
    MUSTER_RETURN_IF_ERROR(
        RestoreLane({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, lanes[local])
            .During(name));
  }
  MUSTER_RETURN_IF_ERROR(model.TakeFrom(contents));
  return RestoreTrainer(contents.trainer);
}

}  // namespace muster::rl
