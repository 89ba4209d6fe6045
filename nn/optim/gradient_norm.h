// Global gradient norm and clipping.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "tensor/thread_pool.h"

namespace muster::nn {

// sqrt(sum g^2) in double precision: blocks of 65,536 elements, their sums added in a fixed binary
// tree. The same bits on any number of threads; NaN or infinity where a gradient is.
double GradientNorm(std::span<const float> gradients, ThreadPool* pool);

// The two halves of it, for a vector in parts that begin and end on blocks of kFlatBlock
// (blocks.h): the sums of squares of `gradients`' blocks, and the norm from those of all parts in
// order.
std::vector<double> BlockSums(std::span<const float> gradients, ThreadPool* pool);
double NormOfBlockSums(std::span<const double> sums);

// The factor that brings a gradient of this norm to at most norm_max: min(1, norm_max / norm).
// norm_max 0 means no clipping.
float ClipScale(double norm, double norm_max);

}  // namespace muster::nn
