#include "tensor/kernels/gaussian.h"

#include <string>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/gaussian_row.h"
#include "tensor/kernels/normal_draw.h"
#include "tensor/kernels/put_part.h"
#include "tensor/kernels/vector_math.h"

namespace muster {

namespace {

using namespace kernels;  // Lanes.

// Rows of one block: the parts of a parameter's gradient are added within it, then across.
constexpr std::size_t kRowBlock = 64;

struct Layout {
  std::size_t rows, width;
  bool shared;  // log_std is [width].

  std::size_t StdAt(std::size_t row) const { return shared ? 0 : row * width; }
};

Layout LayoutOf(const Tensor& mean, const Tensor& log_std, std::size_t actions) {
  MUSTER_CHECK(mean.shape().rank() == 2 && mean.shape()[1] > 0, "mean " + mean.shape().ToString());
  const Layout layout{mean.shape()[0], mean.shape()[1], log_std.shape().rank() == 1};
  MUSTER_CHECK(layout.shared ? log_std.elements() == layout.width : log_std.shape() == mean.shape(),
               "log_std " + log_std.shape().ToString() + " for mean " + mean.shape().ToString());
  MUSTER_CHECK(log_std.type() == mean.type(), std::string("log_std of ") + NameOf(log_std.type()) +
                                                  " for mean of " + NameOf(mean.type()));
  MUSTER_CHECK(
      actions == mean.elements(),
      std::to_string(actions) + " elements of actions for mean " + mean.shape().ToString());
  return layout;
}

template <class T>
GaussianElement RowOf(const T* mean, const T* log_std, const float* actions, std::size_t width) {
  GaussianElement result{};
  ForRowParts(width, [&](std::size_t begin, std::size_t count) {
    float log_probs[kRowPart], entropies[kRowPart];
    for (std::size_t i = 0; i < count; ++i) {
      const GaussianElement element =
          GaussianOf(ToFloat(mean[begin + i]), ToFloat(log_std[begin + i]), actions[begin + i]);
      log_probs[i] = element.log_prob;
      entropies[i] = element.entropy;
    }
    result.log_prob += SumOfPart(log_probs, count);
    result.entropy += SumOfPart(entropies, count);
  });
  return result;
}

template <class T>
struct GaussianNode {
  Tensor mean, log_std;
  Layout layout;
  const float* actions;
  const float* const* entropy_gradient = nullptr;

  void Backward(Tape& tape, const float* dy) const {
    const std::size_t width = layout.width;
    const auto dmean = tape.SinkFor<T>(mean);
    const auto dstd = layout.shared ? GradientSink<T>() : tape.SinkFor<T>(log_std);
    const auto shared = layout.shared ? tape.SinkFor(log_std) : GradientSink<float>();
    const std::size_t blocks = (layout.rows + kRowBlock - 1) / kRowBlock;
    float* const parts = shared.data != nullptr ? tape.Scratch<float>({blocks, width}) : nullptr;
    const float* const dentropy = *entropy_gradient;
    ForBlocks(tape.pool(), layout.rows, kRowBlock, [&](std::size_t begin, std::size_t count) {
      float* const part = parts != nullptr ? parts + begin / kRowBlock * width : nullptr;
      if (part != nullptr) std::fill_n(part, width, 0.0F);
      for (std::size_t row = begin; row < begin + count; ++row) {
        const float h = dentropy != nullptr ? dentropy[row] : 0.0F;
        Row(row, dy[row], h, dmean, dstd, part);
      }
    });
    if (parts != nullptr) PutSum(shared, parts, blocks);
  }

  void Row(std::size_t row, float g, float h, const GradientSink<T>& dmean,
           const GradientSink<T>& dstd, float* shared) const {
    const bool masked = g == 0.0F && h == 0.0F;
    const T* const means = mean.as<T>() + row * layout.width;
    const T* const stds = log_std.as<T>() + layout.StdAt(row);
    const float* const action = actions + row * layout.width;
    ForRowParts(layout.width, [&](std::size_t begin, std::size_t count) {
      float mean_slopes[kRowPart] = {}, std_slopes[kRowPart] = {};
      for (std::size_t i = 0; !masked && i < count; ++i) {
        const GaussianSlopes slopes = GaussianSlopesOf(
            ToFloat(means[begin + i]), ToFloat(stds[begin + i]), action[begin + i], g, h);
        mean_slopes[i] = slopes.mean;
        std_slopes[i] = slopes.log_std;
      }
      for (std::size_t i = 0; shared != nullptr && i < count; ++i) {
        shared[begin + i] += std_slopes[i];
      }
      PutPart(dmean, row * layout.width + begin, mean_slopes, count);
      PutPart(dstd, row * layout.width + begin, std_slopes, count);
    });
  }

