// MemoryBudget: what the arenas of a process may take together, and the exception when it is spent.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <string>

#include "base/bytes_text.h"

namespace muster {

// Thread-safe; outlives the arenas that take from it.
class MemoryBudget {
 public:
  explicit MemoryBudget(std::size_t bytes) : bytes_(bytes) {}

  // False, and nothing taken, where less than `bytes` is left.
  bool Take(std::size_t bytes) {
    std::size_t taken = taken_.load(std::memory_order_relaxed);
    do {
      if (bytes > bytes_ - taken) return false;
    } while (!taken_.compare_exchange_weak(taken, taken + bytes, std::memory_order_relaxed));
    return true;
  }
  void GiveBack(std::size_t bytes) { taken_.fetch_sub(bytes, std::memory_order_relaxed); }

  std::size_t bytes() const { return bytes_; }
  std::size_t taken_bytes() const { return taken_.load(std::memory_order_relaxed); }

 private:
  const std::size_t bytes_;
  std::atomic<std::size_t> taken_ = 0;
};

// Thrown where memory for a step is lacking. Whoever runs the step turns it into a Status; the next
// Tape::Begin starts afresh.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string message)
      : message_(std::make_shared<const std::string>(std::move(message))) {}
  const char* what() const noexcept override { return message_->c_str(); }

 private:
  std::shared_ptr<const std::string> message_;  // Copying an exception must not throw.
};

// What this process holds in memory now, shared memory that it has touched included; 0 where the
// system does not tell.
std::size_t ResidentBytes();

}  // namespace muster
