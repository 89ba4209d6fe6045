#include "trainer/supervised/training_state.h"

#include <algorithm>
#include <utility>

#include "nn/optim/gradient_norm.h"

namespace muster {
namespace {

std::vector<std::uint64_t> SizesOf(const Shape& shape) {
  std::vector<std::uint64_t> sizes;
  for (std::size_t i = 0; i < shape.rank(); ++i) sizes.push_back(shape[i]);
  return sizes;
}

// `flat` is laid out as the parameters are.
void AddArrays(const nn::ParameterSet& parameters, const std::string& prefix,
               std::span<const float> flat, NamedArrays& arrays) {
  for (const nn::ParameterSpec& spec : parameters.specs()) {
    arrays.emplace(prefix + spec.name,
                   ViewOf(flat.subspan(spec.offset, spec.shape.elements()), SizesOf(spec.shape)));
  }
}

Status TakeArrays(const nn::ParameterSet& parameters, const std::string& prefix,
                  const NamedArrays& arrays, std::span<float> flat) {
  for (const nn::ParameterSpec& spec : parameters.specs()) {
    const auto found = arrays.find(prefix + spec.name);
    if (found == arrays.end() || found->second.type != ArrayType::kF32 ||
        found->second.shape != SizesOf(spec.shape)) {
      return DataLoss("the checkpoint has no array " + prefix + spec.name + " of shape " +
                      spec.shape.ToString());
    }
    const std::span<const float> values = found->second.f32();
    std::copy(values.begin(), values.end(),
              flat.begin() + static_cast<std::ptrdiff_t>(spec.offset));
  }
  return {};
}

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

TrainingState::TrainingState(const nn::Model& model, const nn::OptimizerOptions& optimizer,
                             std::uint64_t seed, nlohmann::json recipe, std::string data_sha256,
                             Group* shard_over)
    : model_(model),
      recipe_(std::move(recipe)),
      data_sha256_(std::move(data_sha256)),
      values_(model.parameters().flat_elements()) {
  model.parameters().Initialize(seed, values_);
  if (shard_over == nullptr) {
    optimizer_ = nn::MakeOptimizer(optimizer, model.parameters());
  } else {
    sharded_ = std::make_unique<ShardedOptimizer>(*shard_over, optimizer, model.parameters());
    sharded_->TakeValues(values_);
  }
}

Result<double> TrainingState::GradientNorm(std::span<const float> gradients, ThreadPool* pool) {
  if (sharded_) return sharded_->GradientNorm(gradients, pool);
  return nn::GradientNorm(gradients, pool);
}

Status TrainingState::StepOptimizer(const nn::OptimizerStep& rates,
                                    std::span<const float> gradients, ThreadPool* pool) {
  if (sharded_) return sharded_->Step(rates, gradients, std::span(values_), pool);
  const std::size_t trained = model_.parameters().trainable_elements();
  optimizer_->Step(rates, std::span(values_).first(trained), gradients, pool);
  return {};
}

Status TrainingState::Gather(bool keep) {
  if (!sharded_) return {};
  MUSTER_ASSIGN_OR_RETURN(gathered_, sharded_->GatherState(keep));
  return {};
}

CheckpointContents TrainingState::Contents(std::size_t lanes, std::size_t lane_batch) {
  CheckpointContents contents;
  contents.step = step;
  AddArrays(model_.parameters(), "", values_, contents.model);
  if (sharded_) {
    MUSTER_CHECK(gathered_.size() == sharded_->optimizer().State().size(),
                 "a sharded state is gathered before it is written");
    for (const auto& state : gathered_) {
      AddArrays(model_.parameters(), state.name + ".", state.values, contents.optimizer);
    }
  } else {
    for (const nn::NamedState& state : optimizer_->State()) {
      AddArrays(model_.parameters(), state.name + ".", state.values, contents.optimizer);
    }
  }
  lane_samples_.assign(lanes, static_cast<std::int64_t>(step * lane_batch));
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    contents.lanes.emplace(
        LaneArray(lane), ViewOf(std::span<const std::int64_t>(lane_samples_).subspan(lane, 1), {}));
  }
  contents.trainer = {{"recipe", recipe_},
                      {"data_sha256", data_sha256_},
                      {"step", step},
                      {"optimizer_steps", optimizer().steps_done()},
                      {"validation", JsonOf(validation)},
                      {"test", JsonOf(test)},
                      {"best", nullptr}};
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
  if (!trainer.contains("recipe") || !trainer["recipe"].is_object() ||
      !trainer.contains("data_sha256")) {
    return DataLoss("the checkpoint's trainer.json names no recipe");
  }
  const nlohmann::json& recipe = trainer["recipe"];
  for (const auto& [key, value] : recipe_.items()) {
    if (recipe.contains(key) && recipe[key] == value) continue;
    return FailedPrecondition("the checkpoint was made with another " + key + ": " +
                              (recipe.contains(key) ? recipe[key].dump() : "none") +
                              ", now it is " + value.dump() + "; start a new job instead");
  }
  for (const auto& [key, value] : recipe.items()) {
    if (recipe_.contains(key)) continue;
    return FailedPrecondition("the checkpoint was made with " + key + " " + value.dump() +
                              ", now there is none; start a new job instead");
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
  if (!trainer.contains("optimizer_steps") || !trainer["optimizer_steps"].is_number_unsigned()) {
    return DataLoss("the checkpoint's trainer.json has no optimizer_steps");
  }
  optimizer().RestoreStepsDone(trainer["optimizer_steps"].get<std::uint64_t>());
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

Status TrainingState::RestoreState(const NamedArrays& arrays) {
  const nn::ParameterSet& parameters = model_.parameters();
  if (sharded_) sharded_->TakeValues(values_);
  std::vector<float> whole(sharded_ ? parameters.trainable_elements() : 0);
  for (const nn::NamedState& state : optimizer().State()) {
    const std::span<float> to = sharded_ ? std::span(whole) : state.values;
    MUSTER_RETURN_IF_ERROR(TakeArrays(parameters, state.name + ".", arrays, to));
    if (sharded_) MUSTER_RETURN_IF_ERROR(sharded_->TakeState(state.name, whole));
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
  MUSTER_RETURN_IF_ERROR(TakeArrays(model_.parameters(), "", contents.model, values_));
  MUSTER_RETURN_IF_ERROR(RestoreState(contents.optimizer));
  return RestoreTrainer(contents.trainer);
}

}  // namespace muster
