#include <cmath>

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

// Rows of one block: the parts of the parameters' gradients are added within it, then across.
constexpr std::size_t kRowBlock = 64;

// A block of threads to a row. A thread meets the same elements in every loop, so it may read what
// it has written itself.
template <class T>
__global__ void ForwardRow(RowNormForwardArgs args) {
  const std::size_t width = args.width, at = blockIdx.x * width;
  const T* values = As<T>(args.x) + at;
  if (args.residual != nullptr) {
    const T* const residual = As<T>(args.residual) + at;
    T* const sum = As<T>(args.sum) + at;
    for (std::size_t i = threadIdx.x; i < width; i += kThreads) {
      sum[i] = T(ToFloat(values[i]) + ToFloat(residual[i]));
    }
    values = sum;
  }
  const T *const gain = As<T>(args.gain), *const bias = As<T>(args.bias);
  const auto count = static_cast<float>(width);
  float mean = 0;
  if (bias != nullptr) {
    mean = BlockSum(width, [=](std::size_t i) { return ToFloat(values[i]); }) / count;
  }
  const float squares = BlockSum(width, [=](std::size_t i) {
    const float d = ToFloat(values[i]) - mean;
    return d * d;
  });
  const float scale = 1.0F / std::sqrt(squares / count + args.epsilon);
  T* const y = As<T>(args.y) + at;
  for (std::size_t i = threadIdx.x; i < width; i += kThreads) {
    const float value = (ToFloat(values[i]) - mean) * scale * ToFloat(gain[i]);
    y[i] = T(bias != nullptr ? value + ToFloat(bias[i]) : value);
  }
  if (args.moments != nullptr && threadIdx.x == 0) args.moments[blockIdx.x] = {mean, scale};
}

// With g = dy * gain and n = normalised x: dx = (g - mean(g) - n * mean(g n)) * scale, without
// the mean of g where the norm does not centre.
template <class T>
__global__ void InputGradientOfRow(RowNormBackwardArgs args) {
  const std::size_t width = args.width, at = blockIdx.x * width;
  const T *const x = As<T>(args.x) + at, *const dy = As<T>(args.dy) + at;
  const T* const gain = As<T>(args.gain);
  const NormMoments m = args.moments[blockIdx.x];
  const auto g = [=](std::size_t i) { return ToFloat(dy[i]) * ToFloat(gain[i]); };
  const auto normal = [=](std::size_t i) { return (ToFloat(x[i]) - m.mean) * m.scale; };
  const auto count = static_cast<float>(width);
  const float mean_g = args.centred ? BlockSum(width, g) / count : 0.0F;
  const float mean_gn = BlockSum(width, [=](std::size_t i) { return g(i) * normal(i); }) / count;
  T* const dx = As<T>(args.dx) + at;
  for (std::size_t i = threadIdx.x; i < width; i += kThreads) {
    Put(dx[i], (g(i) - mean_g - normal(i) * mean_gn) * m.scale, args.accumulate_x);
  }
}

// parts[block, 0] = sum over the block's rows of dy * normalised x, parts[block, 1] = of dy; one
// thread to a column.
template <class T>
__global__ void ParameterGradientParts(RowNormBackwardArgs args, float* parts) {
  const std::size_t column = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= args.width) return;
  const std::size_t begin = blockIdx.y * kRowBlock;
  const std::size_t end = begin + kRowBlock < args.rows ? begin + kRowBlock : args.rows;
  float dgain = 0, dbias = 0;
  for (std::size_t row = begin; row < end; ++row) {
    const std::size_t at = row * args.width + column;
    const NormMoments m = args.moments[row];
    const float g = ToFloat(As<T>(args.dy)[at]);
    dgain += g * ((ToFloat(As<T>(args.x)[at]) - m.mean) * m.scale);
    dbias += g;
  }
  parts[blockIdx.y * 2 * args.width + column] = dgain;
  parts[(blockIdx.y * 2 + 1) * args.width + column] = dbias;
}

// to[c] (+)= the sum over blocks of parts[block, c], ascending; parts are `stride` apart.
void PutSum(Stream& stream, const float* parts, std::size_t blocks, std::size_t stride,
            std::size_t width, float* to, bool accumulate) {
  ForEach(stream, to == nullptr ? 0 : width, [=] __device__(std::size_t i) {
    float sum = accumulate ? to[i] : 0.0F;
    for (std::size_t block = 0; block < blocks; ++block) sum += parts[block * stride + i];
    to[i] = sum;
  });
}

template <class T>
void ForwardOf(Stream& stream, const RowNormForwardArgs& args) {
  Launch(stream, BlocksOf(args.rows, 1), kThreads, ForwardRow<T>, args);
}

template <class T>
void BackwardOf(Stream& stream, const RowNormBackwardArgs& args) {
  if (args.dx != nullptr) {
    Launch(stream, BlocksOf(args.rows, 1), kThreads, InputGradientOfRow<T>, args);
  }
  if (args.dgain == nullptr && args.dbias == nullptr) return;
  const unsigned blocks = BlocksOf(args.rows, kRowBlock);
  MUSTER_CHECK(blocks < 65536, "a norm's gradient of more than 4 million rows");
  auto* const parts = stream.Scratch<float>(blocks * 2 * args.width);
  Launch(stream, dim3(BlocksOf(args.width, kThreads), blocks), kThreads, ParameterGradientParts<T>,
         args, parts);
  PutSum(stream, parts, blocks, 2 * args.width, args.width, args.dgain, args.accumulate_gain);
  PutSum(stream, parts + args.width, blocks, 2 * args.width, args.width, args.dbias,
         args.accumulate_bias);
}

}  // namespace

void RowNormForward(Stream& stream, const RowNormForwardArgs& args) {
  MUSTER_BY_TYPE(args.type, ForwardOf, stream, args);
}

void RowNormBackward(Stream& stream, const RowNormBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, BackwardOf, stream, args);
}

}  // namespace muster::cuda
