// What the gates of recurrent cells share: their checks, and rows cut into parts in f32.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include "base/check.h"
#include "tensor/autograd/tape.h"
#include "tensor/kernels/blocks.h"

namespace muster::kernels {

inline constexpr std::size_t kGatePart = 128;  // Elements of a row that are in f32 at once.

inline void CheckGates(const Tensor& input, const Tensor& hidden, const Tensor& state,
                       std::size_t gates) {
  MUSTER_CHECK(state.shape().rank() == 2, "state " + state.shape().ToString());
  const Shape wanted{state.shape()[0], gates * state.shape()[1]};
  MUSTER_CHECK(input.shape() == wanted && hidden.shape() == wanted,
               "products " + input.shape().ToString() + " and " + hidden.shape().ToString() +
                   " for " + std::to_string(gates) + " gates of a state " +
                   state.shape().ToString());
  MUSTER_CHECK(input.type() == state.type() && hidden.type() == state.type(),
               std::string("products of ") + NameOf(input.type()) + " and " +
                   NameOf(hidden.type()) + " for a state of " + NameOf(state.type()));
}

// body(row, begin, count): elements [begin, begin + count) of each row of [rows, width].
template <class Body>
void ForGateParts(ThreadPool* pool, const Shape& shape, const Body& body) {
  const std::size_t width = shape[1];
  ForBlocks(pool, shape[0], RowsPerBlock(4 * width), [&](std::size_t first, std::size_t rows) {
    for (std::size_t row = first; row < first + rows; ++row) {
      for (std::size_t i = 0; i < width; i += kGatePart) {
        body(row, i, std::min(kGatePart, width - i));
      }
    }
  });
}

}  // namespace muster::kernels
