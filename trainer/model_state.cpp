#include "trainer/model_state.h"

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

}  // namespace

ModelState::ModelState(const nn::ParameterSet& parameters, const nn::OptimizerOptions& optimizer,
                       std::uint64_t seed, Group* shard_over)
    : parameters_(parameters), values_(parameters.flat_elements()) {
  parameters.Initialize(seed, values_);
  if (shard_over == nullptr) {
    optimizer_ = nn::MakeOptimizer(optimizer, parameters);
  } else {
    sharded_ = std::make_unique<ShardedOptimizer>(*shard_over, optimizer, parameters);
  }
  Changed();
}

void ModelState::AddOptimizer(const std::string& name, const nn::OptimizerOptions& options) {
  MUSTER_CHECK(!sharded_, "several optimisers of a sharded state");
  further_.push_back({name, nn::MakeOptimizer(options, parameters_)});
}

void ModelState::Changed() {
  if (sharded_) sharded_->TakeValues(values_);
}

Result<double> ModelState::GradientNorm(std::span<const float> gradients, ThreadPool* pool) {
  if (sharded_) return sharded_->GradientNorm(gradients, pool);
  return nn::GradientNorm(gradients, pool);
}

Status ModelState::Step(const nn::OptimizerStep& rates, std::span<const float> gradients,
                        ThreadPool* pool, std::size_t optimizer) {
  MUSTER_CHECK(optimizer <= further_.size(), "the model has no optimiser of this number");
  if (sharded_) return sharded_->Step(rates, gradients, std::span(values_), pool);
  const std::size_t trained = parameters_.trainable_elements();
  nn::Optimizer& chosen = optimizer == 0 ? *optimizer_ : *further_[optimizer - 1].optimizer;
  chosen.Step(rates, std::span(values_).first(trained), gradients, pool);
  return {};
}

Status ModelState::Gather(bool keep) {
  if (!sharded_) return {};
  MUSTER_ASSIGN_OR_RETURN(gathered_, sharded_->GatherState(keep));
  return {};
}

void ModelState::AddTo(CheckpointContents& contents) {
  AddArrays(parameters_, "", values_, contents.model);
  if (sharded_) {
    MUSTER_CHECK(gathered_.size() == sharded_->optimizer().State().size(),
                 "a sharded state is gathered before it is written");
    for (const auto& state : gathered_) {
      AddArrays(parameters_, state.name + ".", state.values, contents.optimizer);
    }
  } else {
    for (const nn::NamedState& state : optimizer_->State()) {
      AddArrays(parameters_, state.name + ".", state.values, contents.optimizer);
    }
  }
  contents.trainer["optimizer_steps"] = optimizer().steps_done();
  for (const Further& more : further_) {
    for (const nn::NamedState& state : more.optimizer->State()) {
      AddArrays(parameters_, more.name + "." + state.name + ".", state.values, contents.optimizer);
    }
    contents.trainer[more.name + "_optimizer_steps"] = more.optimizer->steps_done();
  }
}

Status ModelState::TakeFrom(const CheckpointContents& contents) {
  const nlohmann::json& trainer = contents.trainer;
  if (!trainer.contains("optimizer_steps") || !trainer["optimizer_steps"].is_number_unsigned()) {
    return DataLoss("the checkpoint's trainer.json has no optimizer_steps");
  }
  MUSTER_RETURN_IF_ERROR(TakeArrays(parameters_, "", contents.model, values_));
  Changed();
  std::vector<float> whole(sharded_ ? parameters_.trainable_elements() : 0);
  for (const nn::NamedState& state : optimizer().State()) {
    const std::span<float> to = sharded_ ? std::span(whole) : state.values;
    MUSTER_RETURN_IF_ERROR(TakeArrays(parameters_, state.name + ".", contents.optimizer, to));
    if (sharded_) MUSTER_RETURN_IF_ERROR(sharded_->TakeState(state.name, whole));
  }
  optimizer().RestoreStepsDone(trainer["optimizer_steps"].get<std::uint64_t>());
  for (const Further& more : further_) {
    const std::string steps = more.name + "_optimizer_steps";
    if (!trainer.contains(steps) || !trainer[steps].is_number_unsigned()) {
      return DataLoss("the checkpoint's trainer.json has no " + steps);
    }
    for (const nn::NamedState& state : more.optimizer->State()) {
      MUSTER_RETURN_IF_ERROR(TakeArrays(parameters_, more.name + "." + state.name + ".",
                                        contents.optimizer, state.values));
    }
    more.optimizer->RestoreStepsDone(trainer[steps].get<std::uint64_t>());
  }
  return {};
}

Status CheckSameRecipe(const nlohmann::json& own, const nlohmann::json& trainer) {
  if (!trainer.contains("recipe") || !trainer["recipe"].is_object()) {
    return DataLoss("the checkpoint's trainer.json names no recipe");
  }
  const nlohmann::json& recipe = trainer["recipe"];
  for (const auto& [key, value] : own.items()) {
    if (recipe.contains(key) && recipe[key] == value) continue;
    return FailedPrecondition("the checkpoint was made with another " + key + ": " +
                              (recipe.contains(key) ? recipe[key].dump() : "none") +
                              ", now it is " + value.dump() + "; start a new job instead");
  }
  for (const auto& [key, value] : recipe.items()) {
    if (own.contains(key)) continue;
    return FailedPrecondition("the checkpoint was made with " + key + " " + value.dump() +
                              ", now there is none; start a new job instead");
  }
  return {};
}

}  // namespace muster
