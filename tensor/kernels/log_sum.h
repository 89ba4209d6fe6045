// ln of the sum of e^logit over a row, slice after slice, with the entropy of its softmax. Whoever
// reports log-probabilities of a vocabulary goes this way in the same slices, so that the sampler
// and the loss find the same bits.
// Source: Milakov and Gimelshein, arXiv:1805.02867, algorithm 3.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include "tensor/kernels/lane_math.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/vector_math.h"

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
    ForLanes(count, [&](std::size_t i, std::size_t n) {
      const Lanes values = LoadUpTo(logits + i, n);
      Lanes powers = FastExp(values - most);
      for (std::size_t lane = n; lane < kLanes; ++lane) powers[lane] = 0;
      sum += powers;
      weighted += powers * (powers > 0.0F ? values : Lanes{});  // 0 times -infinity is 0 here.
    });
    sum_ = sum_ * shrink + SumOf(sum);
    weighted_ = weighted_ * shrink + SumOf(weighted);
    most_ = most;
  }

  float Value() const { return most_ + std::log(sum_); }
  // -sum p ln p, in nats.
  float Entropy() const { return Value() - weighted_ / sum_; }

 private:
  float most_ = -std::numeric_limits<float>::infinity();
  float sum_ = 0;
  float weighted_ = 0;  // By the logits.
};

}  // namespace muster::kernels
