#include "trainer/supervised/supervised_options.h"

#include <cmath>

#include "collectives/lane_tree.h"
#include "trainer/checkpoint/canonical_json.h"

namespace muster {
namespace {

constexpr std::uint64_t kStepsMax = 1ULL << 48U;
constexpr double kParametersMax = 68719476736.0;

Status ValidateRates(const SupervisedOptions& options) {
  const auto at_least_0 = [](double value) { return std::isfinite(value) && value >= 0.0; };
  const auto below_1 = [](double value) { return value >= 0.0 && value < 1.0; };
  if (!(at_least_0(options.learning_rate) && options.learning_rate > 0.0F)) {
    return InvalidArgument("learning_rate must be above 0");
  }
  if (!(options.final_learning_rate_fraction >= 0.0F &&
        options.final_learning_rate_fraction <= 1.0F)) {
    return InvalidArgument("final_learning_rate_fraction must be from 0 to 1");
  }
  if (!at_least_0(options.gradient_clip_norm)) {
    return InvalidArgument("gradient_clip_norm must be at least 0");
  }
  if (options.zero_stage < 0 || options.zero_stage > 2) {
    return InvalidArgument("zero_stage must be 0, 1 or 2");
  }
  if (!at_least_0(options.optimizer.weight_decay)) {
    return InvalidArgument("weight_decay must be at least 0");
  }
  if (!below_1(options.optimizer.momentum)) {
    return InvalidArgument("momentum must be at least 0 and below 1");
  }
  if (!below_1(options.optimizer.beta1) || !below_1(options.optimizer.beta2)) {
    return InvalidArgument("beta1 and beta2 must be at least 0 and below 1");
  }
  if (!below_1(options.optimizer.alpha)) {
    return InvalidArgument("alpha must be at least 0 and below 1");
  }
  if (!(at_least_0(options.optimizer.epsilon) && options.optimizer.epsilon > 0.0F)) {
    return InvalidArgument("epsilon must be above 0");
  }
  return {};
}

Status ValidateEarlyStop(const SupervisedOptions& options) {
  if (!(options.early_stop.min_delta >= 0.0 && options.early_stop.min_delta <= 1.0)) {
    return InvalidArgument("early_stop.min_delta must be from 0 to 1");
  }
  if (options.early_stop.patience == 0) return {};
  if (options.evaluate_every_steps == 0) {
    return InvalidArgument("early_stop.patience needs evaluate_every_steps");
  }
  if (options.data.validation_samples > 0 || options.data.validation_fraction > 0.0) return {};
  return InvalidArgument("early_stop.patience needs validation samples");
}

const char* Name(Activation activation) {
  switch (activation) {
    case Activation::kRelu:
      return "relu";
    case Activation::kTanh:
      return "tanh";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kSilu:
      return "silu";
    case Activation::kSigmoid:
      return "sigmoid";
    case Activation::kSoftplus:
      return "softplus";
    default:
      return "none";
  }
}

nlohmann::json ModelRecipe(const ClassifierOptions& options) {
  if (options.kind == ModelKind::kMlp) {
    return {{"kind", "mlp"},
            {"hidden", options.mlp.hidden},
            {"activation", Name(options.mlp.activation)},
            {"layer_norm", options.mlp.layer_norm}};
  }
  if (options.kind == ModelKind::kResnet) {
    return {{"kind", "resnet"},
            {"stages", options.resnet.stages},
            {"blocks", options.resnet.blocks},
            {"base_channels", options.resnet.base_channels},
            {"norm_groups", options.resnet.norm_groups}};
  }
  const nn::CnnOptions& cnn = options.cnn;
  return {{"kind", "cnn"},
          {"conv_channels", cnn.conv_channels},
          {"kernel", cnn.kernel},
          {"pool", cnn.pool},
          {"norm_groups", cnn.norm_groups},
          {"hidden", cnn.hidden},
          {"activation", Name(cnn.activation)}};
}

nlohmann::json OptimizerRecipe(const nn::OptimizerOptions& options) {
  nlohmann::json recipe = {{"weight_decay", Readable(options.weight_decay)}};
  if (options.kind == nn::OptimizerKind::kSgd) {
    recipe["kind"] = "sgd";
    recipe["momentum"] = Readable(options.momentum);
    recipe["nesterov"] = options.nesterov;
  } else if (options.kind == nn::OptimizerKind::kRmsProp) {
    recipe["kind"] = "rmsprop";
    recipe["alpha"] = Readable(options.alpha);
    recipe["momentum"] = Readable(options.momentum);
    recipe["epsilon"] = Readable(options.epsilon);
  } else {
    recipe["kind"] = options.kind == nn::OptimizerKind::kAdam ? "adam" : "adamw";
    recipe["beta1"] = Readable(options.beta1);
    recipe["beta2"] = Readable(options.beta2);
    recipe["epsilon"] = Readable(options.epsilon);
    if (options.epsilon_hat) recipe["epsilon_hat"] = true;
  }
  return recipe;
}

}  // namespace

Status ValidateOptions(const SupervisedOptions& options, std::size_t ranks) {
  MUSTER_RETURN_IF_ERROR(ValidateLanes(options.lanes, ranks));
  if (options.batch_size == 0) return InvalidArgument("batch_size must be above 0");
  if (options.batch_size % options.lanes != 0) {
    return InvalidArgument("batch_size " + std::to_string(options.batch_size) +
                           " is not a multiple of lanes (" + std::to_string(options.lanes) +
                           "); each lane takes an equal share of a batch");
  }
  if ((options.epochs > 0) == (options.steps > 0)) {
    return InvalidArgument("give either epochs or steps");
  }
  if (options.epochs > kStepsMax || options.steps > kStepsMax) {
    return InvalidArgument("epochs or steps are beyond 2^48");
  }
  MUSTER_RETURN_IF_ERROR(ValidateEarlyStop(options));
  return ValidateRates(options);
}

Result<SupervisedPlan> PlanSupervised(const SupervisedOptions& options, std::size_t ranks) {
  MUSTER_RETURN_IF_ERROR(ValidateOptions(options, ranks));
  MUSTER_ASSIGN_OR_RETURN(const DataSummary data, InspectData(options.data));
  return PlanSupervised(options, ranks, data);
}

Result<SupervisedPlan> PlanSupervised(const SupervisedOptions& options, std::size_t ranks,
                                      const DataSummary& data) {
  MUSTER_RETURN_IF_ERROR(ValidateOptions(options, ranks));
  SupervisedPlan plan;
  plan.data = data;
  if (options.batch_size > data.train_samples) {
    return InvalidArgument("batch_size " + std::to_string(options.batch_size) +
                           " is more than the " + std::to_string(data.train_samples) +
                           " samples to train on");
  }
  MUSTER_RETURN_IF_ERROR(ValidateAugment(options.augment, data.shape));
  if (options.early_stop.patience > 0 && data.validation_samples == 0) {
    return InvalidArgument("early_stop.patience needs validation samples");  // A small fraction.
  }
  plan.steps_per_epoch = data.train_samples / options.batch_size;
  plan.steps_total = options.steps > 0 ? options.steps : options.epochs * plan.steps_per_epoch;
  if (plan.steps_total / plan.steps_per_epoch > UINT32_MAX) {
    return InvalidArgument("more than 2^32 epochs");
  }
  if (options.warmup_steps > plan.steps_total) {
    return InvalidArgument("warmup_steps " + std::to_string(options.warmup_steps) +
                           " is more than the " + std::to_string(plan.steps_total) + " steps");
  }
  MUSTER_ASSIGN_OR_RETURN(const auto model,
                          MakeClassifier(options.model, data.shape, data.classes));
  double parameters = 0.0;  // Widths of a job file may multiply to more than 64 bits hold.
  for (const nn::ParameterSpec& spec : model->parameters().specs()) {
    double elements = 1.0;
    for (std::size_t i = 0; i < spec.shape.rank(); ++i) {
      elements *= static_cast<double>(spec.shape[i]);
    }
    parameters += elements;
  }
  if (parameters > kParametersMax) {
    return InvalidArgument("the model has " + std::to_string(parameters) +
                           " parameters; the most is 2^36");
  }
  plan.parameters = model->parameters().parameter_elements();
  return plan;
}

Result<std::unique_ptr<nn::Model>> MakeClassifier(const ClassifierOptions& options,
                                                  const FeatureShape& shape, std::int32_t classes) {
  if (options.kind == ModelKind::kMlp) {
    nn::MlpOptions mlp = options.mlp;
    mlp.inputs = shape.count();
    mlp.outputs = static_cast<std::size_t>(classes);
    return nn::MakeMlp(mlp);
  }
  if (options.kind == ModelKind::kResnet) {
    nn::ResnetOptions resnet = options.resnet;
    resnet.height = shape.height;
    resnet.width = shape.width;
    resnet.input_channels = shape.channels;
    resnet.outputs = static_cast<std::size_t>(classes);
    return nn::MakeResnet(resnet);
  }
  nn::CnnOptions cnn = options.cnn;
  cnn.height = shape.height;
  cnn.width = shape.width;
  cnn.input_channels = shape.channels;
  cnn.outputs = static_cast<std::size_t>(classes);
  return nn::MakeCnn(cnn);
}

nn::ScheduleOptions ScheduleOf(const SupervisedOptions& options, std::uint64_t steps_total) {
  nn::ScheduleOptions schedule;
  schedule.kind = options.schedule;
  schedule.learning_rate = options.learning_rate;
  schedule.final_fraction = options.final_learning_rate_fraction;
  schedule.warmup_steps = options.warmup_steps;
  schedule.steps_total = steps_total;
  return schedule;
}

nlohmann::json RecipeOf(const SupervisedOptions& options) {
  const char* const schedules[] = {"constant", "linear", "cosine"};
  const NormalizationOptions& normalization = options.data.normalization;
  nlohmann::json recipe = {
      {"model", ModelRecipe(options.model)},
      {"optimizer", OptimizerRecipe(options.optimizer)},
      {"schedule", schedules[static_cast<std::size_t>(options.schedule)]},
      {"learning_rate", Readable(options.learning_rate)},
      {"warmup_steps", options.warmup_steps},
      {"final_learning_rate_fraction", Readable(options.final_learning_rate_fraction)},
      {"gradient_clip_norm", options.gradient_clip_norm},
      {"batch_size", options.batch_size},
      {"lanes", options.lanes},
      {"seed", options.seed},
      {"evaluate_every_steps", options.evaluate_every_steps},
      {"normalization",
       {{"from_training_samples", normalization.from_training_samples},
        {"mean", normalization.mean},
        {"deviation", normalization.deviation}}}};
  // Only where they are asked for: checkpoints of jobs without them are what they always were.
  if (options.augment.any()) {
    recipe["augment"] = {{"shift_max", options.augment.shift_max}, {"flip", options.augment.flip}};
  }
  if (options.early_stop.patience > 0) {
    recipe["early_stop"] = {{"patience", options.early_stop.patience},
                            {"min_delta", options.early_stop.min_delta}};
  }
  return recipe;
}

}  // namespace muster
