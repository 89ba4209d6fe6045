#include "trainer/rl/policy.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "envs/encode.h"
#include "tensor/kernels/categorical.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gaussian.h"
#include "tensor/kernels/state_dependent_noise.h"
#include "trainer/checkpoint/canonical_json.h"

namespace muster::rl {
namespace {

constexpr float kActorGain = 0.01F;
constexpr float kCriticGain = 1.0F;
constexpr float kHiddenGain = 1.41421356F;

const char* Name(Activation activation) {
  if (activation == Activation::kTanh) return "tanh";
  return activation == Activation::kGelu ? "gelu" : "relu";
}

nn::LinearOptions Layer(const PolicyOptions& options, std::size_t in, std::size_t out,
                        Activation activation, float gain) {
  nn::LinearOptions layer{.in = in, .out = out, .activation = activation};
  if (options.orthogonal) {
    layer.initialization = nn::Initialization::kOrthogonal;
    layer.gain = gain;
  }
  return layer;
}

Result<nn::NatureCnnOptions> CnnOf(const PolicyOptions& options, const envs::Space& observation) {
  const std::vector<std::size_t>& shape = observation.shape;
  if (observation.kind != envs::SpaceKind::kBox || shape.size() != 3) {
    return InvalidArgument("policy: a CNN sees pictures [height, width, channels], and " +
                           observation.Text() + " is none");
  }
  nn::NatureCnnOptions cnn;
  cnn.height = shape[0];
  cnn.width = shape[1];
  cnn.channels = shape[2];
  cnn.hidden = options.hidden.empty() ? cnn.hidden : options.hidden.front();
  cnn.pixel_scale = 1.0F;  // Encode has scaled them.
  cnn.outputs = 1;
  return cnn;
}

}  // namespace

nlohmann::json RecipeOf(const PolicyOptions& options) {
  nlohmann::json recipe = {{"kind", options.kind == PolicyKind::kMlp ? "mlp" : "nature_cnn"},
                           {"hidden", options.hidden},
                           {"activation", Name(options.activation)},
                           {"shared", options.shared},
                           {"orthogonal", options.orthogonal},
                           {"log_std", Readable(options.log_std)}};
  if (options.memory) {
    recipe["memory"] = options.memory == nn::RecurrentKind::kLstm ? "lstm" : "gru";
    recipe["memory_units"] = options.memory_units;
  }
  if (options.sde) recipe["sde_sample_freq"] = options.sde_sample_freq;
  return recipe;
}

Actions PartOf(const Actions& actions, std::size_t first, std::size_t rows, std::size_t elements) {
  Actions part;
  const auto take = [&](const auto& from, auto& to) {
    if (from.empty()) return;
    const auto begin = from.begin() + static_cast<std::ptrdiff_t>(first * elements);
    to.assign(begin, begin + static_cast<std::ptrdiff_t>(rows * elements));
  };
  take(actions.choices, part.choices);
  take(actions.numbers, part.numbers);
  return part;
}

Result<std::unique_ptr<Policy>> Policy::Create(const PolicyOptions& options,
                                               const envs::Space& observation,
                                               const envs::Space& action) {
  std::unique_ptr<Policy> policy(new Policy);
  MUSTER_RETURN_IF_ERROR(policy->Build(options, observation, action));
  return policy;
}

Status Policy::Build(const PolicyOptions& options, const envs::Space& observation,
                     const envs::Space& action) {
  features_ = envs::FeaturesOf(observation);
  action_elements_ = action.elements();
  log_std_start_ = options.log_std;
  if (features_ == 0 || action_elements_ == 0) {
    return InvalidArgument("policy: nothing to see or nothing to do: observations " +
                           observation.Text() + ", actions " + action.Text());
  }
  if (action.kind == envs::SpaceKind::kBox && action.dtype != envs::DType::kFloat32) {
    return InvalidArgument("policy: actions " + action.Text() +
                           ": no policy serves a box of whole numbers; choices are discrete or "
                           "multi-discrete");
  }
  sizes_.assign(action.choices.begin(), action.choices.end());
  if (std::count(options.hidden.begin(), options.hidden.end(), 0U) > 0) {
    return InvalidArgument("policy.hidden: a layer of width 0");
  }
  if (options.memory && options.memory_units == 0) {
    return InvalidArgument("policy.memory_units must be above 0");
  }
  if (options.sde && discrete()) {
    return InvalidArgument("policy.use_sde is for actions that are numbers, and these are " +
                           action.Text());
  }
  sde_ = options.sde;
  sde_sample_freq_ = options.sde_sample_freq;
  std::size_t actor_width = 0, critic_width = 0;
  shared_ = options.shared || options.memory || options.kind == PolicyKind::kNatureCnn;
  if (options.kind == PolicyKind::kNatureCnn) {
    MUSTER_ASSIGN_OR_RETURN(const nn::NatureCnnOptions cnn, CnnOf(options, observation));
    MUSTER_RETURN_IF_ERROR(nn::MakeNatureCnn(cnn).status());  // Its checks.
    image_ = {cnn.height, cnn.width, cnn.channels};
    cnn_.emplace(parameters_, "torso", cnn);
    actor_width = critic_width = cnn.hidden;
  } else if (shared_) {
    actor_width = critic_width = AddLayers(options, "torso", actor_);
  } else {
    actor_width = AddLayers(options, "actor", actor_);
    critic_width = AddLayers(options, "critic", critic_);
  }
  if (options.memory) {
    nn::RecurrentOptions layer{*options.memory, actor_width, options.memory_units};
    if (!options.orthogonal) layer.initialization = nn::Initialization::kKaimingNormal;
    memory_.emplace(parameters_, "memory", layer);
    actor_width = critic_width = options.memory_units;
  }
  std::size_t outputs = action_elements_;
  if (discrete()) outputs = 0;
  for (const std::size_t size : sizes_) outputs += size;
  heads_.emplace_back(parameters_, "actor.head",
                      Layer(options, actor_width, outputs, Activation::kNone, kActorGain));
  heads_.emplace_back(parameters_, "critic.head",
                      Layer(options, critic_width, 1, Activation::kNone, kCriticGain));
  actor_width_ = actor_width;
  if (!discrete()) {
    const Shape shape = sde_ ? Shape{actor_width, action_elements_} : Shape{action_elements_};
    log_std_ = parameters_.Add({.name = "actor.log_std", .shape = shape, .decay = false});
  }
  return {};
}

std::size_t Policy::AddLayers(const PolicyOptions& options, const std::string& name,
                              std::vector<nn::Linear>& layers) {
  std::size_t width = features_;
  for (std::size_t i = 0; i < options.hidden.size(); ++i) {
    layers.emplace_back(parameters_, name + "." + std::to_string(i),
                        Layer(options, width, options.hidden[i], options.activation, kHiddenGain));
    width = options.hidden[i];
  }
  return width;
}

bool Policy::Knows(const Actions& actions) const {
  if (!discrete()) return actions.numbers.size() % action_elements_ == 0;
  if (actions.choices.size() % sizes_.size() != 0) return false;
  for (std::size_t i = 0; i < actions.choices.size(); ++i) {
    const std::int32_t choice = actions.choices[i];
    if (choice < 0 || static_cast<std::size_t>(choice) >= sizes_[i % sizes_.size()]) return false;
  }
  return true;
}

void Policy::FinishValues(std::span<float> values) const {
  if (discrete()) return;
  const nn::ParameterSpec& spec = parameters_[log_std_];
  std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(spec.offset), spec.shape.elements(),
              log_std_start_);
}

