#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

using kernels::FastSigmoid;
using kernels::FastTanh;

// What gate `gate` of element i is made from: the sum of the two products there.
template <class T>
__device__ float Before(const T* input, const T* product, std::size_t width, std::size_t i,
                        std::size_t gate) {
  const std::size_t at = i / width * 4 * width + gate * width + i % width;
  return ToFloat(input[at]) + ToFloat(product[at]);
}

template <class T>
void ForwardOf(Stream& stream, const LstmGatesForwardArgs& args) {
  const T *const input = As<T>(args.input), *const product = As<T>(args.product),
                 *const old_cell = As<T>(args.old_cell);
  T *const hidden = As<T>(args.hidden), *const cell = As<T>(args.cell);
  const std::size_t width = args.width;
  ForEach(stream, args.rows * width, [=] __device__(std::size_t i) {
    const float enter = FastSigmoid(Before(input, product, width, i, 0));
    const float keep = FastSigmoid(Before(input, product, width, i, 1));
    const float fresh = FastTanh(Before(input, product, width, i, 2));
    const float leave = FastSigmoid(Before(input, product, width, i, 3));
    const T now = T(keep * ToFloat(old_cell[i]) + enter * fresh);
    cell[i] = now;
    // From the cell as it is stored, as the backward pass finds it.
    hidden[i] = T(leave * FastTanh(ToFloat(now)));
  });
}

template <class T>
void HiddenBackwardOf(Stream& stream, const LstmHiddenBackwardArgs& args) {
  const T *const input = As<T>(args.input), *const product = As<T>(args.product),
                 *const cell = As<T>(args.cell), *const dhidden = As<T>(args.dhidden);
  T* const dcell = As<T>(args.dcell);
  const std::size_t width = args.width;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.rows * width, [=] __device__(std::size_t i) {
    const float t = FastTanh(ToFloat(cell[i]));
    const float leave = FastSigmoid(Before(input, product, width, i, 3));
    Put(dcell[i], ToFloat(dhidden[i]) * leave * (1.0F - t * t), accumulate);
  });
}

template <class T>
void CellBackwardOf(Stream& stream, const LstmCellBackwardArgs& args) {
  const LstmCellBackwardArgs a = args;
  const T *const input = As<T>(args.input), *const product = As<T>(args.product),
                 *const old_cell = As<T>(args.old_cell), *const cell = As<T>(args.cell),
                 *const dcell = As<T>(args.dcell), *const dhidden = As<T>(args.dhidden);
  T *const dinput = As<T>(args.dinput), *const dproduct = As<T>(args.dproduct),
           *const dold_cell = As<T>(args.dold_cell);
  ForEach(stream, args.rows * args.width, [=] __device__(std::size_t i) {
    const std::size_t width = a.width;
    const float enter = FastSigmoid(Before(input, product, width, i, 0));
    const float keep = FastSigmoid(Before(input, product, width, i, 1));
    const float fresh = FastTanh(Before(input, product, width, i, 2));
    const float leave = FastSigmoid(Before(input, product, width, i, 3));
    const float g = ToFloat(dcell[i]);
    const float h = dhidden != nullptr ? ToFloat(dhidden[i]) : 0.0F;
    const float slopes[4] = {g * fresh * enter * (1.0F - enter),
                             g * ToFloat(old_cell[i]) * keep * (1.0F - keep),
                             g * enter * (1.0F - fresh * fresh),
                             h * FastTanh(ToFloat(cell[i])) * leave * (1.0F - leave)};
    if (dold_cell != nullptr) Put(dold_cell[i], g * keep, a.accumulate_old_cell);
    for (std::size_t gate = 0; gate < 4; ++gate) {
      const std::size_t at = i / width * 4 * width + gate * width + i % width;
      if (dinput != nullptr) Put(dinput[at], slopes[gate], a.accumulate_input);
      if (dproduct != nullptr) Put(dproduct[at], slopes[gate], a.accumulate_product);
    }
  });
}

}  // namespace

void LstmGatesForward(Stream& stream, const LstmGatesForwardArgs& args) {
  MUSTER_BY_TYPE(args.type, ForwardOf, stream, args);
}

void LstmHiddenBackward(Stream& stream, const LstmHiddenBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, HiddenBackwardOf, stream, args);
}

void LstmCellBackward(Stream& stream, const LstmCellBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, CellBackwardOf, stream, args);
}

}  // namespace muster::cuda
