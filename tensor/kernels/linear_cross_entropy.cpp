#include "tensor/kernels/linear_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/log_sum.h"
#include "tensor/kernels/packed_weights.h"
#include "tensor/kernels/vector_math.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Gemm, Lanes.

constexpr std::size_t kSlice = kLogSumSlice;  // Of the vocabulary.
constexpr std::size_t kRowsAtOnce = 8;        // That a thread takes.

struct Running {
  RunningLogSum log_sum;
  float target = 0;  // The target's logit.
};

struct Head {
  Tensor x, weight;
  std::size_t rows, width, vocabulary;
  const std::int32_t* targets;
  const float* weights;  // Times the scale; 0 where there is no target.
  const float* log_sums;

  // f32 logits [rows, columns] of a slice.
  template <class T>
  void Logits(ThreadPool* pool, std::size_t first, std::size_t columns, float* to) const {
    GemmArgs product;
    product.rows = rows;
    product.columns = columns;
    product.inner = width;
    product.type = kDTypeOf<T>;
    product.a = {x.as<T>(), width, 1};
    product.b = {weight.as<T>() + first * width, 1, width};
    product.c = to;
    product.c_row_stride = columns;
    Gemm(product, pool);
  }
};

void TakeSlice(const float* logits, std::size_t columns, std::int32_t target, std::size_t first,
               Running& state) {
  state.log_sum.Take(logits, columns);
  const auto at = static_cast<std::size_t>(target);
  if (target >= 0 && at >= first && at < first + columns) state.target = logits[at - first];
}

template <class T>
struct HeadNode {
  Head head;

  void Backward(Tape& tape, const float* dy) const {
    const auto dx = tape.SinkFor<T>(head.x);
    const auto dweight = tape.SinkFor(head.weight);
    const std::size_t rows = head.rows, width = head.width;
    float* const logits = tape.Scratch<float>({rows, std::min(kSlice, head.vocabulary)});
    T* const slopes = tape.Scratch<T>({rows, std::min(kSlice, head.vocabulary)});
    float* const sums = dx.data == nullptr ? nullptr : tape.Scratch<float>({rows, width});
    if (sums != nullptr) std::fill_n(sums, rows * width, 0.0F);
    for (std::size_t first = 0; first < head.vocabulary; first += kSlice) {
      const std::size_t columns = std::min(kSlice, head.vocabulary - first);
      head.Logits<T>(tape.pool(), first, columns, logits);
      ForBlocks(tape.pool(), rows, kRowsAtOnce, [&](std::size_t begin, std::size_t count) {
        for (std::size_t row = begin; row < begin + count; ++row) {
          Slopes(row, logits + row * columns, first, columns, dy[0], slopes + row * columns);
        }
      });
      if (sums != nullptr) InputGradient(tape.pool(), slopes, first, columns, sums);
      if (dweight.data != nullptr) {
        WeightGradient(tape.pool(), slopes, columns, dweight.accumulate,
                       dweight.data + first * width);
      }
    }
    ForBlocks(tape.pool(), dx.data == nullptr ? 0 : rows * width, kElementBlock,
              [&](std::size_t begin, std::size_t count) {
                if (dx.accumulate) return AddTo(sums + begin, dx.data + begin, count);
                Convert(sums + begin, dx.data + begin, count);
              });
  }

  // d loss / d logit = weight (p - [is the target]).
  void Slopes(std::size_t row, const float* logits, std::size_t first, std::size_t columns,
              float dy, T* to) const {
    const float weight = head.weights[row] * dy, log_sum = head.log_sums[row];
    if (head.targets[row] == kNoTarget) return std::fill_n(to, columns, T(0.0F)), void();
    Wide([&] {
      for (std::size_t i = 0; i < columns; ++i) to[i] = T(FastExp(logits[i] - log_sum) * weight);
    });
    const auto target = static_cast<std::size_t>(head.targets[row]);
    if (target < first || target >= first + columns) return;
    to[target - first] = T(weight * (FastExp(logits[target - first] - log_sum) - 1.0F));
  }

  // sums += slopes W: one chain over the vocabulary, slice after slice.
  void InputGradient(ThreadPool* pool, const T* slopes, std::size_t first, std::size_t columns,
                     float* sums) const {
    GemmArgs product;
    product.rows = head.rows;
    product.columns = head.width;
    product.inner = columns;
    product.type = kDTypeOf<T>;
    product.a = {slopes, columns, 1};
    product.b = {head.weight.as<T>() + first * head.width, head.width, 1};
    product.accumulate = true;
    product.c = sums;
    product.c_row_stride = head.width;
    Gemm(product, pool);
  }

