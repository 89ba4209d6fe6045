#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

// y = activation(sums + bias), where the product alone cannot do it.
template <class T>
void Activate(Stream& stream, const LinearForwardArgs& args, const float* sums) {
  const LinearForwardArgs a = args;
  const T* const bias = As<T>(args.bias);
  T *const y = As<T>(args.y), *const before = As<T>(args.before);
  ForEach(stream, args.rows * args.out, [=] __device__(std::size_t i) {
    const float x = bias != nullptr ? sums[i] + ToFloat(bias[i % a.out]) : sums[i];
    if (before != nullptr) before[i] = T(x);
    // As on the CPU: a slope that is found from the input is of what can be kept of it.
    const bool kept = kernels::SlopeNeedsInput(a.activation);
    y[i] = T(kernels::ActivationOf(a.activation, kept ? ToFloat(T(x)) : x));
  });
}

template <class T>
void ForwardOf(Stream& stream, const LinearForwardArgs& args) {
  ProductArgs product;
  product.rows = args.rows;
  product.columns = args.out;
  product.inner = args.in;
  product.type = args.type;
  product.a = {args.x, args.in, 1};
  product.b = {args.weight, 1, args.in};
  product.c_row_stride = args.out;
  if (args.activation == Activation::kNone) {
    product.bias = args.bias;
    product.c_type = args.type;
    product.c = args.y;
    return Product(stream, product);
  }
  auto* const sums = stream.Scratch<float>(args.rows * args.out);
  product.c = sums;
  Product(stream, product);
  Activate<T>(stream, args, sums);
}

template <class T>
void BackwardOf(Stream& stream, const LinearBackwardArgs& args) {
  const void* dy = args.dy;
  if (args.activation != Activation::kNone) {
    const std::size_t count = args.rows * args.out;
    T* const masked = stream.Scratch<T>(count);
    ActivationBackward(stream, {args.activation, args.type, count, args.saved, dy, masked, false});
    dy = masked;
  }
  if (args.dbias != nullptr) {
    SumRows(stream, {args.type, args.rows, args.out, dy, args.dbias, args.accumulate_bias});
  }
  ProductArgs product;
  product.type = args.type;
  product.columns = args.in;
  product.c_row_stride = args.in;
  if (args.dweight != nullptr) {  // dW[out, in] = dy^T x.
    product.rows = args.out;
    product.inner = args.rows;
    product.a = {dy, 1, args.out};
    product.b = {args.x, args.in, 1};
    product.accumulate = args.accumulate_weight;
    product.c_type = DType::kF32;
    product.c = args.dweight;
    Product(stream, product);
  }
  if (args.dx != nullptr) {  // dx[rows, in] = dy W.
    product.rows = args.rows;
    product.inner = args.out;
    product.a = {dy, args.out, 1};
    product.b = {args.weight, args.in, 1};
    product.accumulate = args.accumulate_x;
    product.c_type = args.type;
    product.c = args.dx;
    Product(stream, product);
  }
}

}  // namespace

void LinearForward(Stream& stream, const LinearForwardArgs& args) {
  MUSTER_BY_TYPE(args.type, ForwardOf, stream, args);
}

void LinearBackward(Stream& stream, const LinearBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, BackwardOf, stream, args);
}

}  // namespace muster::cuda
