#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

// One product after the other: cuBLASLt's algorithm for one matrix, whatever the batch is.
void BatchedProduct(Stream& stream, const BatchedProductArgs& args) {
  const std::size_t in = SizeOf(args.first.type), out = SizeOf(args.first.c_type);
  for (std::size_t i = 0; i < args.batch; ++i) {
    ProductArgs product = args.first;
    product.a.data = As<std::byte>(args.first.a.data) + i * args.a_stride * in;
    product.b.data = As<std::byte>(args.first.b.data) + i * args.b_stride * in;
    product.c = As<std::byte>(args.first.c) + i * args.c_stride * out;
    Product(stream, product);
  }
}

}  // namespace muster::cuda
