#include "tensor/kernels/activation.h"

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/stream.h"
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

// body(gradient): dx = gradient(saved, dy).
template <class Body>
void WithGradient(Activation activation, const Body& body) {
  switch (activation) {
    case Activation::kNone:
      return body([](float, float dy) { return dy; });
    case Activation::kRelu:  // A selection, not a product: an infinite dy behind a 0 stays out.
      return body([](float y, float dy) { return y > 0.0F ? dy : 0.0F; });
    case Activation::kTanh:
      return body([](float y, float dy) { return dy * (1.0F - y * y); });
    case Activation::kGelu:
      return body([](float x, float dy) { return dy * GeluSlope(x); });
    case Activation::kGeluTanh:
      return body([](float x, float dy) { return dy * GeluTanhSlope(x); });
    case Activation::kSilu:
      return body([](float x, float dy) { return dy * FastSiluSlope(x); });
    case Activation::kSigmoid:
      return body([](float y, float dy) { return dy * (y * (1.0F - y)); });
    case Activation::kSoftplus:
      return body([](float x, float dy) { return dy * FastSigmoid(x); });
  }
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

template <class T>
void ActivationBackward(Activation activation, const T* saved, const T* dy, T* dx,
                        std::size_t count) {
  WithGradient(activation, [&](auto gradient) {
    Wide([&] {
      for (std::size_t i = 0; i < count; ++i) {
        dx[i] = T(gradient(ToFloat(saved[i]), ToFloat(dy[i])));
      }
    });
  });
}

template <class T>
void StreamActivationBackward(Activation activation, const T* saved, const T* dy, std::size_t rows,
                              std::size_t columns, T* dx, float* sums) {
  WithGradient(activation, [&](auto gradient) {
    Wide([&] {
      alignas(kCacheLine) T part[kPart];
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t begin = 0; begin < columns; begin += kPart) {
          const std::size_t at = row * columns + begin, n = std::min(kPart, columns - begin);
          for (std::size_t i = 0; i < n; ++i) {
            part[i] = T(gradient(ToFloat(saved[at + i]), ToFloat(dy[at + i])));
          }
          float* const __restrict to = sums + begin;
          for (std::size_t i = 0; i < n; ++i) to[i] += ToFloat(part[i]);
          StreamRow(part, n, dx + at);
        }
      }
    });
  });
  EndStream(true);
}

template void ActivationBackward(Activation, const float*, const float*, float*, std::size_t);
template void ActivationBackward(Activation, const BFloat16*, const BFloat16*, BFloat16*,
                                 std::size_t);
template void StreamActivationBackward(Activation, const float*, const float*, std::size_t,
                                       std::size_t, float*, float*);
template void StreamActivationBackward(Activation, const BFloat16*, const BFloat16*, std::size_t,
                                       std::size_t, BFloat16*, float*);

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
