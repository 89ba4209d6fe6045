#include "trainer/supervised/training_state.h"

#include <utility>

namespace muster {
namespace {

std::string LaneArray(std::size_t lane) { return "lane." + std::to_string(lane) + ".samples"; }

nlohmann::json JsonOf(const std::optional<Evaluation>& evaluation) {
  if (!evaluation) return nullptr;
  return {{"accuracy", evaluation->accuracy}, {"loss", evaluation->loss}};
}

std::optional<Evaluation> EvaluationOf(const nlohmann::json& json) {
  if (!json.is_object()) return std::nullopt;
  return Evaluation{json.value("loss", 0.0), json.value("accuracy", 0.0)};
}

}  // namespace

TrainingState::TrainingState(const nn::Model& network, const nn::OptimizerOptions& optimizer,
                             std::uint64_t seed, nlohmann::json recipe, std::string data_sha256,
                             Group* shard_over)
    : model(network.parameters(), optimizer, seed, shard_over),
      recipe_(std::move(recipe)),
      data_sha256_(std::move(data_sha256)) {}

CheckpointContents TrainingState::Contents(std::size_t lanes, std::size_t lane_batch) {
  CheckpointContents contents;
  contents.step = step;
  lane_samples_.assign(lanes, static_cast<std::int64_t>(step * lane_batch));
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    contents.lanes.emplace(
        LaneArray(lane), ViewOf(std::span<const std::int64_t>(lane_samples_).subspan(lane, 1), {}));
  }
  contents.trainer = {{"recipe", recipe_},    {"data_sha256", data_sha256_},
                      {"step", step},         {"validation", JsonOf(validation)},
                      {"test", JsonOf(test)}, {"best", nullptr}};
  model.AddTo(contents);
  if (best_accuracy) {
    contents.trainer["best"] = {{"step", best_step}, {"validation/accuracy", *best_accuracy}};
  }
  if (early_stop) {
    contents.trainer["early_stop"] = {{"best", nullptr}, {"without", early_stop->without}};
    if (early_stop->best) contents.trainer["early_stop"]["best"] = *early_stop->best;
  }
  return contents;
}

Status TrainingState::CheckSameJob(const nlohmann::json& trainer) const {
  MUSTER_RETURN_IF_ERROR(CheckSameRecipe(recipe_, trainer));
  if (!trainer.contains("data_sha256")) {
    return DataLoss("the checkpoint's trainer.json names no data");
  }
  if (trainer["data_sha256"] != data_sha256_) {
    return FailedPrecondition("the data have changed since the checkpoint was made (SHA-256 " +
                              trainer["data_sha256"].dump() + ", now " + data_sha256_ +
                              "); restore the files or start a new job");
  }
  return {};
}

Status TrainingState::RestoreTrainer(const nlohmann::json& trainer) {
  if (!trainer.contains("step") || trainer["step"] != step) {
    return DataLoss("the checkpoint's trainer.json and manifest.json name different steps");
  }
  validation = EvaluationOf(trainer.value("validation", nlohmann::json()));
  test = EvaluationOf(trainer.value("test", nlohmann::json()));
  const nlohmann::json best = trainer.value("best", nlohmann::json());
  best_accuracy = std::nullopt;
  if (best.is_object()) {
    best_accuracy = best.value("validation/accuracy", 0.0);
    best_step = best.value("step", std::uint64_t{0});
  }
  if (early_stop) {
    const nlohmann::json stop = trainer.value("early_stop", nlohmann::json());
    if (!stop.is_object() || !stop.contains("best") || !stop.contains("without") ||
        !stop["without"].is_number_unsigned()) {
      return DataLoss("the checkpoint's trainer.json has no early_stop");
    }
    early_stop->without = stop["without"].get<std::uint64_t>();
    early_stop->best = std::nullopt;
    if (stop["best"].is_number()) early_stop->best = stop["best"].get<double>();
  }
  return {};
}

Status TrainingState::Restore(const CheckpointContents& contents, std::size_t lanes,
                              std::size_t lane_batch) {
  MUSTER_RETURN_IF_ERROR(CheckSameJob(contents.trainer));
  step = contents.step;
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    const auto found = contents.lanes.find(LaneArray(lane));
    if (found == contents.lanes.end() || found->second.type != ArrayType::kI64 ||
        found->second.elements() != 1 ||
        found->second.i64()[0] != static_cast<std::int64_t>(step * lane_batch)) {
      return DataLoss("the checkpoint's state of lane " + std::to_string(lane) +
                      " does not fit its step");
    }
  }
  MUSTER_RETURN_IF_ERROR(model.TakeFrom(contents));
  return RestoreTrainer(contents.trainer);
}

}  // namespace muster
