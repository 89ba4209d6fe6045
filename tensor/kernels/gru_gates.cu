#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

struct Gates {
  float reset, update, fresh, hidden_fresh;
};

// From element `at` of a row of the products on, whose gates are `width` apart.
template <class T>
__device__ Gates GatesAt(const T* input, const T* product, std::size_t at, std::size_t width) {
  const float h = ToFloat(product[at + 2 * width]);
  const float reset = kernels::FastSigmoid(ToFloat(input[at]) + ToFloat(product[at]));
  const float update =
      kernels::FastSigmoid(ToFloat(input[at + width]) + ToFloat(product[at + width]));
  return {reset, update, kernels::FastTanh(ToFloat(input[at + 2 * width]) + reset * h), h};
}

template <class T>
void ForwardOf(Stream& stream, const GruGatesForwardArgs& args) {
  const T *const input = As<T>(args.input), *const product = As<T>(args.product),
                 *const hidden = As<T>(args.hidden);
  T* const y = As<T>(args.y);
  const std::size_t width = args.width;
  ForEach(stream, args.rows * width, [=] __device__(std::size_t i) {
    const Gates gates = GatesAt(input, product, i / width * 3 * width + i % width, width);
    y[i] = T((ToFloat(hidden[i]) - gates.fresh) * gates.update + gates.fresh);
  });
}

template <class T>
void BackwardOf(Stream& stream, const GruGatesBackwardArgs& args) {
  const GruGatesBackwardArgs a = args;
  const T *const input = As<T>(args.input), *const product = As<T>(args.product),
                 *const hidden = As<T>(args.hidden), *const dy = As<T>(args.dy);
  T *const dinput = As<T>(args.dinput), *const dproduct = As<T>(args.dproduct),
           *const dhidden = As<T>(args.dhidden);
  ForEach(stream, args.rows * args.width, [=] __device__(std::size_t i) {
    const std::size_t width = a.width, at = i / width * 3 * width + i % width;
    const Gates gates = GatesAt(input, product, at, width);
    const float g = ToFloat(dy[i]);
    const float r = gates.reset, u = gates.update, n = gates.fresh;
    const float dfresh = g * (1.0F - u) * (1.0F - n * n);
    const float dreset = dfresh * gates.hidden_fresh * r * (1.0F - r);
    const float dupdate = g * (ToFloat(hidden[i]) - n) * u * (1.0F - u);
    if (dhidden != nullptr) Put(dhidden[i], g * u, a.accumulate_hidden);
    if (dinput != nullptr) {
      Put(dinput[at], dreset, a.accumulate_input);
      Put(dinput[at + width], dupdate, a.accumulate_input);
      Put(dinput[at + 2 * width], dfresh, a.accumulate_input);
    }
    if (dproduct != nullptr) {
      Put(dproduct[at], dreset, a.accumulate_product);
      Put(dproduct[at + width], dupdate, a.accumulate_product);
      Put(dproduct[at + 2 * width], dfresh * r, a.accumulate_product);
    }
  });
}

}  // namespace

void GruGatesForward(Stream& stream, const GruGatesForwardArgs& args) {
  MUSTER_BY_TYPE(args.type, ForwardOf, stream, args);
}

void GruGatesBackward(Stream& stream, const GruGatesBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, BackwardOf, stream, args);
}

}  // namespace muster::cuda
