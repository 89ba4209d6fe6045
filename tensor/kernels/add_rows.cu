// What embedding.cpp and gather.cpp are made of (add_rows.h).
#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

template <class T>
void CopyRowsOf(Stream& stream, const CopyRowsArgs& args) {
  const T* const from = As<T>(args.from);
  T* const to = As<T>(args.to);
  const std::int32_t* const indices = args.indices;
  const std::size_t width = args.width;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.count * width, [=] __device__(std::size_t i) {
    const T value = from[static_cast<std::size_t>(indices[i / width]) * width + i % width];
    to[i] = accumulate ? T(ToFloat(to[i]) + ToFloat(value)) : value;
  });
}

// One thread to an element of `to`, which adds its positions in their order.
template <class From, class To>
void AddRowsFromTo(Stream& stream, const AddRowsArgs& args) {
  const From* const from = As<From>(args.from);
  To* const to = As<To>(args.to);
  const std::uint32_t *const begins = args.begins, *const positions = args.positions;
  const std::size_t width = args.width;
  const bool accumulate = args.accumulate;
  ForEach(stream, args.rows * width, [=] __device__(std::size_t i) {
    const std::size_t row = i / width, column = i % width;
    const std::uint32_t begin = begins[row], end = begins[row + 1];
    if (begin == end && accumulate) return;
    float sum = accumulate ? ToFloat(to[i]) : 0.0F;
    for (std::uint32_t p = begin; p < end; ++p) {
      sum += ToFloat(from[static_cast<std::size_t>(positions[p]) * width + column]);
    }
    to[i] = To(sum);
  });
}

template <class From>
void AddRowsFrom(Stream& stream, const AddRowsArgs& args) {
  if (args.to_type == DType::kF32) return AddRowsFromTo<From, float>(stream, args);
  AddRowsFromTo<From, BFloat16>(stream, args);
}

}  // namespace

void CopyRows(Stream& stream, const CopyRowsArgs& args) {
  MUSTER_BY_TYPE(args.type, CopyRowsOf, stream, args);
}

void AddRows(Stream& stream, const AddRowsArgs& args) {
  MUSTER_BY_TYPE(args.from_type, AddRowsFrom, stream, args);
}

}  // namespace muster::cuda
