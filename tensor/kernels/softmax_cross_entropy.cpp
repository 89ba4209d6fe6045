#include "tensor/kernels/softmax_cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/vector_math.h"

namespace muster {

namespace {

std::size_t RowsOf(const Tensor& logits, std::size_t targets) {
  MUSTER_CHECK(logits.shape().rank() == 2 && logits.shape()[1] > 0,
               "logits " + logits.shape().ToString());
  MUSTER_CHECK(targets == logits.shape()[0],
               std::to_string(targets) + " targets for logits " + logits.shape().ToString());
  return targets;
}

std::size_t FirstLargest(const float* row, std::size_t classes) {
  return static_cast<std::size_t>(std::max_element(row, row + classes) - row);
}

// One row: its loss in nats; shifted exponentials to `exponentials`, their sum returned in `sum`.
double RowLoss(const float* logits, std::size_t classes, std::size_t target, float* exponentials,
               float* sum) {
  const float largest = logits[FirstLargest(logits, classes)];
  for (std::size_t c = 0; c < classes; ++c) {
    exponentials[c] = kernels::FastExp(logits[c] - largest);
  }
  float total = 0.0F;
  for (std::size_t c = 0; c < classes; ++c) total += exponentials[c];
  *sum = total;
  return std::log(static_cast<double>(total)) + static_cast<double>(largest) -
         static_cast<double>(logits[target]);
}

// probabilities may be one row (stride 0) when nobody needs them afterwards.
ClassificationScore Score(const Tensor& logits, std::span<const std::int32_t> targets,
                          float* probabilities, std::size_t stride) {
  const std::size_t rows = RowsOf(logits, targets.size());
  const std::size_t classes = logits.shape()[1];
  ClassificationScore score;
  for (std::size_t row = 0; row < rows; ++row) {
    MUSTER_CHECK(
        targets[row] >= 0 && static_cast<std::size_t>(targets[row]) < classes,
        "target " + std::to_string(targets[row]) + " of " + std::to_string(classes) + " classes");
    const auto target = static_cast<std::size_t>(targets[row]);
    const float* const from = logits.data() + row * classes;
    float* const to = probabilities + row * stride;
    float sum = 0.0F;
    score.loss_sum += RowLoss(from, classes, target, to, &sum);
    score.correct += FirstLargest(from, classes) == target ? 1 : 0;
    for (std::size_t c = 0; c < classes; ++c) to[c] /= sum;
  }
  return score;
}

}  // namespace

namespace ops {

namespace {

struct CrossEntropyNode {
  Tensor logits;
  const float* probabilities;
  const std::int32_t* targets;
  float scale;

  // d loss / d logit = scale * (p - [c is the target]).
  void Backward(Tape& tape, const float* dy) const {
    const GradientSink sink = tape.SinkFor(logits);
    const std::size_t rows = logits.shape()[0];
    const std::size_t classes = logits.shape()[1];
    const float factor = dy[0] * scale;
    for (std::size_t row = 0; row < rows; ++row) {
      const float* const p = probabilities + row * classes;
      float* const to = sink.data + row * classes;
      const auto target = static_cast<std::size_t>(targets[row]);
      for (std::size_t c = 0; c < classes; ++c) {
        const float slope = factor * (p[c] - (c == target ? 1.0F : 0.0F));
        to[c] = sink.accumulate ? to[c] + slope : slope;
      }
    }
  }
};

}  // namespace

CrossEntropy SoftmaxCrossEntropy(Tape& tape, Tensor logits, std::span<const std::int32_t> targets,
                                 float scale) {
  logits = Cast(tape, logits, DType::kF32);
  float* const probabilities = tape.Scratch<float>(logits.shape());
  const ClassificationScore score = Score(logits, targets, probabilities, logits.shape().last());
  CrossEntropy result{tape.NewOutput({1}), score};
  *result.loss.data() = static_cast<float>(score.loss_sum * static_cast<double>(scale));
  if (tape.Records({logits})) {
    auto* const kept = tape.Scratch<std::int32_t>({targets.size()});
    std::copy(targets.begin(), targets.end(), kept);
    tape.Record(result.loss, {logits}, CrossEntropyNode{logits, probabilities, kept, scale});
  }
  return result;
}

}  // namespace ops

ClassificationScore ScoreClassification(Tensor logits, std::span<const std::int32_t> targets) {
  std::vector<float> row(logits.shape().last());
  return Score(logits, targets, row.data(), 0);
}

void ArgMax(Tensor logits, std::span<std::int32_t> classes) {
  const std::size_t rows = RowsOf(logits, classes.size());
  const std::size_t width = logits.shape()[1];
  for (std::size_t row = 0; row < rows; ++row) {
    classes[row] = static_cast<std::int32_t>(FirstLargest(logits.data() + row * width, width));
  }
}

}  // namespace muster
