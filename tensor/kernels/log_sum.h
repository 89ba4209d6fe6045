// ln of the sum of e^logit over a row, slice after slice, with the entropy of its softmax. Whoever
// reports log-probabilities of a vocabulary goes this way in the same slices, so that the sampler
// and the loss find the same bits.
// Source: Milakov and Gimelshein, arXiv:1805.02867, algorithm 3.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "tensor/kernels/lane_math.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/vector_math.h"
#include "tensor/kernels/wide.h"

namespace muster::kernels {

inline constexpr std::size_t kLogSumSlice = 2048;

class RunningLogSum {
 public:
  // The row's next kLogSumSlice logits; the last slice may be shorter.
  template <class T>
  void Take(const T* logits, std::size_t count) {
    const float here =
        MaxLanes(count, [&](std::size_t i, std::size_t n) { return LoadUpTo(logits + i, n); });
    const float most = most_ > here ? most_ : here;               // Also NaN.
    if (most == -std::numeric_limits<float>::infinity()) return;  // No token can be drawn yet.
    const float shrink = FastExp(most_ - most);
    Lanes sum{}, weighted{};
    Wide([&] {
      for (std::size_t i = 0; i < count; i += kPart) {
        AddPart(logits + i, std::min(kPart, count - i), most, sum, weighted);
      }
    });
    sum_ = sum_ * shrink + SumOf(sum);
    weighted_ = weighted_ * shrink + SumOf(weighted);
    most_ = most;
  }

  float Value() const { return most_ + std::log(sum_); }
  // -sum p ln p, in nats.
  float Entropy() const { return Value() - weighted_ / sum_; }

 private:
  static constexpr std::size_t kPart = 256;

  template <class T>
  static void AddPart(const T* logits, std::size_t count, float most, Lanes& sum, Lanes& weighted) {
    float powers[kPart], products[kPart];
    for (std::size_t i = 0; i < count; ++i) {
      const float value = ToFloat(logits[i]);
      powers[i] = FastExp(value - most);
      products[i] = powers[i] * (powers[i] > 0.0F ? value : 0.0F);  // 0 times -infinity is 0 here.
    }
    ForLanes(count, [&](std::size_t i, std::size_t n) {
      sum += LoadUpTo(powers + i, n);
      weighted += LoadUpTo(products + i, n);
    });
  }

  float most_ = -std::numeric_limits<float>::infinity();
  float sum_ = 0;
  float weighted_ = 0;  // By the logits.
};

}  // namespace muster::kernels
