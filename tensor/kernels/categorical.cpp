#include "tensor/kernels/categorical.h"

#include <limits>
#include <string>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/put_part.h"
#include "tensor/kernels/vector_math.h"

namespace muster {

namespace {

using namespace kernels;  // Lanes.

// What turns a logit x into its log-probability: (x - largest) - log_sum.
struct Moments {
  float largest, log_sum, entropy;
};

// NaN is left to the sum of exponentials to tell.
template <class T>
float LargestOf(const T* x, std::size_t count) {
  Lanes lanes = AllLanes(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Lanes values = LoadLanes(x + i);
    lanes = values > lanes ? values : lanes;
  }
  float largest = lanes[0];
  for (std::size_t lane = 1; lane < kLanes; ++lane) largest = std::max(largest, lanes[lane]);
  for (; i < count; ++i) largest = std::max(largest, ToFloat(x[i]));
  return largest;
}

// With z = x - largest: entropy = ln sum e^z - sum z e^z / sum e^z.
template <class T>
Moments MomentsOf(const T* x, std::size_t size) {
  const float largest = LargestOf(x, size);
  float sum = 0, weighted = 0;
  ForRowParts(size, [&](std::size_t begin, std::size_t count) {
    float exponentials[kRowPart], products[kRowPart];
    for (std::size_t i = 0; i < count; ++i) {
      const float z = ToFloat(x[begin + i]) - largest;
      const float e = FastExp(z);
      exponentials[i] = e;
      products[i] = e == 0.0F ? 0.0F : e * z;  // z may be -infinity.
    }
    sum += SumOfPart(exponentials, count);
    weighted += SumOfPart(products, count);
  });
  const float log_sum = FastLog(sum);
  return {largest, log_sum, log_sum - weighted / sum};
}

template <class T>
float LogProb(const T* x, const Moments& m, std::int32_t action) {
  return (ToFloat(x[action]) - m.largest) - m.log_sum;
}

struct Layout {
  std::size_t rows, width;
  std::span<const std::size_t> sizes;
};

Layout LayoutOf(const Tensor& logits, std::span<const std::size_t> sizes, std::size_t actions) {
  MUSTER_CHECK(logits.shape().rank() == 2, "logits " + logits.shape().ToString());
  const std::size_t rows = logits.shape()[0], width = logits.shape()[1];
  std::size_t total = 0;
  for (const std::size_t size : sizes) {
    MUSTER_CHECK(size > 0, "a categorical of no classes");
    total += size;
  }
  MUSTER_CHECK(total == width && width > 0, "categoricals of " + std::to_string(total) +
                                                " classes for logits " + logits.shape().ToString());
  MUSTER_CHECK(actions == rows * sizes.size(), std::to_string(actions) + " actions for " +
                                                   std::to_string(rows) + " rows of " +
                                                   std::to_string(sizes.size()) + " categoricals");
  return {rows, width, sizes};
}

void CheckActions(const Layout& layout, std::span<const std::int32_t> actions) {
  for (std::size_t i = 0; i < actions.size(); ++i) {
    const std::size_t size = layout.sizes[i % layout.sizes.size()];
    MUSTER_CHECK(actions[i] >= 0 && static_cast<std::size_t>(actions[i]) < size,
                 "action " + std::to_string(actions[i]) + " of " + std::to_string(size) +
                     " classes in row " + std::to_string(i / layout.sizes.size()));
  }
}

// The first class up to which the exponentials add to more than `part` of their sum, part < 1; one
// with probability 0 never is. `scratch` has room for them.
template <class T>
std::int32_t Invert(const T* x, std::size_t size, const Moments& m, double part, float* scratch) {
  for (std::size_t c = 0; c < size; ++c) scratch[c] = FastExp(ToFloat(x[c]) - m.largest);
  double total = 0;
  for (std::size_t c = 0; c < size; ++c) total += static_cast<double>(scratch[c]);
  const double wanted = part * total;
  double sum = 0;
  for (std::size_t c = 0; c < size; ++c) {
    sum += static_cast<double>(scratch[c]);
    if (sum > wanted) return static_cast<std::int32_t>(c);
  }
  return 0;  // NaN compares false. Otherwise the last sum is `total`, which is above `wanted`.
}

template <class T>
void SampleRow(const T* x, const Layout& layout, const RandomKey& key, std::int32_t* actions,
               float* log_prob, float* scratch) {
  const std::size_t segments = layout.sizes.size(), blocks = (segments + 1) / 2;
  PhiloxBlock random{};
  float sum = 0;
  for (std::size_t s = 0; s < segments; ++s) {
    if (s % 2 == 0) random = DrawBlock(key, blocks, s / 2);
    const double part = UnitDouble(random[s % 2 * 2], random[s % 2 * 2 + 1]);
    const Moments m = MomentsOf(x, layout.sizes[s]);
    actions[s] = Invert(x, layout.sizes[s], m, part, scratch);
    sum += LogProb(x, m, actions[s]);
    x += layout.sizes[s];
  }
  if (log_prob != nullptr) *log_prob = sum;
}

template <class T>
struct CategoricalNode {
  Tensor logits;
  Layout layout;                // Its sizes lie in the arena.
  const std::int32_t* actions;  // [rows, segments]
  const Moments* moments;       // [rows, segments]
  const float* const* entropy_gradient = nullptr;

  void Backward(Tape& tape, const float* dy) const {
    const auto sink = tape.SinkFor<T>(logits);
    const float* const dentropy = *entropy_gradient;
    const std::size_t segments = layout.sizes.size();
    const std::size_t block = RowsPerBlock(layout.width);
    ForBlocks(tape.pool(), layout.rows, block, [&](std::size_t begin, std::size_t count) {
      for (std::size_t row = begin; row < begin + count; ++row) {
        const float h = dentropy != nullptr ? dentropy[row] : 0.0F;
        std::size_t at = row * layout.width;
        for (std::size_t s = 0; s < segments; ++s) {
          Segment(sink, at, row * segments + s, layout.sizes[s], dy[row], h);
          at += layout.sizes[s];
        }
      }
    });
  }

