// Losses over pairs of a chosen and a rejected answer, fused, with their statistics: Bradley-Terry
// for reward models, DPO and IPO for policies.
// Sources: Ouyang et al., arXiv:2203.02155, equation 1, margins as in Touvron et al.,
// arXiv:2307.09288, section 3.2.2; Rafailov et al., arXiv:2305.18290, equation 7, smoothed labels
// as in Mitchell, "A note on DPO with noisy preferences", 2023; Azar et al., arXiv:2310.12036.
//
// Tensors are f32 or bf16 of equal shape, one element to a pair; spans are f32 with as many.
// Losses are sums times `scale`, so the losses of lanes add: scale = 1 / (pairs of the global
// batch) makes their sum the mean. Logarithms of the sigmoid come from softplus and never overflow.
// NaN is passed on.
#pragma once

#include <span>

#include "tensor/autograd/tape.h"

namespace muster::ops {

// Sums over the pairs, in double and not scaled. A reward is a score of the reward model, in DPO
// and IPO beta * (policy - reference log-probability).
struct PreferenceScore {
  double loss_sum = 0;
  double correct_sum = 0;  // Pairs whose chosen reward is the larger one; ties are wrong.
  double chosen_reward_sum = 0;
  double rejected_reward_sum = 0;
};

struct PreferenceLoss {
  Tensor loss;  // [1], f32.
  PreferenceScore score;
};

// -ln sigmoid(chosen - rejected - margin); no margins are margins of 0.
PreferenceLoss BradleyTerryLoss(Tape& tape, Tensor chosen, Tensor rejected,
                                std::span<const float> margins, float scale);

// Log-probabilities of whole answers under the frozen reference.
struct ReferenceLogProbs {
  std::span<const float> chosen, rejected;
};

struct DpoOptions {
  float beta = 0.1F;             // > 0.
  float label_smoothing = 0.0F;  // The part of the labels that are wrong, in [0, 1/2).
};

// With h = (chosen - its reference) - (rejected - its reference), of the log-probabilities of whole
// answers: -(1 - smoothing) ln sigmoid(beta h) - smoothing ln sigmoid(-beta h).
PreferenceLoss DpoLoss(Tape& tape, Tensor chosen, Tensor rejected,
                       const ReferenceLogProbs& reference, const DpoOptions& options, float scale);

// (h - 1 / (2 beta))^2 with the same h; beta > 0 is the paper's tau. Log-probabilities that are
// means over an answer's tokens (as many trainers take them) make h independent of length.
PreferenceLoss IpoLoss(Tape& tape, Tensor chosen, Tensor rejected,
                       const ReferenceLogProbs& reference, float beta, float scale);

}  // namespace muster::ops
