#include "tensor/kernels/sampling.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/lane_math.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/largest.h"
#include "tensor/kernels/log_sum.h"

namespace muster {

namespace {

using namespace kernels;  // Lanes.

constexpr std::size_t kBuckets = 4096;  // Of logits, for top-p: 0.02 nats each.

// One row on its way from logits to a token.
template <class T>
class RowSampler {
 public:
  RowSampler(const T* logits, std::size_t width, const SamplingRow& row)
      : logits_(logits), width_(width), options_(row.options), key_(row.key) {
    largest_ = MaxLanes(width, [&](std::size_t i, std::size_t n) { return Load(i, n); });
    MUSTER_CHECK(std::isfinite(largest_),
                 "logits without a largest finite one (it is " + std::to_string(largest_) + ")");
  }

  SampledToken Sample() {
    if (options_.temperature == 0) return Greedy();
    weights_.resize(width_);
    ForLanes(width_, [&](std::size_t i, std::size_t n) {
      StoreUpTo(weights_.data() + i, FastExp((Load(i, n) - largest_) / options_.temperature), n);
    });
    if (options_.top_k > 0 && options_.top_k < width_) {
      KeepOfTopK();
    } else if (options_.top_p < 1) {
      KeepNucleus();
    } else {
      return Draw(width_, [](std::size_t i) { return i; });
    }
    return Draw(kept_.size(), [&](std::size_t i) { return kept_[i]; });
  }

 private:
  Lanes Load(std::size_t i, std::size_t n) const { return LoadUpTo(logits_ + i, n); }

  // ln softmax(logits)[token], with the bits of LinearCrossEntropy.
  float LogProb(std::size_t token) const {
    RunningLogSum sum;
    for (std::size_t i = 0; i < width_; i += kLogSumSlice) {
      sum.Take(logits_ + i, std::min(kLogSumSlice, width_ - i));
    }
    return ToFloat(logits_[token]) - sum.Value();
  }

  SampledToken Greedy() const {
    constexpr std::size_t kBlock = 512;
    std::size_t token = 0;  // First the block, then the place in it.
    const auto holds = [&](std::size_t begin) {
      return MaxLanes(std::min(kBlock, width_ - begin),
                      [&](std::size_t i, std::size_t n) { return Load(begin + i, n); }) == largest_;
    };
    while (!holds(token)) token += kBlock;
    while (ToFloat(logits_[token]) != largest_) ++token;
    return {static_cast<std::int32_t>(token), LogProb(token), 0};
  }

  // kept_ = the top_k tokens, or those that top-p keeps of them, in ascending order of index.
  void KeepOfTopK() {
    SelectLargest(logits_, width_, options_.top_k, keys_);
    if (options_.top_p < 1) {
      const double total = TotalOf(
          keys_.size(), [&](std::size_t i) { return IndexOf(keys_[i]); }, 0);
      keys_.resize(Nucleus(static_cast<double>(options_.top_p) * total));
    }
    kept_.clear();
    for (const std::uint64_t key : keys_) kept_.push_back(IndexOf(key));
    std::sort(kept_.begin(), kept_.end());
  }

  // kept_ = the tokens that top-p keeps of all. The row is not sorted: weights are added by how far
  // a logit is below the largest, and only the bucket where the sum passes its share is.
  void KeepNucleus() {
    std::vector<double> sums(kBuckets);
    for (std::size_t i = 0; i < width_; ++i) sums[Bucket(i)] += Weight(i, 0);
    double total = 0;
    for (const double sum : sums) total += sum;
    const double share = static_cast<double>(options_.top_p) * total;
    double before = 0;  // In the buckets before the last that is needed.
    std::size_t last = 0;
    while (last + 1 < kBuckets && before + sums[last] < share) before += sums[last++];
    keys_.clear();
    for (std::size_t i = 0; i < width_; ++i) {
      if (Bucket(i) == last) keys_.push_back(DescendingKey(ToFloat(logits_[i]), i));
    }
    std::sort(keys_.begin(), keys_.end());
    const std::uint64_t limit = keys_[Nucleus(share - before) - 1];
    kept_.clear();
    for (std::size_t i = 0; i < width_; ++i) {
      if (DescendingKey(ToFloat(logits_[i]), i) <= limit) kept_.push_back(i);
    }
  }

