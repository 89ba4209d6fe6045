#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/kernels/gaussian_row.h"
#include "tensor/kernels/normal_draw.h"

namespace muster::cuda {

namespace {

using kernels::GaussianElement;
using kernels::GaussianSlopes;

// Rows of one block: the parts of a parameter's gradient are added within it, then across.
constexpr std::size_t kRowBlock = 64;

// One thread to a row, elements in ascending order: rows of actions are short.
template <class T>
__device__ GaussianElement RowOf(const T* mean, const T* log_std, const float* actions,
                                 std::size_t width) {
  GaussianElement row{};
  for (std::size_t i = 0; i < width; ++i) {
    const GaussianElement element =
        kernels::GaussianOf(ToFloat(mean[i]), ToFloat(log_std[i]), actions[i]);
    row.log_prob += element.log_prob;
    row.entropy += element.entropy;
  }
  return row;
}

template <class T>
void ForwardOf(Stream& stream, const GaussianForwardArgs& args) {
  const GaussianForwardArgs a = args;
  const T *const mean = As<T>(args.mean), *const log_std = As<T>(args.log_std);
  ForEach(stream, args.sizes.rows, [=] __device__(std::size_t row) {
    const std::size_t at = row * a.sizes.width, std_at = a.sizes.shared ? 0 : at;
    const GaussianElement result =
        RowOf(mean + at, log_std + std_at, a.actions + at, a.sizes.width);
    a.log_probs[row] = result.log_prob;
    a.entropy[row] = result.entropy;
  });
}

// The slopes of element `i` of `row`.
template <class T>
__device__ GaussianSlopes SlopesAt(const GaussianBackwardArgs& a, std::size_t row, std::size_t i) {
  const float g = a.dlog_probs != nullptr ? a.dlog_probs[row] : 0.0F;
  const float h = a.dentropy != nullptr ? a.dentropy[row] : 0.0F;
  if (g == 0.0F && h == 0.0F) return {0, 0};
  const std::size_t at = row * a.sizes.width + i;
  return kernels::GaussianSlopesOf(ToFloat(As<T>(a.mean)[at]),
                                   ToFloat(As<T>(a.log_std)[a.sizes.shared ? i : at]),
                                   a.actions[at], g, h);
}

// d loss / d log_std that all rows share: blocks of rows in ascending order, then the blocks.
template <class T>
void SharedGradient(Stream& stream, const GaussianBackwardArgs& args) {
  const GaussianBackwardArgs a = args;
  const std::size_t width = args.sizes.width;
  const std::size_t blocks = (args.sizes.rows + kRowBlock - 1) / kRowBlock;
  auto* const parts = stream.Scratch<float>(blocks * width);
  ForEach(stream, blocks * width, [=] __device__(std::size_t i) {
    const std::size_t begin = i / width * kRowBlock, left = a.sizes.rows - begin;
    float sum = 0;
    for (std::size_t row = begin; row < begin + (left < kRowBlock ? left : kRowBlock); ++row) {
      sum += SlopesAt<T>(a, row, i % width).log_std;
    }
    parts[i] = sum;
  });
  float* const to = As<float>(args.dlog_std);
  ForEach(stream, width, [=] __device__(std::size_t i) {
    float sum = a.accumulate_log_std ? to[i] : 0.0F;
    for (std::size_t block = 0; block < blocks; ++block) sum += parts[block * width + i];
    to[i] = sum;
  });
}

template <class T>
void BackwardOf(Stream& stream, const GaussianBackwardArgs& args) {
  const GaussianBackwardArgs a = args;
  T* const dmean = As<T>(args.dmean);
  T* const dlog_std = args.sizes.shared ? nullptr : As<T>(args.dlog_std);
  ForEach(stream, args.sizes.rows * args.sizes.width, [=] __device__(std::size_t i) {
    const GaussianSlopes slopes = SlopesAt<T>(a, i / a.sizes.width, i % a.sizes.width);
    if (dmean != nullptr) Put(dmean[i], slopes.mean, a.accumulate_mean);
    if (dlog_std != nullptr) Put(dlog_std[i], slopes.log_std, a.accumulate_log_std);
  });
  if (args.sizes.shared && args.dlog_std != nullptr) SharedGradient<T>(stream, args);
}

template <class T>
void SampleOf(Stream& stream, const SampleGaussianArgs& args) {
  const SampleGaussianArgs a = args;
  const T *const mean = As<T>(args.mean), *const log_std = As<T>(args.log_std);
  ForEach(stream, args.sizes.rows, [=] __device__(std::size_t row) {
    const std::size_t width = a.sizes.width, at = row * width, std_at = a.sizes.shared ? 0 : at;
    const std::size_t blocks = (width + 3) / 4;
    for (std::size_t b = 0; b < blocks; ++b) {
      const auto noise = kernels::NormalDraws(DrawBlock(a.keys[row], blocks, b));
      for (std::size_t i = 4 * b; i < width && i < 4 * b + 4; ++i) {
        const float deviation = kernels::GaussianDeviation(ToFloat(log_std[std_at + i]));
        a.actions[at + i] = ToFloat(mean[at + i]) + deviation * noise[i % 4];
      }
    }
    if (a.log_probs == nullptr) return;
    a.log_probs[row] = RowOf(mean + at, log_std + std_at, a.actions + at, width).log_prob;
  });
}

}  // namespace

void GaussianForward(Stream& stream, const GaussianForwardArgs& args) {
  MUSTER_BY_TYPE(args.sizes.type, ForwardOf, stream, args);
}

void GaussianBackward(Stream& stream, const GaussianBackwardArgs& args) {
  MUSTER_BY_TYPE(args.sizes.type, BackwardOf, stream, args);
}

void SampleGaussian(Stream& stream, const SampleGaussianArgs& args) {
  MUSTER_BY_TYPE(args.sizes.type, SampleOf, stream, args);
}

}  // namespace muster::cuda
