#include "tensor/kernels/state_dependent_noise.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/gaussian_row.h"
#include "tensor/kernels/normal_draw.h"
#include "tensor/kernels/vector_math.h"

namespace muster {

namespace {

using namespace kernels;

constexpr float kLeastVariance = 1e-6F;  // SB3's epsilon: a state may have no features at all.

struct NoiseShape {
  std::size_t rows, in, actions;
};

NoiseShape ShapeOf(const Tensor& x, const Tensor& log_std) {
  MUSTER_CHECK(
      x.shape().rank() == 2 && log_std.shape().rank() == 2 && x.shape()[1] == log_std.shape()[0] &&
          x.type() == DType::kF32 && log_std.type() == DType::kF32,
      "features " + x.shape().ToString() + " for deviations " + log_std.shape().ToString());
  return {x.shape()[0], x.shape()[1], log_std.shape()[1]};
}

struct StateDependentNode {
  Tensor x, log_std, y;
  NoiseShape shape;

  // d y / d log_std[i, a] = x[i]^2 e^(2 log_std[i, a]) / e^(2 y[a]); rows are added in their order.
  void Backward(Tape& tape, const float* dy) const {
    const GradientSink sink = tape.SinkFor(log_std);
    if (sink.data == nullptr) return;
    const std::size_t n = shape.actions;
    float* const shares = tape.arena().Floats(shape.rows * n);  // dy e^(-2 y).
    for (std::size_t i = 0; i < shape.rows * n; ++i) {
      shares[i] = dy[i] * FastExp(-2.0F * y.data()[i]);
    }
    ForBlocks(tape.pool(), shape.in, RowsPerBlock(shape.rows * n),
              [&](std::size_t begin, std::size_t count) {
                for (std::size_t i = begin; i < begin + count; ++i) {
                  for (std::size_t a = 0; a < n; ++a) {
                    float sum = 0;
                    for (std::size_t row = 0; row < shape.rows; ++row) {
                      const float feature = x.data()[row * shape.in + i];
                      sum += feature * feature * shares[row * n + a];
                    }
                    const float deviation = GaussianDeviation(log_std.data()[i * n + a]);
                    float& to = sink.data[i * n + a];
                    const float slope = sum * deviation * deviation;
                    to = sink.accumulate ? to + slope : slope;
                  }
                }
              });
  }
};

}  // namespace

namespace ops {

Tensor StateDependentLogStd(Tape& tape, Tensor x, Tensor log_std) {
  const NoiseShape shape = ShapeOf(x, log_std);
  const std::size_t n = shape.actions;
  float* const variances = tape.arena().Floats(shape.in * n);
  for (std::size_t i = 0; i < shape.in * n; ++i) {
    const float deviation = GaussianDeviation(log_std.data()[i]);
    variances[i] = deviation * deviation;
  }
  const Tensor y = tape.NewOutput({shape.rows, n});
  ForBlocks(tape.pool(), shape.rows, RowsPerBlock(shape.in * n),
            [&](std::size_t begin, std::size_t count) {
              for (std::size_t row = begin; row < begin + count; ++row) {
                float* const to = y.data() + row * n;
                std::fill_n(to, n, kLeastVariance);
                for (std::size_t i = 0; i < shape.in; ++i) {
                  const float feature = x.data()[row * shape.in + i];
                  const float square = feature * feature;
                  for (std::size_t a = 0; a < n; ++a) to[a] += square * variances[i * n + a];
                }
                for (std::size_t a = 0; a < n; ++a) to[a] = 0.5F * FastLog(to[a]);
              }
            });
  if (tape.Records({log_std})) {
    tape.Record(y, {log_std}, StateDependentNode{x, log_std, y, shape});
  }
  return y;
}

}  // namespace ops

void DrawNoiseMatrix(const RandomKey& key, std::span<float> noise) {
  const std::size_t blocks = (noise.size() + 3) / 4;
  for (std::size_t block = 0; block < blocks; ++block) {
    const auto draws = NormalDraws(DrawBlock(key, blocks, block));
    const std::size_t count = std::min<std::size_t>(4, noise.size() - block * 4);
    std::copy_n(draws.begin(), count, noise.begin() + static_cast<std::ptrdiff_t>(block * 4));
  }
}

void StateDependentActions(Tensor mean, Tensor x, Tensor log_std, std::span<const float> noise,
                           std::span<float> actions) {
  const NoiseShape shape = ShapeOf(x, log_std);
  const std::size_t n = shape.actions;
  MUSTER_CHECK((mean.shape() == Shape{shape.rows, n}) && actions.size() == shape.rows * n &&
                   noise.size() == shape.rows * shape.in * n,
               std::to_string(noise.size()) + " numbers of noise and " +
                   std::to_string(actions.size()) + " of actions for mean " +
                   mean.shape().ToString());
  std::vector<float> deviations(shape.in * n);
  for (std::size_t i = 0; i < deviations.size(); ++i) {
    deviations[i] = GaussianDeviation(log_std.data()[i]);
  }
  for (std::size_t row = 0; row < shape.rows; ++row) {
    float* const to = actions.data() + row * n;
    const float* const own = noise.data() + row * shape.in * n;
    std::fill_n(to, n, 0.0F);
    for (std::size_t i = 0; i < shape.in; ++i) {
      const float feature = x.data()[row * shape.in + i];
      for (std::size_t a = 0; a < n; ++a) {
        to[a] += feature * deviations[i * n + a] * own[i * n + a];
      }
    }
    for (std::size_t a = 0; a < n; ++a) to[a] += mean.data()[row * n + a];
  }
}

}  // namespace muster