Tensor Policy::Torso(Tape& tape, Tensor x, const std::vector<nn::Linear>& layers,
                     const Past& past) const {
  if (cnn_) {
    const Shape shape{x.shape()[0], image_[0], image_[1], image_[2]};
    x = cnn_->Forward(tape, ops::Reshape(tape, x, shape));
  }
  for (const nn::Linear& layer : layers) x = layer.Forward(tape, x);
  return memory_ ? Remember(tape, x, past) : x;
}

Tensor Policy::Remember(Tape& tape, Tensor x, const Past& past) const {
  const nn::Recurrent::Outputs now = memory_->Forward(tape, x, past.memory, past.starts);
  if (past.after.empty()) return now.hidden;
  const std::size_t rows = x.shape()[0], width = memory_->width(), all = memory();
  MUSTER_CHECK(tape.inference() && past.after.size() == rows * all, "where the memory goes");
  for (std::size_t row = 0; row < rows; ++row) {
    float* const to = past.after.data() + row * all;
    std::copy_n(now.hidden.data() + row * width, width, to);
    if (now.cell) std::copy_n(now.cell.data() + row * width, width, to + width);
  }
  return now.hidden;
}

Policy::Distribution Policy::ActorHead(Tape& tape, Tensor x) const {
  Distribution distribution{heads_[0].Forward(tape, x), Tensor(), Tensor()};
  if (discrete()) return distribution;
  distribution.log_std = tape.Parameter(log_std_);
  if (sde_) {
    distribution.features = x;
    distribution.log_std = ops::StateDependentLogStd(tape, x, distribution.log_std);
  }
  return distribution;
}

