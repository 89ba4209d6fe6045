// Puts a part of a gradient that was computed in f32 where a node's sink wants it.
#pragma once

#include <cstddef>

#include "tensor/autograd/tape.h"
#include "tensor/kernels/blocks.h"

namespace muster::kernels {

// sink[at + i] = values[i], or += as the sink says, rounded once; overwrites `values`.
template <class T>
void PutPart(const GradientSink<T>& sink, std::size_t at, float* values, std::size_t count) {
  if (sink.data == nullptr) return;
  T* const to = sink.data + at;
  if (sink.accumulate) AddTo(to, values, count);
  Convert(values, to, count);
}

}  // namespace muster::kernels
