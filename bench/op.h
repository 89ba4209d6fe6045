// Ops that compute little for what they read and write, beside the rate at which memory is copied.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>

#include "base/status.h"

namespace muster {

struct OpBenchmarkOptions {
  std::string type = "bf16";  // Of the activations: bf16 or f32.
  std::size_t rows = 2'048;   // Tokens of a batch, of GPT-2 124M's width.
  std::size_t threads = 2;
  std::size_t rounds = 7;
  bool torch = true;
  bool json = false;
};

// Forward passes of norms, activations and the like, the step of AdamW and the global norm over
// 124 million parameters: GB/s of the bytes that have to be read and written, median
// (least .. most), and their share of the machine's copy rate in the same rounds; beside PyTorch's
// milliseconds where it can be imported (see RunTorch).
Status RunOpBenchmark(const OpBenchmarkOptions& options, std::ostream& out);

}  // namespace muster
