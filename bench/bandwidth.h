// What the machine's memory gives: the limit of everything that reads more than it computes.
#pragma once

#include <cstddef>
#include <vector>

#include "tensor/thread_pool.h"

namespace muster {

// Buffers far larger than the caches.
class Bandwidth {
 public:
  explicit Bandwidth(ThreadPool* pool);

  double CopyBytesPerSecond();  // Bytes read and bytes written, of a copy by all threads.
  double ReadBytesPerSecond();  // By all threads.

 private:
  ThreadPool* pool_;
  std::vector<float> from_, to_;
  float sum_ = 0;  // So that reading is not left out.
};

}  // namespace muster