  // d log-prob / d logit = [c is the action] - p; d entropy / d logit = -p (ln p + entropy).
  void Segment(const GradientSink<T>& sink, std::size_t at, std::size_t number, std::size_t size,
               float g, float h) const {
    if (g == 0.0F && h == 0.0F) {
      if (!sink.accumulate) std::fill_n(sink.data + at, size, T(0.0F));
      return;
    }
    const T* const x = logits.as<T>() + at;
    const Moments m = moments[number];
    const auto action = static_cast<std::size_t>(actions[number]);
    ForRowParts(size, [&](std::size_t begin, std::size_t count) {
      float slopes[kRowPart];
      for (std::size_t i = 0; i < count; ++i) {
        const float log_p = (ToFloat(x[begin + i]) - m.largest) - m.log_sum;
        const float p = FastExp(log_p);
        const float information = p == 0.0F ? 0.0F : p * (log_p + m.entropy);
        slopes[i] = -g * p - h * information;
      }
      if (action - begin < count) slopes[action - begin] += g;
      PutPart(sink, at + begin, slopes, count);
    });
  }
};

template <class T>
LogProbsAndEntropy CategoricalOf(Tape& tape, Tensor logits, Layout layout,
                                 std::span<const std::int32_t> actions) {
  const std::size_t segments = layout.sizes.size();
  LogProbsAndEntropy result{tape.NewOutput({layout.rows}), tape.NewOutput({layout.rows})};
  auto* const moments = tape.Scratch<Moments>({layout.rows, segments});
  float *const log_probs = result.log_probs.data(), *const entropy = result.entropy.data();
  const T* const values = logits.as<T>();
  const std::size_t block = RowsPerBlock(layout.width);
  ForBlocks(tape.pool(), layout.rows, block, [&](std::size_t begin, std::size_t count) {
    for (std::size_t row = begin; row < begin + count; ++row) {
      const T* x = values + row * layout.width;
      log_probs[row] = entropy[row] = 0;
      for (std::size_t s = 0; s < segments; ++s) {
        const std::size_t number = row * segments + s;
        moments[number] = MomentsOf(x, layout.sizes[s]);
        log_probs[row] += LogProb(x, moments[number], actions[number]);
        entropy[row] += moments[number].entropy;
        x += layout.sizes[s];
      }
    }
  });
  if (tape.Records({logits})) {
    auto* const kept = tape.Scratch<std::int32_t>({actions.size()});
    std::copy(actions.begin(), actions.end(), kept);
    auto* const sizes = tape.Scratch<std::size_t>({segments});
    std::copy(layout.sizes.begin(), layout.sizes.end(), sizes);
    layout.sizes = {sizes, segments};
    RecordPair(tape, result, {logits}, CategoricalNode<T>{logits, layout, kept, moments});
  }
  return result;
}

}  // namespace

namespace ops {

LogProbsAndEntropy MultiCategorical(Tape& tape, Tensor logits, std::span<const std::size_t> sizes,
                                    std::span<const std::int32_t> actions) {
  const Layout layout = LayoutOf(logits, sizes, actions.size());
  CheckActions(layout, actions);
  return Dispatch(logits.type(), [&](auto element) {
    return CategoricalOf<decltype(element)>(tape, logits, layout, actions);
  });
}

LogProbsAndEntropy Categorical(Tape& tape, Tensor logits, std::span<const std::int32_t> actions) {
  const std::size_t size = logits.shape().last();
  return MultiCategorical(tape, logits, {&size, 1}, actions);
}

}  // namespace ops

void SampleCategorical(Tensor logits, std::span<const std::size_t> sizes,
                       std::span<const RandomKey> keys, std::span<std::int32_t> actions,
                       std::span<float> log_probs, ThreadPool* pool) {
  const Layout layout = LayoutOf(logits, sizes, actions.size());
  MUSTER_CHECK(keys.size() == layout.rows,
               std::to_string(keys.size()) + " keys for logits " + logits.shape().ToString());
  MUSTER_CHECK(log_probs.empty() || log_probs.size() == layout.rows,
               std::to_string(log_probs.size()) + " log-probabilities for logits " +
                   logits.shape().ToString());
  Dispatch(logits.type(), [&](auto element) {
    const auto* const values = logits.as<decltype(element)>();
    const std::size_t block = RowsPerBlock(layout.width);
    ForBlocks(pool, layout.rows, block, [&](std::size_t begin, std::size_t count) {
      std::vector<float> scratch(layout.width);
      for (std::size_t row = begin; row < begin + count; ++row) {
        SampleRow(values + row * layout.width, layout, keys[row],
                  actions.data() + row * sizes.size(),
                  log_probs.empty() ? nullptr : &log_probs[row], scratch.data());
      }
    });
  });
}

void CategoricalMode(Tensor logits, std::span<const std::size_t> sizes,
                     std::span<std::int32_t> actions) {
  LayoutOf(logits, sizes, actions.size());  // For its checks.
  Dispatch(logits.type(), [&](auto element) {
    const auto* x = logits.as<decltype(element)>();
    for (std::size_t i = 0; i < actions.size(); ++i) {
      const std::size_t size = sizes[i % sizes.size()];
      const auto less = [](auto a, auto b) { return ToFloat(a) < ToFloat(b); };
      actions[i] = static_cast<std::int32_t>(std::max_element(x, x + size, less) - x);
      x += size;
    }
  });
}

}  // namespace muster
