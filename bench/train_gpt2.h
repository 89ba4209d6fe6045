// Training a GPT-2 on made-up tokens: how many a second, and how much memory.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>

#include "base/status.h"

namespace muster {

struct TrainGpt2BenchmarkOptions {
  std::string model = "124m";  // Or "char": 6 layers of 6 heads, width 384, 65 characters.
  std::string type = "bf16";   // Or "f32".
  std::size_t batch = 8;
  std::size_t length = 256;
  std::size_t threads = 2;
  std::size_t steps = 5;  // After one that is not counted.
  bool torch = true;      // PyTorch after it, where it can be imported.
  bool json = false;
};

// Whole steps: forward, backward, clipping by the global norm, AdamW. Prints tokens a second,
// median (least .. most), where a step's time goes, and the process's peak memory.
Status RunTrainGpt2Benchmark(const TrainGpt2BenchmarkOptions& options, std::ostream& out);

}  // namespace muster
