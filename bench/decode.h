// Token by token generation of a GPT-2: the time of a token beside the time of reading the weights.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>

#include "base/status.h"

namespace muster {

struct DecodeBenchmarkOptions {
  std::string type = "bf16";  // Or f32.
  std::size_t threads = 2;
  std::size_t prompt = 32;  // Tokens, of each sequence.
  std::size_t tokens = 32;  // That a round generates, greedily.
  std::size_t rounds = 5;
  bool torch = true;
  bool json = false;
};

// GPT-2 124M with made-up weights, one and eight sequences in turns with the memory's own rate of
// reading: tokens a second, median (least .. most), and the share of what reading the weights once
// a step allows; beside PyTorch with a cache of its own where it can be imported (see RunTorch).
Status RunDecodeBenchmark(const DecodeBenchmarkOptions& options, std::ostream& out);

}  // namespace muster
