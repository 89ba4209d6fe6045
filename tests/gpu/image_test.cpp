#include "tensor/kernels/conv2d.h"
#include "tensor/kernels/group_norm.h"
#include "tensor/kernels/pool2d.h"
#include "tests/support/gpu.h"

namespace muster {
namespace {

using testing::BackwardFrom;
using testing::RandomValues;

// An image's size, and the window of a pool.
struct Pooling {
  std::size_t height, width;
  ops::Pool2dOptions options;
};

class GpuImage : public testing::GpuTest {
 protected:
  template <class T>
  void CheckPools(const Pooling& pooling);
  template <class T>
  void CheckConvolution(const ops::Conv2dOptions& options);
};

// Windows that tile the image, overlap, leave gaps, or begin in the padding.
template <class T>
void GpuImage::CheckPools(const Pooling& pooling) {
  const auto [height, width, options] = pooling;
  SCOPED_TRACE("window " + std::to_string(options.kernel) + ", stride " +
               std::to_string(options.stride));
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kSamples = 3, kChannels = 5;
  kernels::PoolShape shape;
  shape.samples = kSamples;
  shape.height = height;
  shape.width = width;
  shape.channels = kChannels;
  shape.out_height = (height + 2 * options.padding - options.kernel) / options.stride + 1;
  shape.out_width = (width + 2 * options.padding - options.kernel) / options.stride + 1;
  shape.kernel = options.kernel;
  shape.stride = options.stride;
  shape.padding = options.padding;
  auto x = RandomValues<T>(kSamples * shape.image(), 1);
  x[40] = x[45] = T(std::nanf(""));
  const std::size_t count = kSamples * shape.output();
  const auto dy = RandomValues<T>(count, 2);
  T *const from = Upload(x), *const gy = Upload(dy), *const y = Room<T>(count),
           *const dx = Room<T>(x.size());
  auto* const places = Room<std::uint8_t>(count);
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({kSamples, height, width, kChannels}, x.data());
  const Tensor largest = ops::MaxPool2d(tape, tx, options);
  BackwardFrom(tape, largest, dy);
  Must(functions_->MaxPoolForward(stream_, {shape, kType, from, y, places}));
  ExpectNear(y, largest.as<T>(), count, "largest", 0);
  Must(functions_->MaxPoolBackward(stream_, {shape, kType, places, gy, dx, false}));
  ExpectNear(dx, tx.gradient_as<T>(), x.size(), "dx of the largest", 0);
  tape.Begin({});
  const Tensor tz = tape.InputWithGradient({kSamples, height, width, kChannels}, x.data());
  const Tensor mean = ops::AvgPool2d(tape, tz, options);
  BackwardFrom(tape, mean, dy);
  Must(functions_->AvgPoolForward(stream_, {shape, kType, from, y}));
  ExpectNear(y, mean.as<T>(), count, "mean", 0);
  Must(functions_->AvgPoolBackward(stream_, {shape, kType, gy, dx, false}));
  ExpectNear(dx, tz.gradient_as<T>(), x.size(), "dx of the mean", 0);
}

MUSTER_TEST_BOTH_TYPES(GpuImage, PoolsAreThoseOfTheCpu) {
  CheckPools<T>({6, 8, {2, 2}});
  CheckPools<T>({7, 9, {3, 2}});
  CheckPools<T>({9, 8, {2, 3}});
  CheckPools<T>({5, 5, {3, 1}});
  CheckPools<T>({8, 7, {3, 2, 1}});
}

TEST_F(GpuImage, GroupNorm) {
  constexpr std::size_t kSamples = 3, kHeight = 7, kWidth = 5, kChannels = 12, kGroups = 4;
  constexpr std::size_t kCount = kSamples * kHeight * kWidth * kChannels;
  const auto x = RandomValues<float>(kCount, 3, 2), gain = RandomValues<float>(kChannels, 4),
             bias = RandomValues<float>(kChannels, 5), dy = RandomValues<float>(kCount, 6);
  std::vector<float> dgain(kChannels), dbias(kChannels);
  const std::vector<LeafBinding> leaves = {{{kChannels}, gain.data(), dgain.data()},
                                           {{kChannels}, bias.data(), dbias.data()}};
  Tape tape;
  tape.Begin(leaves);
  const Tensor tx = tape.InputWithGradient({kSamples, kHeight, kWidth, kChannels}, x.data());
  const Tensor ty = ops::GroupNorm(tape, tx, tape.Parameter(0), tape.Parameter(1), kGroups);
  BackwardFrom(tape, ty, dy);
  const std::size_t positions = kHeight * kWidth, width = kChannels / kGroups;
  float *const from = Upload(x), *const g = Upload(gain), *const y = Room<float>(kCount),
               *const moments = Room<float>(2 * kSamples * kGroups);
  Must(functions_->GroupNormForward(
      stream_, {kSamples, positions, kGroups, width, from, g, Upload(bias), 1e-5F, y, moments}));
  ExpectNear(y, ty.data(), kCount, "y");
  float *const dx = Room<float>(kCount), *const dg = Room<float>(kChannels),
               *const db = Room<float>(kChannels);
  Must(
      functions_->GroupNormBackward(stream_, {kSamples, positions, kGroups, width, from, g, moments,
                                              Upload(dy), dx, dg, db, true, false, true}));
  ExpectNear(dx, tx.gradient(), kCount, "dx");
  ExpectNear(dg, dgain.data(), kChannels, "dgain", 1e-4F);
  ExpectNear(db, dbias.data(), kChannels, "dbias", 1e-4F);
}

template <class T>
void GpuImage::CheckConvolution(const ops::Conv2dOptions& options) {
  SCOPED_TRACE("stride " + std::to_string(options.stride) + ", pool " +
               std::to_string(options.max_pool));
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kSamples = 3, kHeight = 11, kWidth = 9, kIn = 4, kOut = 8;
  const auto x = RandomValues<T>(kSamples * kHeight * kWidth * kIn, 7),
             weight = RandomValues<T>(kOut * kIn * 3 * 2, 8), bias = RandomValues<T>(kOut, 9);
  std::vector<float> dw(weight.size()), db(kOut);
  const std::vector<LeafBinding> leaves = {{{kOut, kIn, 3, 2}, weight.data(), dw.data(), kType},
                                           {{kOut}, bias.data(), db.data(), kType}};
  Tape tape;
  tape.Begin(leaves);
  const Tensor tx = tape.InputWithGradient({kSamples, kHeight, kWidth, kIn}, x.data());
  const Tensor ty = ops::Conv2d(tape, tx, tape.Parameter(0), tape.Parameter(1), options);
  const auto dy = RandomValues<T>(ty.elements(), 10);
  BackwardFrom(tape, ty, dy);
  kernels::ConvolutionShape s;
  s.height = kHeight;
  s.width = kWidth;
  s.in = kIn;
  s.out = kOut;
  s.kernel_height = 3;
  s.kernel_width = 2;
  s.stride = options.stride;
  s.padding = options.padding;
  s.out_height = (kHeight + 2 * options.padding - 3) / options.stride + 1;
  s.out_width = (kWidth + 2 * options.padding - 2) / options.stride + 1;
  s.bias = true;
  s.relu = options.relu;
  s.type = kType;
  T *const from = Upload(x), *const w = Upload(weight), *const y = Room<T>(dy.size());
  auto* const places = options.max_pool > 1 ? Room<std::uint8_t>(dy.size()) : nullptr;
  Must(functions_->Conv2dForward(
      stream_, {s, kSamples, options.max_pool, from, w, Upload(bias), y, places}));
  ExpectNear(y, ty.as<T>(), dy.size(), "y", 1e-4F);
  T* const dx = Room<T>(x.size());
  float *const gw = Room<float>(dw.size()), *const gb = Room<float>(kOut);
  Must(functions_->Conv2dBackward(stream_, {s, kSamples, options.max_pool, from, w, y, places,
                                            Upload(dy), dx, gw, gb, true, true, false}));
  const float loose = kType == DType::kF32 ? 1e-4F : 2e-2F;
  ExpectNear(dx, tx.gradient_as<T>(), x.size(), "dx", loose);
  ExpectNear(gw, dw.data(), dw.size(), "dweight", loose);
  ExpectNear(gb, db.data(), kOut, "dbias", loose);
}

MUSTER_TEST_BOTH_TYPES(GpuImage, Convolutions) {
  CheckConvolution<T>({.stride = 1, .padding = 0});
  CheckConvolution<T>({.stride = 2, .padding = 1});
  // Rounded to bf16, another element of a window may be the largest.
  if (kDTypeOf<T> == DType::kBF16) return;
  CheckConvolution<T>({.stride = 2, .padding = 1, .relu = true});
  CheckConvolution<T>({.stride = 1, .padding = 1, .relu = true, .max_pool = 2});
}

}  // namespace
}  // namespace muster
