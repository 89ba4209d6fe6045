#include "tensor/kernels/activation.h"

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/vector_math.h"
#include "tensor/kernels/wide.h"

namespace muster::kernels {

namespace {

// Functions are of types of their own: one that is known only when it runs would not be inlined.
template <class Function>
void Map(const float* x, float* y, std::size_t count, const Function& function) {
  Wide([&] {
    for (std::size_t i = 0; i < count; ++i) y[i] = function(x[i]);
  });
}

template <class Slope>
void MapSlope(const float* saved, const float* dy, float* dx, std::size_t count,
              const Slope& slope) {
  Wide([&] {
    for (std::size_t i = 0; i < count; ++i) dx[i] = dy[i] * slope(saved[i]);
  });
}

}  // namespace

void ActivationForward(Activation activation, const float* x, float* y, std::size_t count) {
  switch (activation) {
    case Activation::kNone:
      return Map(x, y, count, [](float v) { return v; });
    case Activation::kRelu:
      return Map(x, y, count, [](float v) { return v < 0.0F ? 0.0F : v; });
    case Activation::kTanh:
      return Map(x, y, count, [](float v) { return FastTanh(v); });
    case Activation::kGelu:
      return Map(x, y, count, [](float v) { return FastGelu(v); });
    case Activation::kGeluTanh:
      return Map(x, y, count, [](float v) { return FastGeluTanh(v); });
    case Activation::kSilu:
      return Map(x, y, count, [](float v) { return FastSilu(v); });
    case Activation::kSigmoid:
      return Map(x, y, count, [](float v) { return FastSigmoid(v); });
    case Activation::kSoftplus:
      return Map(x, y, count, [](float v) { return FastSoftplus(v); });
  }
}

void ActivationBackward(Activation activation, const float* saved, const float* dy, float* dx,
                        std::size_t count) {
  switch (activation) {
    case Activation::kNone:
      return Map(dy, dx, count, [](float v) { return v; });
    case Activation::kRelu:  // A selection, not a product: an infinite dy behind a 0 stays out.
      return Wide([&] {
        for (std::size_t i = 0; i < count; ++i) dx[i] = saved[i] > 0.0F ? dy[i] : 0.0F;
      });
    case Activation::kTanh:
      return MapSlope(saved, dy, dx, count, [](float y) { return 1.0F - y * y; });
    case Activation::kGelu:
      return MapSlope(saved, dy, dx, count, [](float v) { return GeluSlope(v); });
    case Activation::kGeluTanh:
      return MapSlope(saved, dy, dx, count, [](float v) { return GeluTanhSlope(v); });
    case Activation::kSilu:
      return MapSlope(saved, dy, dx, count, [](float v) { return FastSiluSlope(v); });
    case Activation::kSigmoid:
      return MapSlope(saved, dy, dx, count, [](float y) { return y * (1.0F - y); });
    case Activation::kSoftplus:
      return MapSlope(saved, dy, dx, count, [](float v) { return FastSigmoid(v); });
  }
}

namespace {

constexpr std::size_t kPart = 1024;  // Elements that are turned into f32 at once.

}  // namespace

void ActivationForward(Activation activation, const BFloat16* x, BFloat16* y, std::size_t count) {
  float part[kPart];
  for (std::size_t i = 0; i < count; i += kPart) {
    const std::size_t n = std::min(kPart, count - i);
    Convert(x + i, part, n);
    ActivationForward(activation, part, part, n);
    Convert(part, y + i, n);
  }
}

void ActivationBackward(Activation activation, const BFloat16* saved, const BFloat16* dy,
                        BFloat16* dx, std::size_t count) {
  float values[kPart], slopes[kPart];
  for (std::size_t i = 0; i < count; i += kPart) {
    const std::size_t n = std::min(kPart, count - i);
    Convert(saved + i, values, n);
    Convert(dy + i, slopes, n);
    ActivationBackward(activation, values, slopes, slopes, n);
    Convert(slopes, dx + i, n);
  }
}

}  // namespace muster::kernels

namespace muster::ops {

namespace {

using kernels::ForBlocks;
using kernels::kElementBlock;

template <class T>
struct ActivateNode {
  Tensor x;
  const T* saved;
  Activation activation;

  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(x);
    ForBlocks(tape.pool(), x.elements(), kElementBlock, [&](std::size_t begin, std::size_t count) {
      T* const dx = sink.data + begin;
      if (!sink.accumulate) {
        kernels::ActivationBackward(activation, saved + begin, dy + begin, dx, count);
        return;
      }
      T part[256];
      for (std::size_t i = 0; i < count; i += 256) {
        const std::size_t n = std::min<std::size_t>(256, count - i);
        kernels::ActivationBackward(activation, saved + begin + i, dy + begin + i, part, n);
        kernels::AddTo(part, dx + i, n);
      }
    });
  }
};

template <class T>
Tensor ActivateOf(Tape& tape, Tensor x, Activation activation) {
  Tensor y = tape.NewOutput(x.shape(), kDTypeOf<T>);
  const T* const from = x.as<T>();
  T* const to = y.as<T>();
  ForBlocks(tape.pool(), x.elements(), kElementBlock, [&](std::size_t begin, std::size_t count) {
    kernels::ActivationForward(activation, from + begin, to + begin, count);
  });
  if (tape.Records({x})) {
    const T* const saved = kernels::SlopeNeedsInput(activation) ? from : to;
    tape.Record(y, {x}, ActivateNode<T>{x, saved, activation});
  }
  return y;
}

}  // namespace

Tensor Activate(Tape& tape, Tensor x, Activation activation) {
  if (activation == Activation::kNone) return x;
  return Dispatch(x.type(),
                  [&](auto element) { return ActivateOf<decltype(element)>(tape, x, activation); });
}

}  // namespace muster::ops
