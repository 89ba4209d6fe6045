#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

// Elements whose sum one block makes, in double; the blocks' sums are added in their order.
constexpr std::size_t kSumBlock = 65536;

template <class T>
void AddOf(Stream& stream, const AddArgs& args) {
  const T *const a = As<T>(args.a), *const b = As<T>(args.b);
  T* const y = As<T>(args.y);
  ForEach(stream, args.count,
          [=] __device__(std::size_t i) { y[i] = T(ToFloat(a[i]) + ToFloat(b[i])); });
}

template <class T>
void MultiplyOf(Stream& stream, const MultiplyArgs& args) {
  const T *const a = As<T>(args.a), *const b = As<T>(args.b);
  T* const y = As<T>(args.y);
  const bool accumulate = args.accumulate;
  ForEach(stream, args.count,
          [=] __device__(std::size_t i) { Put(y[i], ToFloat(a[i]) * ToFloat(b[i]), accumulate); });
}

template <class T>
void ScaleOf(Stream& stream, const ScaleArgs& args) {
  const T* const x = As<T>(args.x);
  T* const y = As<T>(args.y);
  const float factor = args.factor;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.count,
          [=] __device__(std::size_t i) { Put(y[i], ToFloat(x[i]) * factor, accumulate); });
}

template <class From, class To>
void CastFromTo(Stream& stream, const CastArgs& args) {
  const From* const x = As<From>(args.x);
  To* const y = As<To>(args.y);
  const bool accumulate = args.accumulate;
  ForEach(stream, args.count,
          [=] __device__(std::size_t i) { Put(y[i], ToFloat(x[i]), accumulate); });
}

template <class From>
void CastFrom(Stream& stream, const CastArgs& args) {
  if (args.y_type == DType::kF32) return CastFromTo<From, float>(stream, args);
  CastFromTo<From, BFloat16>(stream, args);
}

template <class T>
__global__ void PartialSums(const T* x, std::size_t count, double* sums) {
  const std::size_t begin = blockIdx.x * kSumBlock;
  const std::size_t size = count - begin < kSumBlock ? count - begin : kSumBlock;
  const double sum = BlockSumInDouble(size, [=](std::size_t i) { return ToFloat(x[begin + i]); });
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void AddPartialSums(const double* sums, unsigned count, float factor, float* y) {
  if (threadIdx.x != 0) return;
  double total = 0;
  for (unsigned i = 0; i < count; ++i) total += sums[i];
  y[0] = static_cast<float>(total * static_cast<double>(factor));
}

template <class T>
void SumOf(Stream& stream, const SumArgs& args) {
  const unsigned blocks = BlocksOf(args.count, kSumBlock);
  auto* const sums = stream.Scratch<double>(blocks);
  Launch(stream, blocks, kThreads, PartialSums<T>, As<T>(args.x), args.count, sums);
  Launch(stream, 1, kWarp, AddPartialSums, sums, blocks, args.factor, args.y);
}

template <class T>
void SumBackwardOf(Stream& stream, const SumBackwardArgs& args) {
  const float* const dy = args.dy;
  T* const dx = As<T>(args.dx);
  const float factor = args.factor;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.count,
          [=] __device__(std::size_t i) { Put(dx[i], dy[0] * factor, accumulate); });
}

}  // namespace

void Add(Stream& stream, const AddArgs& args) { MUSTER_BY_TYPE(args.type, AddOf, stream, args); }

void Multiply(Stream& stream, const MultiplyArgs& args) {
  MUSTER_BY_TYPE(args.type, MultiplyOf, stream, args);
}

void Scale(Stream& stream, const ScaleArgs& args) {
  MUSTER_BY_TYPE(args.type, ScaleOf, stream, args);
}

void Cast(Stream& stream, const CastArgs& args) {
  MUSTER_BY_TYPE(args.x_type, CastFrom, stream, args);
}

void Sum(Stream& stream, const SumArgs& args) { MUSTER_BY_TYPE(args.type, SumOf, stream, args); }

void SumBackward(Stream& stream, const SumBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, SumBackwardOf, stream, args);
}

}  // namespace muster::cuda
