#include "tensor/kernels/swiglu.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/put_part.h"
#include "tensor/kernels/vector_math.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Blocks and FastSilu.

constexpr std::size_t kPart = 256;  // Elements that are in f32 at once.

template <class T>
struct SwiGluNode {
  Tensor gate, up;

  void Backward(Tape& tape, const T* dy) const {
    const auto dgate = tape.SinkFor<T>(gate), dup = tape.SinkFor<T>(up);
    ForBlocks(tape.pool(), gate.elements(), kElementBlock,
              [&](std::size_t begin, std::size_t count) {
                for (std::size_t at = begin; at < begin + count; at += kPart) {
                  BackwardPart(dy, at, std::min(kPart, begin + count - at), dgate, dup);
                }
              });
  }

  void BackwardPart(const T* dy, std::size_t at, std::size_t count, const GradientSink<T>& dgate,
                    const GradientSink<T>& dup) const {
    float gates[kPart], ups[kPart], slopes[kPart];
    Convert(gate.as<T>() + at, gates, count);
    Convert(up.as<T>() + at, ups, count);
    Convert(dy + at, slopes, count);
    Wide([&] {
      for (std::size_t i = 0; i < count; ++i) {
        ups[i] *= slopes[i] * FastSiluSlope(gates[i]);
        slopes[i] *= FastSilu(gates[i]);
      }
    });
    PutPart(dgate, at, ups, count);
    PutPart(dup, at, slopes, count);
  }
};

template <class T>
Tensor SwiGluOf(Tape& tape, Tensor gate, Tensor up) {
  Tensor y = tape.NewOutput(gate.shape(), kDTypeOf<T>);
  const T *const gates = gate.as<T>(), *const ups = up.as<T>();
  T* const to = y.as<T>();
  ForBlocks(tape.pool(), y.elements(), kElementBlock, [&](std::size_t begin, std::size_t count) {
    float a[kPart], b[kPart];
    for (std::size_t at = begin; at < begin + count; at += kPart) {
      const std::size_t part = std::min(kPart, begin + count - at);
      Convert(gates + at, a, part);
      Convert(ups + at, b, part);
      Wide([&] {
        for (std::size_t i = 0; i < part; ++i) a[i] = FastSilu(a[i]) * b[i];
      });
      Convert(a, to + at, part);
    }
  });
  if (tape.Records({gate, up})) tape.Record(y, {gate, up}, SwiGluNode<T>{gate, up});
  return y;
}

}  // namespace

Tensor SwiGlu(Tape& tape, Tensor gate, Tensor up) {
  MUSTER_CHECK(gate.shape() == up.shape(),
               "gate " + gate.shape().ToString() + " and up " + up.shape().ToString());
  MUSTER_CHECK(gate.type() == up.type(),
               std::string("gate of ") + NameOf(gate.type()) + " and up of " + NameOf(up.type()));
  return Dispatch(gate.type(),
                  [&](auto element) { return SwiGluOf<decltype(element)>(tape, gate, up); });
}

}  // namespace muster::ops
