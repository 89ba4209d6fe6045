// Causal attention over packed sequences: its rate, and what it needs beside a plain product.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>

#include "base/status.h"

namespace muster {

struct AttentionBenchmarkOptions {
  std::string type = "bf16";  // Or f32.
  std::size_t threads = 2;
  std::size_t rounds = 7;
  bool torch = true;
  bool json = false;
};

// GFLOP/s of the products that the causal half needs, forward and with the backward pass, of
// GPT-2's heads and of grouped queries, at 256 to 4,096 tokens a sequence; beside PyTorch's
// scaled_dot_product_attention where it can be imported (see RunTorch).
Status RunAttentionBenchmark(const AttentionBenchmarkOptions& options, std::ostream& out);

}  // namespace muster