  // Larger logits are in lower buckets; the last has all that weigh nothing.
  std::size_t Bucket(std::size_t token) const {
    const float below = (largest_ - ToFloat(logits_[token])) / options_.temperature;
    return static_cast<std::size_t>(std::min(below, 87.5F) * (kBuckets / 88.0F));
  }

  // How many of keys_, at least 1, have weights of `share` together.
  std::size_t Nucleus(double share) const {
    double sum = 0;
    std::size_t count = 0;
    while (count < keys_.size() && (count == 0 || sum < share)) {
      sum += Weight(IndexOf(keys_[count++]), 0);
    }
    return count;
  }

  // Of token(0), token(1), .. in this order; 0 for weights below `least`.
  template <class Token>
  double TotalOf(std::size_t count, const Token& token, float least) const {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += Weight(token(i), least);
    return sum;
  }
  double Weight(std::size_t token, float least) const {
    const float weight = weights_[token];
    return weight < least ? 0.0 : static_cast<double>(weight);
  }

  // One of token(0), token(1), .. by their weights. The most probable token's is 1, so min-p is a
  // bound of weights.
  template <class Token>
  SampledToken Draw(std::size_t count, const Token& token) const {
    const double total = TotalOf(count, token, options_.min_p);
    const PhiloxBlock random = RandomBlock(key_);
    const double target = UnitDouble(random[0], random[1]) * total;
    double sum = 0;
    std::size_t drawn = 0;
    for (std::size_t i = 0; i < count && sum <= target; ++i) {
      const double weight = Weight(token(i), options_.min_p);
      if (weight == 0) continue;
      drawn = token(i);
      sum += weight;
    }
    const double log_prob = std::log(Weight(drawn, 0)) - std::log(total);
    return {static_cast<std::int32_t>(drawn), LogProb(drawn), static_cast<float>(log_prob)};
  }

  const T* logits_;
  std::size_t width_;
  SamplingOptions options_;
  RandomKey key_;
  float largest_;
  std::vector<float> weights_;       // e^((logit - largest) / temperature)
  std::vector<std::uint64_t> keys_;  // Of candidates, most probable first.
  std::vector<std::size_t> kept_;
};

void CheckOptions(const SamplingOptions& options) {
  MUSTER_CHECK(options.temperature >= 0 && std::isfinite(options.temperature),
               "temperature " + std::to_string(options.temperature) + " is not at least 0");
  MUSTER_CHECK(options.top_p > 0 && options.top_p <= 1,
               "top_p " + std::to_string(options.top_p) + " is not above 0 and at most 1");
  MUSTER_CHECK(options.min_p >= 0 && options.min_p <= 1,
               "min_p " + std::to_string(options.min_p) + " is not from 0 to 1");
}

}  // namespace

void Sample(ThreadPool* pool, Tensor logits, std::span<const SamplingRow> rows,
            std::span<SampledToken> tokens) {
  const Shape& shape = logits.shape();
  MUSTER_CHECK(shape.rank() == 2 && shape[1] > 0 && shape[1] >> 31U == 0,
               "logits " + shape.ToString());
  MUSTER_CHECK(rows.size() == shape[0] && tokens.size() == shape[0],
               std::to_string(rows.size()) + " rows' options and " + std::to_string(tokens.size()) +
                   " tokens for logits " + shape.ToString());
  for (const SamplingRow& row : rows) CheckOptions(row.options);
  Dispatch(logits.type(), [&](auto element) {
    using T = decltype(element);
    const T* const from = logits.as<T>();
    ParallelFor(pool, rows.size(), [&](std::size_t row) {
      tokens[row] = RowSampler<T>(from + row * shape[1], shape[1], rows[row]).Sample();
    });
  });
}

}  // namespace muster
