// Policy: an actor that gives a distribution over actions and a critic that gives values.
//
// Actor and critic are two networks, or two heads of one (shared). Weights start orthogonal, with
// gain sqrt 2 in hidden layers, 0.01 in the actor's last and 1 in the critic's, biases at zero:
// details 2 and 13 of Huang et al., "The 37 implementation details of proximal policy
// optimization", ICLR blog track 2022. Box actions are independent Gaussians whose log standard
// deviations are parameters that no observation changes (details 1 to 3 for continuous actions).
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
#include "nn/models/nature_cnn.h"
#include "nn/parameters.h"
#include "tensor/kernels/distribution.h"

namespace muster::rl {

enum class PolicyKind : std::uint8_t { kMlp, kNatureCnn };

struct PolicyOptions {
  PolicyKind kind = PolicyKind::kMlp;
  std::vector<std::size_t> hidden = {64, 64};  // Of an MLP; after a CNN its one hidden layer.
  Activation activation = Activation::kTanh;   // Of an MLP.
  bool shared = false;                         // One network with two heads; a CNN always is.
  bool orthogonal = true;                      // Otherwise Kaiming's normal numbers.
  float log_std = 0.0F;                        // Where those of box actions start.
};

nlohmann::json RecipeOf(const PolicyOptions& options);

// Actions of a batch, as the action space has them: choices, or numbers.
struct Actions {
  std::vector<std::int32_t> choices;  // [rows, categoricals]
  std::vector<float> numbers;         // [rows, elements]
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

  // After ModelState's: what is neither orthogonal nor zero.
  void FinishValues(std::span<float> values) const;

  // What the actor's last layer gives: logits, or means and their log standard deviations.
  struct Distribution {
    Tensor parameters;  // [rows, logits or elements]
    Tensor log_std;     // [elements], of box actions alone.
  };
  struct Outputs {
    Distribution actor;
    Tensor values;  // [rows, 1]
  };
  // x [rows, features()].
  Distribution Act(Tape& tape, Tensor x) const;
  Tensor Values(Tape& tape, Tensor x) const;
  Outputs Both(Tape& tape, Tensor x) const;

  // Draws actions, [rows] by their keys, and tells their log-probabilities with the bits that
  // LogProbs gives for them.
  void Sample(const Distribution& distribution, std::span<const RandomKey> keys, Actions& actions,
              std::span<float> log_probs) const;
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
  Tensor Torso(Tape& tape, Tensor x, const std::vector<nn::Linear>& layers) const;
  Distribution ActorHead(Tape& tape, Tensor x) const;

  nn::ParameterSet parameters_;
  std::size_t features_ = 0;
  std::size_t action_elements_ = 0;
  std::vector<std::size_t> sizes_;  // Of the categoricals; empty for a box.
  Shape image_;                     // Of an observation, for a CNN.
  float log_std_start_ = 0.0F;
  bool shared_ = false;
  std::optional<nn::NatureTorso> cnn_;
  std::vector<nn::Linear> actor_, critic_;  // Hidden layers; the critic's are none where shared.
  std::vector<nn::Linear> heads_;           // The actor's, the critic's.
  std::size_t log_std_ = 0;                 // The parameter.
};

}  // namespace muster::rl
