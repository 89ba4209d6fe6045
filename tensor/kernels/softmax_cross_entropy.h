// Softmax, negative log-likelihood and accuracy in one pass over the logits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/autograd/tape.h"

namespace muster {

struct ClassificationScore {
  double loss_sum = 0.0;    // Nats, summed over the rows in order; not scaled.
  std::size_t correct = 0;  // Rows whose first largest logit is the target's.
};

namespace ops {

// Logits of f32 or bf16; what is computed from them is f32.
struct CrossEntropy {
  Tensor loss;  // [1]: scale * score.loss_sum.
  ClassificationScore score;
};

// logits [rows, classes], targets [rows], each in [0, classes). `scale` is the weight of a row:
// 1 / (rows of the global batch) makes the sum over all lanes' losses their mean.
// NaN logits give a NaN loss.
CrossEntropy SoftmaxCrossEntropy(Tape& tape, Tensor logits, std::span<const std::int32_t> targets,
                                 float scale);

}  // namespace ops

// The same figures without a tape, for evaluation.
ClassificationScore ScoreClassification(Tensor logits, std::span<const std::int32_t> targets);

// classes[r] = the index of the first largest of logits[r]; `classes` has as many elements as rows.
void ArgMax(Tensor logits, std::span<std::int32_t> classes);

}  // namespace muster