  // dW of the slice = slopes^T x.
  void WeightGradient(ThreadPool* pool, const T* slopes, std::size_t columns, bool accumulate,
                      float* to) const {
    GemmArgs product;
    product.rows = columns;
    product.columns = head.width;
    product.inner = head.rows;
    product.type = kDTypeOf<T>;
    product.a = {slopes, 1, columns};
    product.b = {head.x.as<T>(), head.width, 1};
    product.accumulate = accumulate;
    product.c = to;
    product.c_row_stride = head.width;
    Gemm(product, pool);
  }
};

template <class T>
TokenScores ScoresOf(Tape& tape, Head head) {
  const std::size_t rows = head.rows;
  const std::size_t slice = std::min(kSlice, head.vocabulary);
  float* const logits = tape.Scratch<float>({rows, slice});
  auto* const states = tape.Scratch<Running>({rows});
  std::fill_n(states, rows, Running());
  for (std::size_t first = 0; first < head.vocabulary; first += kSlice) {
    const std::size_t columns = std::min(kSlice, head.vocabulary - first);
    head.Logits<T>(tape.pool(), first, columns, logits);
    ForBlocks(tape.pool(), rows, kRowsAtOnce, [&](std::size_t begin, std::size_t count) {
      for (std::size_t row = begin; row < begin + count; ++row) {
        TakeSlice(logits + row * columns, columns, head.targets[row], first, states[row]);
      }
    });
  }
  float* const log_sums = tape.Scratch<float>({rows});
  float* const log_probs = tape.Scratch<float>({rows});
  float* const entropies = tape.Scratch<float>({rows});
  double loss = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    const Running& state = states[row];
    log_sums[row] = state.log_sum.Value();
    const bool asked = head.targets[row] != kNoTarget;
    log_probs[row] = asked ? state.target - log_sums[row] : 0.0F;
    entropies[row] = asked ? state.log_sum.Entropy() : 0.0F;
    if (asked) loss -= static_cast<double>(head.weights[row]) * static_cast<double>(log_probs[row]);
  }
  head.log_sums = log_sums;
  TokenScores scores{tape.NewOutput({1}), {log_probs, rows}, {entropies, rows}};
  *scores.loss.data() = static_cast<float>(loss);
  if (tape.Records({head.x, head.weight})) {
    tape.Record(scores.loss, {head.x, head.weight}, HeadNode<T>{head});
  }
  return scores;
}

}  // namespace

TokenScores LinearCrossEntropy(Tape& tape, Tensor x, Tensor weight,
                               std::span<const std::int32_t> targets,
                               std::span<const float> weights, float scale) {
  const std::size_t width = x.shape().last(), rows = targets.size();
  MUSTER_CHECK(weight.shape().rank() == 2 && weight.shape()[1] == width && width > 0 &&
                   weight.shape()[0] > 0 && x.elements() == rows * width,
               "x " + x.shape().ToString() + ", weight " + weight.shape().ToString() + ", " +
                   std::to_string(rows) + " targets");
  MUSTER_CHECK(weights.empty() || weights.size() == rows, "as many weights as targets, or none");
  const std::size_t vocabulary = weight.shape()[0];
  auto* const kept = tape.Scratch<std::int32_t>({rows});
  float* const scaled = tape.Scratch<float>({rows});
  for (std::size_t row = 0; row < rows; ++row) {
    const std::int32_t target = kept[row] = targets[row];
    MUSTER_CHECK(
        target == kNoTarget || (target >= 0 && static_cast<std::size_t>(target) < vocabulary),
        "target " + std::to_string(target) + " of row " + std::to_string(row) +
            " with a vocabulary of " + std::to_string(vocabulary));
    scaled[row] = target == kNoTarget ? 0.0F : (weights.empty() ? 1.0F : weights[row]) * scale;
  }
  const Head head{x, weight, rows, width, vocabulary, kept, scaled, nullptr};
  return Dispatch(x.type(), [&](auto element) { return ScoresOf<decltype(element)>(tape, head); });
}

Tensor Logits(Tape& tape, Tensor x, Tensor weight) {
  const std::size_t width = x.shape().last(), rows = x.elements() / width;
  MUSTER_CHECK(tape.inference(), "logits of a step that is trained on");
  MUSTER_CHECK(
      weight.shape().rank() == 2 && weight.shape()[1] == width && x.type() == weight.type(),
      "x " + x.shape().ToString() + ", weight " + weight.shape().ToString());
  const std::size_t vocabulary = weight.shape()[0];
  const Tensor logits = tape.NewOutput({rows, vocabulary});
  GemmArgs product;
  product.rows = rows;
  product.columns = vocabulary;
  product.inner = width;
  product.type = x.type();
  product.a = {x.raw(), width, 1};
  product.b = {weight.raw(), 1, width};
  product.c = logits.data();
  product.c_row_stride = vocabulary;
  if (tape.packed() != nullptr) {
    GemmPacked(product, tape.packed()->Of(weight), tape.pool());
  } else {
    Gemm(product, tape.pool());
  }
  return logits;
}

}  // namespace muster::ops
