// Matrix products: kernels::Gemm beside oneDNN's best on the same threads.
#pragma once

#include <cstddef>
#include <ostream>

#include "base/status.h"

namespace muster {

struct MatMulBenchmarkOptions {
  std::size_t threads = 1;
  std::size_t rounds = 9;  // Samples of each cell; contenders take turns within a round.
  bool json = false;       // One JSON object of named medians instead of the table.
};

// Prints GFLOP/s, median (least .. most), of both and the median ratio, for products of the sizes
// that networks have. oneDNN's weights are packed into its own layout before the clock starts, and
// its rows are shared between the threads; ours are packed at each call.
Status RunMatMulBenchmark(const MatMulBenchmarkOptions& options, std::ostream& out);

}  // namespace muster
