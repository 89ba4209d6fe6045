// What fused losses share: each is a sum over elements, and its slopes are found in the same pass.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "base/check.h"
#include "tensor/autograd/tape.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/loss_terms.h"

namespace muster::kernels {

template <std::size_t kSums>
struct LossSums {
  Tensor loss;  // [1], f32: scale * sums[0].
  std::array<double, kSums> sums{};
};

template <class T, std::size_t kInputs>
struct LossNode {
  std::array<Tensor, kInputs> inputs;
  std::array<float*, kInputs> slopes;
  float scale;

  void Backward(Tape& tape, const float* dy) const {
    const float factor = dy[0] * scale;
    for (std::size_t k = 0; k < kInputs; ++k) {
      const auto sink = tape.SinkFor<T>(inputs[k]);
      if (sink.data == nullptr) continue;
      const float* const from = slopes[k];
      T* const to = sink.data;
      ForBlocks(tape.pool(), inputs[k].elements(), kElementBlock,
                [&](std::size_t begin, std::size_t count) {
                  for (std::size_t i = begin; i < begin + count; ++i) {
                    const float slope = factor * from[i];
                    to[i] = T(sink.accumulate ? ToFloat(to[i]) + slope : slope);
                  }
                });
    }
  }
};

// body(i), a LossTerms, over a block's elements: slopes to slopes[k] unless that is null, sums in
// double and in ascending order to `sums`.
template <std::size_t kSums, std::size_t kInputs, class Body>
void SumLossBlock(std::size_t begin, std::size_t count, const Body& body,
                  const std::array<float*, kInputs>& slopes, double* sums) {
  constexpr std::size_t kPart = 64;
  double totals[kSums] = {};
  for (std::size_t at = begin; at < begin + count; at += kPart) {
    const std::size_t n = std::min(kPart, begin + count - at);
    float terms[kSums][kPart], part_slopes[kInputs][kPart];
    for (std::size_t i = 0; i < n; ++i) {
      const LossTerms<kSums, kInputs> element = body(at + i);
      for (std::size_t k = 0; k < kSums; ++k) terms[k][i] = element.sums[k];
      for (std::size_t k = 0; k < kInputs; ++k) part_slopes[k][i] = element.slopes[k];
    }
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < kSums; ++k) totals[k] += static_cast<double>(terms[k][i]);
    }
    for (std::size_t k = 0; k < kInputs; ++k) {
      if (slopes[k] != nullptr) std::copy_n(part_slopes[k], n, slopes[k] + at);
    }
  }
  std::copy_n(totals, kSums, sums);
}

// The loss over all elements of `inputs`, which have equal shapes and the type T.
template <class T, std::size_t kSums, std::size_t kInputs, class Body>
LossSums<kSums> FusedLoss(Tape& tape, const std::array<Tensor, kInputs>& inputs, float scale,
                          const Body& body) {
  const std::size_t count = inputs[0].elements();
  const std::size_t blocks = (count + kElementBlock - 1) / kElementBlock;
  bool records = false;
  for (const Tensor& input : inputs) records = records || tape.Records({input});
  std::array<float*, kInputs> slopes{};
  for (float*& to : slopes) to = records ? tape.Scratch<float>({count}) : nullptr;
  auto* const parts = tape.Scratch<double>({blocks, kSums});
  ForBlocks(tape.pool(), count, kElementBlock, [&](std::size_t begin, std::size_t n) {
    SumLossBlock<kSums, kInputs>(begin, n, body, slopes, parts + begin / kElementBlock * kSums);
  });
  LossSums<kSums> result{tape.NewOutput({1})};
  for (std::size_t i = 0; i < blocks * kSums; ++i) result.sums[i % kSums] += parts[i];
  *result.loss.data() = static_cast<float>(result.sums[0] * static_cast<double>(scale));
  if (records) {
    const LossNode<T, kInputs> node{inputs, slopes, scale};
    if constexpr (kInputs == 1) {
      tape.Record(result.loss, {inputs[0]}, node);
    } else {
      tape.Record(result.loss, {inputs[0], inputs[1]}, node);
    }
  }
  return result;
}

// `values`, one to each of `count` elements.
inline const float* OnePerElement(std::span<const float> values, std::size_t count,
                                  const char* what) {
  MUSTER_CHECK(values.size() == count, std::to_string(values.size()) + " " + what + " for " +
                                           std::to_string(count) + " elements");
  return values.data();
}

// The weights, or ones for none.
inline const float* WeightsOr1(Tape& tape, std::span<const float> weights, std::size_t count) {
  if (!weights.empty() || count == 0) return OnePerElement(weights, count, "weights");
  float* const ones = tape.Scratch<float>({count});
  std::fill_n(ones, count, 1.0F);
  return ones;
}

}  // namespace muster::kernels