  void PutSum(const GradientSink<float>& sink, const float* parts, std::size_t blocks) const {
    if (!sink.accumulate) std::fill_n(sink.data, layout.width, 0.0F);
    for (std::size_t block = 0; block < blocks; ++block) {
      for (std::size_t i = 0; i < layout.width; ++i) {
        sink.data[i] += parts[block * layout.width + i];
      }
    }
  }
};

template <class T>
LogProbsAndEntropy GaussianOf(Tape& tape, Tensor mean, Tensor log_std, const Layout& layout,
                              std::span<const float> actions) {
  LogProbsAndEntropy result{tape.NewOutput({layout.rows}), tape.NewOutput({layout.rows})};
  float *const log_probs = result.log_probs.data(), *const entropy = result.entropy.data();
  const T *const means = mean.as<T>(), *const stds = log_std.as<T>();
  ForBlocks(tape.pool(), layout.rows, kRowBlock, [&](std::size_t begin, std::size_t count) {
    for (std::size_t row = begin; row < begin + count; ++row) {
      const std::size_t at = row * layout.width;
      const GaussianElement of_row =
          RowOf(means + at, stds + layout.StdAt(row), actions.data() + at, layout.width);
      log_probs[row] = of_row.log_prob;
      entropy[row] = of_row.entropy;
    }
  });
  if (tape.Records({mean, log_std})) {
    float* const kept = tape.Scratch<float>({actions.size()});
    std::copy(actions.begin(), actions.end(), kept);
    RecordPair(tape, result, {mean, log_std}, GaussianNode<T>{mean, log_std, layout, kept});
  }
  return result;
}

template <class T>
void DrawRowOf(const T* mean, const T* log_std, const RandomKey& key, std::size_t width,
               float* actions) {
  const std::size_t blocks = (width + 3) / 4;
  for (std::size_t b = 0; b < blocks; ++b) {
    const auto noise = NormalDraws(DrawBlock(key, blocks, b));
    for (std::size_t i = 4 * b; i < std::min(width, 4 * b + 4); ++i) {
      const float deviation = GaussianDeviation(ToFloat(log_std[i]));
      actions[i] = ToFloat(mean[i]) + deviation * noise[i % 4];
    }
  }
}

}  // namespace

namespace ops {

LogProbsAndEntropy DiagonalGaussian(Tape& tape, Tensor mean, Tensor log_std,
                                    std::span<const float> actions) {
  const Layout layout = LayoutOf(mean, log_std, actions.size());
  return Dispatch(mean.type(), [&](auto element) {
    return GaussianOf<decltype(element)>(tape, mean, log_std, layout, actions);
  });
}

}  // namespace ops

void SampleGaussian(Tensor mean, Tensor log_std, std::span<const RandomKey> keys,
                    std::span<float> actions, std::span<float> log_probs, ThreadPool* pool) {
  const Layout layout = LayoutOf(mean, log_std, actions.size());
  MUSTER_CHECK(keys.size() == layout.rows,
               std::to_string(keys.size()) + " keys for mean " + mean.shape().ToString());
  MUSTER_CHECK(
      log_probs.empty() || log_probs.size() == layout.rows,
      std::to_string(log_probs.size()) + " log-probabilities for mean " + mean.shape().ToString());
  Dispatch(mean.type(), [&](auto element) {
    using T = decltype(element);
    const T *const means = mean.as<T>(), *const stds = log_std.as<T>();
    ForBlocks(pool, layout.rows, kRowBlock, [&](std::size_t begin, std::size_t count) {
      for (std::size_t row = begin; row < begin + count; ++row) {
        const std::size_t at = row * layout.width;
        const T* const std_row = stds + layout.StdAt(row);
        float* const to = actions.data() + at;
        DrawRowOf(means + at, std_row, keys[row], layout.width, to);
        if (log_probs.empty()) continue;
        log_probs[row] = RowOf(means + at, std_row, to, layout.width).log_prob;
      }
    });
  });
}

}  // namespace muster
