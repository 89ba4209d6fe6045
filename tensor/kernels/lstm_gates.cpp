#include "tensor/kernels/gate_parts.h"
#include "tensor/kernels/put_part.h"
#include "tensor/kernels/recurrent.h"
#include "tensor/kernels/vector_math.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Gate parts.

template <class T>
float OutputGate(const T* input, const T* product, std::size_t width, std::size_t i) {
  return FastSigmoid(ToFloat(input[3 * width + i]) + ToFloat(product[3 * width + i]));
}

// hidden' = o tanh(cell'). It hands its gradient to the node of cell', which is recorded before it
// and so runs after it: only that one writes to the products, once.
template <class T>
struct HiddenNode {
  Tensor input, product, cell;  // The new cell.
  const T** handed_over;

  void Backward(Tape& tape, const T* dy) const {
    *handed_over = dy;
    const auto sink = tape.SinkFor<T>(cell);
    const std::size_t width = cell.shape()[1];
    ForGateParts(tape.pool(), cell.shape(),
                 [&](std::size_t row, std::size_t begin, std::size_t count) {
                   const std::size_t at = row * 4 * width + begin, state = row * width + begin;
                   const T *const in = input.as<T>() + at, *const made = product.as<T>() + at;
                   const T *const cells = cell.as<T>() + state, *const g = dy + state;
                   float slopes[kGatePart];
                   for (std::size_t i = 0; i < count; ++i) {
                     const float t = FastTanh(ToFloat(cells[i]));
                     const float o = OutputGate(in, made, width, i);
                     slopes[i] = ToFloat(g[i]) * o * (1.0F - t * t);
                   }
                   PutPart(sink, state, slopes, count);
                 });
  }
};

template <class T>
struct CellNode {
  Tensor input, product, old;
  const T* cells;                   // The new ones.
  const T* const* hidden_gradient;  // Null inside: nothing depends on the new hidden state.

  void Backward(Tape& tape, const T* dy) const {
    const auto dinput = tape.SinkFor<T>(input), dproduct = tape.SinkFor<T>(product),
               dold = tape.SinkFor<T>(old);
    const std::size_t width = old.shape()[1];
    ForGateParts(tape.pool(), old.shape(),
                 [&](std::size_t row, std::size_t begin, std::size_t count) {
                   const std::size_t at = row * 4 * width + begin, state = row * width + begin;
                   float slopes[4][kGatePart], dcell[kGatePart];
                   Slopes(dy, at, state, count, slopes, dcell);
                   PutPart(dold, state, dcell, count);
                   for (std::size_t gate = 0; gate < 4; ++gate) {
                     float copy[kGatePart];
                     std::copy_n(slopes[gate], count, copy);
                     PutPart(dinput, at + gate * width, slopes[gate], count);
                     PutPart(dproduct, at + gate * width, copy, count);
                   }
                 });
  }

  void Slopes(const T* dy, std::size_t at, std::size_t state, std::size_t count,
              float (&slopes)[4][kGatePart], float* dcell) const {
    const std::size_t width = old.shape()[1];
    const T *const in = input.as<T>() + at, *const made = product.as<T>() + at;
    const T *const olds = old.as<T>() + state, *const news = cells + state;
    float dhidden[kGatePart] = {};
    if (*hidden_gradient != nullptr) Convert(*hidden_gradient + state, dhidden, count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto before = [&](std::size_t gate) {
        return ToFloat(in[gate * width + i]) + ToFloat(made[gate * width + i]);
      };
      const float enter = FastSigmoid(before(0)), keep = FastSigmoid(before(1));
      const float fresh = FastTanh(before(2)), leave = FastSigmoid(before(3));
      const float g = ToFloat(dy[state + i]);
      slopes[0][i] = g * fresh * enter * (1.0F - enter);
      slopes[1][i] = g * ToFloat(olds[i]) * keep * (1.0F - keep);
      slopes[2][i] = g * enter * (1.0F - fresh * fresh);
      slopes[3][i] = dhidden[i] * FastTanh(ToFloat(news[i])) * leave * (1.0F - leave);
      dcell[i] = g * keep;
    }
  }
};

template <class T>
LstmState GatesOf(Tape& tape, Tensor input, Tensor product, Tensor old) {
  const std::size_t width = old.shape()[1];
  LstmState next{tape.NewOutput(old.shape(), kDTypeOf<T>),
                 tape.NewOutput(old.shape(), kDTypeOf<T>)};
  const T *const inputs = input.as<T>(), *const products = product.as<T>(),
                 *const olds = old.as<T>();
  T *const hidden = next.hidden.as<T>(), *const cells = next.cell.as<T>();
  ForGateParts(tape.pool(), old.shape(),
               [&](std::size_t row, std::size_t begin, std::size_t count) {
                 const T* const in = inputs + row * 4 * width + begin;
                 const T* const made = products + row * 4 * width + begin;
                 const std::size_t state = row * width + begin;
                 for (std::size_t i = 0; i < count; ++i) {
                   const auto before = [&](std::size_t gate) {
                     return ToFloat(in[gate * width + i]) + ToFloat(made[gate * width + i]);
                   };
                   const float enter = FastSigmoid(before(0)), keep = FastSigmoid(before(1));
                   const float fresh = FastTanh(before(2));
                   cells[state + i] = T(keep * ToFloat(olds[state + i]) + enter * fresh);
                 }
                 // From the cell as it is stored, as the backward pass finds it.
                 for (std::size_t i = 0; i < count; ++i) {
                   const float t = FastTanh(ToFloat(cells[state + i]));
                   hidden[state + i] = T(OutputGate(in, made, width, i) * t);
                 }
               });
  if (tape.Records({input, product, old})) {
    auto** const handed_over = tape.New<const T*>(nullptr);
    tape.Record(next.cell, {input, product, old},
                CellNode<T>{input, product, old, cells, handed_over});
    tape.Record(next.hidden, {next.cell}, HiddenNode<T>{input, product, next.cell, handed_over});
  }
  return next;
}

}  // namespace

LstmState LstmGates(Tape& tape, Tensor input_product, Tensor hidden_product, Tensor cell) {
  CheckGates(input_product, hidden_product, cell, 4);
  return Dispatch(cell.type(), [&](auto element) {
    return GatesOf<decltype(element)>(tape, input_product, hidden_product, cell);
  });
}

}  // namespace muster::ops
