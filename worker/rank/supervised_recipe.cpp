// v1::SupervisedRecipe in the trainer's terms.
#include <algorithm>
#include <limits>

#include "worker/rank/recipes.h"

namespace muster::rank {
namespace {

// The most groups, at most 8, that divide the channels of every block.
std::size_t NormGroups(v1::Norm norm, const std::vector<std::size_t>& channels) {
  if (norm == v1::NORM_LAYER) return 1;
  if (norm != v1::NORM_GROUP) return 0;
  constexpr std::size_t kGroupsMax = 8;
  for (std::size_t groups = kGroupsMax; groups > 1; --groups) {
    const auto fits = [groups](std::size_t count) { return count % groups == 0; };
    if (std::all_of(channels.begin(), channels.end(), fits)) return groups;
  }
  return 1;
}

Result<ClassifierOptions> ClassifierOf(const v1::SupervisedModel& model) {
  ClassifierOptions options;
  if (model.has_mlp()) {
    options.kind = ModelKind::kMlp;
    options.mlp.hidden = {model.mlp().hidden().begin(), model.mlp().hidden().end()};
    options.mlp.activation = ActivationOf(model.mlp().activation());
    return options;
  }
  if (model.has_resnet()) {
    options.kind = ModelKind::kResnet;
    options.resnet.stages = model.resnet().stages();
    options.resnet.blocks = model.resnet().blocks();
    options.resnet.base_channels = model.resnet().base_channels();
    options.resnet.norm_groups = NormGroups(v1::NORM_GROUP, {options.resnet.base_channels});
    return options;
  }
  if (!model.has_cnn()) {
    return InvalidArgument(
        "supervised.model: give [supervised.model.mlp], [...cnn] or [...resnet]");
  }
  const v1::CnnModel& cnn = model.cnn();
  options.kind = ModelKind::kCnn;
  options.cnn.conv_channels = {cnn.channels().begin(), cnn.channels().end()};
  options.cnn.kernel = cnn.kernel_size();
  options.cnn.pool = cnn.pool_size();
  options.cnn.hidden = {cnn.hidden().begin(), cnn.hidden().end()};
  options.cnn.activation = ActivationOf(cnn.activation());
  options.cnn.norm_groups = NormGroups(cnn.norm(), options.cnn.conv_channels);
  return options;
}

Result<DataOptions> DataOf(const v1::SupervisedData& data, const std::string& cache_directory) {
  DataOptions options;
  const auto classes = static_cast<std::int32_t>(data.classes());
  if (data.has_train_images() && data.has_train_csv()) {
    return InvalidArgument("supervised.data: give train_images or train_csv, not both");
  }
  if (data.has_train_images()) {
    options.train_idx = IdxOptions{data.train_images(), data.train_labels(), classes};
  } else if (data.has_train_csv()) {
    options.train_csv = CsvOptions{
        .path = data.train_csv(), .label_column = data.label_column(), .classes = classes};
  } else {
    return InvalidArgument("supervised.data: give train_images and train_labels, or train_csv");
  }
  if (data.has_test_images()) {
    options.test_idx = IdxOptions{data.test_images(), data.test_labels(), classes};
  }
  if (data.has_test_csv()) {
    options.test_csv = CsvOptions{
        .path = data.test_csv(), .label_column = data.label_column(), .classes = classes};
  }
  if (data.validation_samples() > std::numeric_limits<std::uint32_t>::max()) {
    return InvalidArgument(
        "supervised.data.validation_samples: " + std::to_string(data.validation_samples()) +
        " is more than any data set has");
  }
  options.validation_samples = static_cast<std::uint32_t>(data.validation_samples());
  options.cache_directory = cache_directory;
  return options;
}

nn::OptimizerOptions OptimizerOf(const v1::Optimizer& optimizer) {
  nn::OptimizerOptions options;
  options.kind = nn::OptimizerKind::kAdamW;
  if (optimizer.kind() == v1::OPTIMIZER_KIND_SGD) options.kind = nn::OptimizerKind::kSgd;
  if (optimizer.kind() == v1::OPTIMIZER_KIND_ADAM) options.kind = nn::OptimizerKind::kAdam;
  if (optimizer.kind() == v1::OPTIMIZER_KIND_RMSPROP) options.kind = nn::OptimizerKind::kRmsProp;
  options.momentum = static_cast<float>(optimizer.momentum());
  // The usual value of each: 0.9 would make RMSProp's steps ten times as long.
  if (!optimizer.has_momentum()) {
    options.momentum = options.kind == nn::OptimizerKind::kSgd ? 0.9F : 0.0F;
  }
  options.alpha = static_cast<float>(optimizer.alpha());
  options.beta1 = static_cast<float>(optimizer.beta1());
  options.beta2 = static_cast<float>(optimizer.beta2());
  options.epsilon = static_cast<float>(optimizer.epsilon());
  options.epsilon_hat = optimizer.epsilon_hat();
  options.weight_decay = static_cast<float>(optimizer.weight_decay());
  return options;
}

nn::ScheduleKind ScheduleKindOf(v1::Schedule schedule) {
  if (schedule == v1::SCHEDULE_LINEAR) return nn::ScheduleKind::kLinear;
  if (schedule == v1::SCHEDULE_COSINE) return nn::ScheduleKind::kCosine;
  return nn::ScheduleKind::kConstant;
}

}  // namespace

Activation ActivationOf(v1::Activation activation) {
  if (activation == v1::ACTIVATION_TANH) return Activation::kTanh;
  if (activation == v1::ACTIVATION_GELU) return Activation::kGelu;
  return Activation::kRelu;
}

Result<SupervisedOptions> SupervisedOptionsOf(const v1::JobSpec& spec,
                                              const std::string& cache_directory) {
  const v1::SupervisedRecipe& recipe = spec.supervised();
  const v1::Optimizer& optimizer = recipe.optimizer();
  SupervisedOptions options;
  MUSTER_ASSIGN_OR_RETURN(options.data, DataOf(recipe.data(), cache_directory));
  options.augment = {recipe.augment().shift_max(), recipe.augment().flip()};
  MUSTER_ASSIGN_OR_RETURN(options.model, ClassifierOf(recipe.model()));
  options.optimizer = OptimizerOf(optimizer);
  options.schedule = ScheduleKindOf(optimizer.schedule());
  options.learning_rate = static_cast<float>(optimizer.learning_rate());
  options.warmup_steps = optimizer.warmup_steps();
  options.final_learning_rate_fraction =
      static_cast<float>(optimizer.final_learning_rate_fraction());
  options.gradient_clip_norm = optimizer.gradient_clip_norm();
  options.zero_stage = static_cast<int>(optimizer.zero_stage());
  options.epochs = recipe.epochs();
  options.steps = recipe.steps();
  options.batch_size = recipe.batch_size();
  options.lanes = spec.lanes();
  options.seed = spec.seed();
  options.evaluate_every_steps = recipe.evaluate_every_steps();
  options.early_stop = {recipe.early_stop().patience(), recipe.early_stop().min_delta()};
  return options;
}

}  // namespace muster::rank