Policy::Distribution Policy::Act(Tape& tape, Tensor x, const Past& past) const {
  return ActorHead(tape, Torso(tape, x, actor_, past));
}

Tensor Policy::Values(Tape& tape, Tensor x, const Past& past) const {
  return heads_[1].Forward(tape, Torso(tape, x, shared_ ? actor_ : critic_, past));
}

Policy::Outputs Policy::Both(Tape& tape, Tensor x, const Past& past) const {
  if (!shared_) return {Act(tape, x), Values(tape, x)};
  const Tensor torso = Torso(tape, x, actor_, past);
  return {ActorHead(tape, torso), heads_[1].Forward(tape, torso)};
}

void Policy::Sample(const Distribution& distribution, std::span<const RandomKey> keys,
                    Actions& actions, std::span<float> log_probs) const {
  const std::size_t rows = distribution.parameters.shape()[0];
  if (discrete()) {
    actions.choices.resize(rows * action_elements_);
    SampleCategorical(distribution.parameters, sizes_, keys, actions.choices, log_probs);
  } else {
    actions.numbers.resize(rows * action_elements_);
    SampleGaussian(distribution.parameters, distribution.log_std, keys, actions.numbers, log_probs);
  }
}

void Policy::Explore(Tape& tape, const Distribution& distribution, std::span<const float> noise,
                     Actions& actions, std::span<float> log_probs) const {
  const Tensor mean = distribution.parameters;
  actions.numbers.resize(mean.elements());
  StateDependentActions(mean, distribution.features, tape.Parameter(log_std_), noise,
                        actions.numbers);
  if (log_probs.empty()) return;
  const LogProbsAndEntropy taken = LogProbs(tape, distribution, actions);
  std::copy_n(taken.log_probs.data(), log_probs.size(), log_probs.begin());
}

void Policy::Mode(const Distribution& distribution, Actions& actions) const {
  const std::size_t rows = distribution.parameters.shape()[0];
  if (discrete()) {
    actions.choices.resize(rows * action_elements_);
    CategoricalMode(distribution.parameters, sizes_, actions.choices);
  } else {
    const float* const mean = distribution.parameters.data();
    actions.numbers.assign(mean, mean + rows * action_elements_);
  }
}

LogProbsAndEntropy Policy::LogProbs(Tape& tape, const Distribution& distribution,
                                    const Actions& actions) const {
  if (discrete()) {
    return ops::MultiCategorical(tape, distribution.parameters, sizes_, actions.choices);
  }
  return ops::DiagonalGaussian(tape, distribution.parameters, distribution.log_std,
                               actions.numbers);
}

}  // namespace muster::rl
