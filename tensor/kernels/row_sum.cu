#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

constexpr std::size_t kRows = 128;  // As on the CPU: the sums have the same bits.

template <class T>
__global__ void PartialSums(const T* x, std::size_t rows, std::size_t columns, float* parts) {
  const std::size_t column = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= columns) return;
  const std::size_t begin = blockIdx.y * kRows;
  const std::size_t end = begin + kRows < rows ? begin + kRows : rows;
  float sum = 0;
  for (std::size_t row = begin; row < end; ++row) sum += ToFloat(x[row * columns + column]);
  parts[blockIdx.y * columns + column] = sum;
}

template <class T>
void SumRowsOf(Stream& stream, const SumRowsArgs& args) {
  const unsigned blocks = BlocksOf(args.rows, kRows);
  MUSTER_CHECK(blocks < 65536, "column sums of more than 8 million rows");
  const std::size_t columns = args.columns;
  auto* const parts = stream.Scratch<float>(blocks * columns);
  Launch(stream, dim3(BlocksOf(columns, kThreads), blocks), kThreads, PartialSums<T>, As<T>(args.x),
         args.rows, columns, parts);
  float* const sums = args.sums;
  const bool accumulate = args.accumulate;
  ForEach(stream, columns, [=] __device__(std::size_t column) {
    float sum = 0;
    for (unsigned block = 0; block < blocks; ++block) sum += parts[block * columns + column];
    Put(sums[column], sum, accumulate);
  });
}

}  // namespace

void SumRows(Stream& stream, const SumRowsArgs& args) {
  MUSTER_BY_TYPE(args.type, SumRowsOf, stream, args);
}

}  // namespace muster::cuda
