// Policy: an actor that gives a distribution over actions and a critic that gives values.
//
// Actor and critic are two networks, or two heads of one (shared). Weights start orthogonal, with
// gain sqrt 2 in hidden layers, 0.01 in the actor's last and 1 in the critic's, biases at zero:
// details 2 and 13 of Huang et al., "The 37 implementation details of proximal policy
// optimization", ICLR blog track 2022. Box actions are independent Gaussians whose log standard
// deviations are parameters that no observation changes (details 1 to 3 for continuous actions).
//
// With gSDE their deviations depend on the state, and a matrix of noise that lasts for many steps
// moves them smoothly (tensor/kernels/state_dependent_noise.h).
//
// A policy with memory has a recurrent layer between its network and the two heads, as CleanRL's
// ppo_atari_lstm: what it does depends on the steps of the episode so far. Its weights start
// orthogonal with gain 1 (the LSTM's details 1 to 5 in the same place).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "envs/space.h"
#include "nn/layers/linear.h"
#include "nn/layers/recurrent.h"
#include "nn/models/nature_cnn.h"
#include "nn/parameters.h"
#include "tensor/kernels/distribution.h"

namespace muster::rl {

enum class PolicyKind : std::uint8_t { kMlp, kNatureCnn };

struct PolicyOptions {
  PolicyKind kind = PolicyKind::kMlp;
  std::vector<std::size_t> hidden = {64, 64};  // Of an MLP; after a CNN its one hidden layer.
  Activation activation = Activation::kTanh;   // Of an MLP.
  // One network with two heads; a CNN always is, and one with memory.
  bool shared = false;
  bool orthogonal = true;  // Otherwise Kaiming's normal numbers.
  float log_std = 0.0F;    // Where those of box actions start.
  std::optional<nn::RecurrentKind> memory = std::nullopt;
  std::size_t memory_units = 64;  // Of the recurrent layer.
  bool sde = false;               // Box actions explore by gSDE.
  // Steps of an environment for which a matrix lasts, counted from its first of all; 0 = a rollout,
  // in evaluations an episode.
  std::size_t sde_sample_freq = 0;
};

nlohmann::json RecipeOf(const PolicyOptions& options);

// Actions of a batch, as the action space has them: choices, or numbers.
struct Actions {
  std::vector<std::int32_t> choices;  // [rows, categoricals]
  std::vector<float> numbers;         // [rows, elements]
};

// `rows` of them from row `first` on; a row has so many elements.
Actions PartOf(const Actions& actions, std::size_t first, std::size_t rows, std::size_t elements);

// What a policy with memory goes by besides its rows of observations, which are by time: row
// t * sequences + s is step t of sequence s. Others do not look at it.
struct Past {
  std::span<const float> memory = {};  // [sequences, memory()]: before the first step.
  // [rows]: nonzero where an episode begins, before which all is forgotten. Empty = nowhere.
  std::span<const std::uint8_t> starts = {};
  // [rows, memory()]: where the memory after each row goes, in inference; may be `memory` where
  // there is one step. Empty = nobody asks.
  std::span<float> after = {};
};

// Immutable once made; any number of tapes on any threads may run it at once.
class Policy {
 public:
  // kInvalidArgument for spaces that no policy of this kind serves, and zero widths.
  static Result<std::unique_ptr<Policy>> Create(const PolicyOptions& options,
                                                const envs::Space& observation,
                                                const envs::Space& action);

  const nn::ParameterSet& parameters() const { return parameters_; }
  // Numbers that an observation becomes (envs/encode.h), and elements of an action.
  std::size_t features() const { return features_; }
  std::size_t action_elements() const { return action_elements_; }
  bool discrete() const { return !sizes_.empty(); }
  // Whether whole rows of actions are this policy's: choices there are, or numbers.
  bool Knows(const Actions& actions) const;
  // Numbers that an environment's memory takes; 0 = the policy has none. It begins as zeros.
  std::size_t memory() const { return memory_ ? memory_->state_elements() : 0; }

  // Numbers of an environment's noise matrix; 0 = no gSDE.
  std::size_t noise() const { return sde_ ? actor_width_ * action_elements_ : 0; }
  // gSDE: the step at which the matrix of step `step` was drawn; `begin` is the rollout's first.
  std::uint64_t NoiseStep(std::uint64_t step, std::uint64_t begin) const {
    return sde_sample_freq_ == 0 ? begin : step - step % sde_sample_freq_;
  }

  // After ModelState's: what is neither orthogonal nor zero.
  void FinishValues(std::span<float> values) const;

  // What the actor's last layer gives: logits, or means and their log standard deviations.
  struct Distribution {
    Tensor parameters;  // [rows, logits or elements]
    Tensor log_std;     // [elements], or [rows, elements] with gSDE; of box actions alone.
    Tensor features;    // gSDE: [rows, width], what the actor's last layer saw.
  };
  struct Outputs {
    Distribution actor;
    Tensor values;  // [rows, 1]
  };
  // x [rows, features()].
  Distribution Act(Tape& tape, Tensor x, const Past& past = {}) const;
  Tensor Values(Tape& tape, Tensor x, const Past& past = {}) const;
  Outputs Both(Tape& tape, Tensor x, const Past& past = {}) const;

  // Draws actions, [rows] by their keys, and tells their log-probabilities with the bits that
  // LogProbs gives for them.
  void Sample(const Distribution& distribution, std::span<const RandomKey> keys, Actions& actions,
              std::span<float> log_probs) const;
  // gSDE's way to draw: by matrices [rows, noise()] of standard normal numbers. `tape` is that of
  // the distribution.
  void Explore(Tape& tape, const Distribution& distribution, std::span<const float> noise,
               Actions& actions, std::span<float> log_probs) const;
  // The most probable actions.
  void Mode(const Distribution& distribution, Actions& actions) const;
  LogProbsAndEntropy LogProbs(Tape& tape, const Distribution& distribution,
                              const Actions& actions) const;

 private:
  Policy() = default;
  Status Build(const PolicyOptions& options, const envs::Space& observation,
               const envs::Space& action);
  // One network of `options.hidden`; returns its width.
  std::size_t AddLayers(const PolicyOptions& options, const std::string& name,
                        std::vector<nn::Linear>& layers);
  Tensor Torso(Tape& tape, Tensor x, const std::vector<nn::Linear>& layers, const Past& past) const;
  Tensor Remember(Tape& tape, Tensor x, const Past& past) const;
  Distribution ActorHead(Tape& tape, Tensor x) const;

  nn::ParameterSet parameters_;
  std::size_t features_ = 0;
  std::size_t action_elements_ = 0;
  std::vector<std::size_t> sizes_;  // Of the categoricals; empty for a box.
  Shape image_;                     // Of an observation, for a CNN.
  float log_std_start_ = 0.0F;
  bool shared_ = false;
  bool sde_ = false;
  std::size_t sde_sample_freq_ = 0;
  std::size_t actor_width_ = 0;  // Of what its head sees.
  std::optional<nn::NatureTorso> cnn_;
  std::optional<nn::Recurrent> memory_;
  std::vector<nn::Linear> actor_, critic_;  // Hidden layers; the critic's are none where shared.
  std::vector<nn::Linear> heads_;           // The actor's, the critic's.
  std::size_t log_std_ = 0;                 // The parameter.
};

}  // namespace muster::rl
