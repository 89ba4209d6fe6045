#include "tensor/kernels/reduce.h"

#include <cmath>
#include <string>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/lane_math.h"
#include "tensor/kernels/lanes.h"
#include "tensor/kernels/largest.h"

namespace muster::ops {

namespace {

using namespace kernels;  // Lanes.

struct Rows {
  std::size_t count, width;
  Shape shape;  // Of the result.

  // `appended` elements of each row; none of a dimension if that is 0.
  explicit Rows(const Tensor& x, std::size_t appended = 0) : count(1), width(x.shape().last()) {
    const Shape& from = x.shape();
    MUSTER_CHECK(from.rank() > 0 && width > 0 && width >> 31U == 0,
                 "a reduction of " + from.ToString());
    for (std::size_t i = 0; i + 1 < from.rank(); ++i) {
      shape.Append(from[i]);
      count *= from[i];
    }
    if (appended > 0) shape.Append(appended);
  }
};

template <class T>
struct SumLastNode {
  Tensor x;
  std::size_t rows, width;
  float factor;

  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(x);
    ForBlocks(tape.pool(), rows, RowsPerBlock(width), [&](std::size_t begin, std::size_t count) {
      for (std::size_t row = begin; row < begin + count; ++row) {
        const Lanes slope = AllLanes(ToFloat(dy[row]) * factor);
        T* const to = sink.data + row * width;
        ForLanes(width, [&](std::size_t i, std::size_t n) {
          StoreUpTo(to + i, sink.accumulate ? LoadUpTo(to + i, n) + slope : slope, n);
        });
      }
    });
  }
};

Tensor ScaledSumLast(Tape& tape, Tensor x, bool mean) {
  const Rows rows(x);
  const std::size_t width = rows.width;
  return Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(rows.shape, kDTypeOf<T>);
    const T* const from = x.as<T>();
    T* const to = y.as<T>();
    const double divisor = mean ? static_cast<double>(width) : 1.0;
    ForBlocks(tape.pool(), rows.count, RowsPerBlock(width), [&](std::size_t begin, std::size_t n) {
      for (std::size_t row = begin; row < begin + n; ++row) {
        const double sum = SumLongRow(width, [&](std::size_t i, std::size_t lanes) {
          return LoadUpTo(from + row * width + i, lanes);
        });
        to[row] = T(static_cast<float>(sum / divisor));
      }
    });
    if (tape.Records({x})) {
      tape.Record(y, {x}, SumLastNode<T>{x, rows.count, width, static_cast<float>(1 / divisor)});
    }
    return y;
  });
}

template <class T>
struct MaxLastNode {
  Tensor x;
  const std::int32_t* indices;
  std::size_t rows, width;

  void Backward(Tape& tape, const T* dy) const {
    const auto sink = tape.SinkFor<T>(x);
    ForBlocks(tape.pool(), rows, RowsPerBlock(width), [&](std::size_t begin, std::size_t count) {
      for (std::size_t row = begin; row < begin + count; ++row) {
        T* const to = sink.data + row * width;
        if (!sink.accumulate) std::fill_n(to, width, T(0));
        T& slope = to[static_cast<std::size_t>(indices[row])];
        slope = T(ToFloat(slope) + ToFloat(dy[row]));
      }
    });
  }
};

template <class T>
std::size_t FirstLargest(const T* row, std::size_t width) {
  const float largest =
      MaxLanes(width, [&](std::size_t i, std::size_t n) { return LoadUpTo(row + i, n); });
  std::size_t index = 0;
  while (!(ToFloat(row[index]) == largest || std::isnan(ToFloat(row[index])))) ++index;
  return index;
}

}  // namespace

Tensor SumLast(Tape& tape, Tensor x) { return ScaledSumLast(tape, x, /*mean=*/false); }

Tensor MeanLast(Tape& tape, Tensor x) { return ScaledSumLast(tape, x, /*mean=*/true); }

ValuesAndIndices MaxLast(Tape& tape, Tensor x) {
  const Rows rows(x);
  const std::size_t width = rows.width;
  auto* const indices = tape.Scratch<std::int32_t>({rows.count});
  return Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(rows.shape, kDTypeOf<T>);
    const T* const from = x.as<T>();
    T* const to = y.as<T>();
    ForBlocks(tape.pool(), rows.count, RowsPerBlock(width), [&](std::size_t begin, std::size_t n) {
      for (std::size_t row = begin; row < begin + n; ++row) {
        const std::size_t index = FirstLargest(from + row * width, width);
        indices[row] = static_cast<std::int32_t>(index);
        to[row] = from[row * width + index];
      }
    });
    if (tape.Records({x})) tape.Record(y, {x}, MaxLastNode<T>{x, indices, rows.count, width});
    return ValuesAndIndices{y, {indices, rows.count}};
  });
}

ValuesAndIndices TopK(Tape& tape, Tensor x, std::size_t k) {
  const Rows rows(x, k);
  const std::size_t width = rows.width;
  MUSTER_CHECK(k > 0 && k <= width,
               "the largest " + std::to_string(k) + " of rows of " + std::to_string(width));
  auto* const indices = tape.Scratch<std::int32_t>({rows.count, k});
  return Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(rows.shape, kDTypeOf<T>);
    const T* const from = x.as<T>();
    T* const to = y.as<T>();
    ForBlocks(tape.pool(), rows.count, RowsPerBlock(width), [&](std::size_t begin, std::size_t n) {
      std::vector<std::uint64_t> keys;
      for (std::size_t row = begin; row < begin + n; ++row) {
        SelectLargest(from + row * width, width, k, keys);
        for (std::size_t i = 0; i < k; ++i) {
          indices[row * k + i] = static_cast<std::int32_t>(IndexOf(keys[i]));
          to[row * k + i] = from[row * width + IndexOf(keys[i])];
        }
      }
    });
    return ValuesAndIndices{y, {indices, rows.count * k}};
  });
}

}  // namespace muster::ops
