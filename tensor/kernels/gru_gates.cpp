#include "tensor/kernels/gate_parts.h"
#include "tensor/kernels/put_part.h"
#include "tensor/kernels/recurrent.h"
#include "tensor/kernels/vector_math.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Gate parts.

// The gates of one part, and what the reset gate weighs.
struct Gates {
  float reset[kGatePart], update[kGatePart], fresh[kGatePart], hidden_fresh[kGatePart];
};

// From element `at` of a row of the products on, whose gates are `width` apart.
template <class T>
void Compute(const T* input, const T* hidden, std::size_t width, std::size_t count, Gates& gates) {
  for (std::size_t i = 0; i < count; ++i) {
    const float h = ToFloat(hidden[2 * width + i]);
    const float reset = FastSigmoid(ToFloat(input[i]) + ToFloat(hidden[i]));
    gates.reset[i] = reset;
    gates.update[i] = FastSigmoid(ToFloat(input[width + i]) + ToFloat(hidden[width + i]));
    gates.fresh[i] = FastTanh(ToFloat(input[2 * width + i]) + reset * h);
    gates.hidden_fresh[i] = h;
  }
}

template <class T>
struct GruNode {
  Tensor input, product, hidden;

  void Backward(Tape& tape, const T* dy) const {
    const auto dinput = tape.SinkFor<T>(input), dproduct = tape.SinkFor<T>(product),
               dhidden = tape.SinkFor<T>(hidden);
    const std::size_t width = hidden.shape()[1];
    ForGateParts(tape.pool(), hidden.shape(),
                 [&](std::size_t row, std::size_t begin, std::size_t count) {
                   const std::size_t at = row * 3 * width + begin, state = row * width + begin;
                   Part(dy + state, at, state, count, dinput, dproduct, dhidden);
                 });
  }

  void Part(const T* dy, std::size_t at, std::size_t state, std::size_t count,
            const GradientSink<T>& dinput, const GradientSink<T>& dproduct,
            const GradientSink<T>& dhidden) const {
    const std::size_t width = hidden.shape()[1];
    const T* const old = hidden.as<T>() + state;
    Gates gates;
    Compute(input.as<T>() + at, product.as<T>() + at, width, count, gates);
    float dreset[kGatePart], dupdate[kGatePart], dfresh[kGatePart], dhidden_fresh[kGatePart],
        dold[kGatePart];
    for (std::size_t i = 0; i < count; ++i) {
      const float g = ToFloat(dy[i]);
      const float r = gates.reset[i], u = gates.update[i], n = gates.fresh[i];
      dold[i] = g * u;
      dfresh[i] = g * (1.0F - u) * (1.0F - n * n);
      dhidden_fresh[i] = dfresh[i] * r;
      dreset[i] = dfresh[i] * gates.hidden_fresh[i] * r * (1.0F - r);
      dupdate[i] = g * (ToFloat(old[i]) - n) * u * (1.0F - u);
    }
    PutPart(dhidden, state, dold, count);
    PutBoth(dinput, dproduct, at, dreset, count);
    PutBoth(dinput, dproduct, at + width, dupdate, count);
    PutPart(dinput, at + 2 * width, dfresh, count);
    PutPart(dproduct, at + 2 * width, dhidden_fresh, count);
  }

  static void PutBoth(const GradientSink<T>& a, const GradientSink<T>& b, std::size_t at,
                      float* values, std::size_t count) {
    float copy[kGatePart];
    std::copy_n(values, count, copy);
    PutPart(a, at, values, count);
    PutPart(b, at, copy, count);
  }
};

template <class T>
Tensor GatesOf(Tape& tape, Tensor input, Tensor product, Tensor hidden) {
  const std::size_t width = hidden.shape()[1];
  Tensor y = tape.NewOutput(hidden.shape(), kDTypeOf<T>);
  const T *const inputs = input.as<T>(), *const products = product.as<T>();
  const T* const states = hidden.as<T>();
  T* const to = y.as<T>();
  ForGateParts(tape.pool(), hidden.shape(),
               [&](std::size_t row, std::size_t begin, std::size_t count) {
                 const std::size_t at = row * 3 * width + begin, state = row * width + begin;
                 Gates gates;
                 Compute(inputs + at, products + at, width, count, gates);
                 for (std::size_t i = 0; i < count; ++i) {
                   const float old = ToFloat(states[state + i]);
                   to[state + i] = T((old - gates.fresh[i]) * gates.update[i] + gates.fresh[i]);
                 }
               });
  if (tape.Records({input, product, hidden})) {
    tape.Record(y, {input, product, hidden}, GruNode<T>{input, product, hidden});
  }
  return y;
}

}  // namespace

Tensor GruGates(Tape& tape, Tensor input_product, Tensor hidden_product, Tensor hidden) {
  CheckGates(input_product, hidden_product, hidden, 3);
  return Dispatch(hidden.type(), [&](auto element) {
    return GatesOf<decltype(element)>(tape, input_product, hidden_product, hidden);
  });
}

}  // namespace muster::ops
