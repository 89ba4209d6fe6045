// Bump allocator for everything that lives for one step: activations, gradients of activations,
// tape nodes and what ops save for the backward pass.
//
// Grows in blocks, which are kept: after the first step an allocation is a few instructions.
// One arena belongs to one thread at a time. Destructors of what is placed in it never run. What it
// takes from the system comes out of a budget, where there is one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/aligned_vector.h"
#include "tensor/memory_budget.h"

namespace muster {

class Arena {
 public:
  static constexpr std::size_t kAlignment = kArrayAlignmentBytes;
  static constexpr std::size_t kDefaultBlockBytes = std::size_t{1} << 20U;

  explicit Arena(std::size_t block_bytes = kDefaultBlockBytes, MemoryBudget* budget = nullptr)
      : block_bytes_(block_bytes), budget_(budget) {}
  ~Arena() { FreeAll(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // 64-byte aligned and uninitialised; valid until Reset. Throws OutOfMemory.
  void* Allocate(std::size_t bytes) {
    const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (rounded > static_cast<std::size_t>(end_ - next_)) NextBlock(rounded);
    std::byte* const result = next_;
    next_ += rounded;
    return result;
  }

  template <class T>
  T* Array(std::size_t count) {
    return static_cast<T*>(Allocate(count * sizeof(T)));
  }
  float* Floats(std::size_t count) { return static_cast<float*>(Allocate(count * sizeof(float))); }

  template <class T, class... Args>
  T* New(Args&&... args) {
    static_assert(std::is_trivially_destructible_v<T>, "the arena never runs destructors");
    return new (Allocate(sizeof(T))) T{std::forward<Args>(args)...};
  }

  // Frees everything at once; the blocks are kept for the next step.
  void Reset();
  // Gives the blocks back to the system too.
  void FreeAll();

  std::size_t used_bytes() const;      // Since the last Reset, padding included.
  std::size_t peak_bytes() const;      // The most that was ever in use between two Resets.
  std::size_t reserved_bytes() const;  // Taken from the operating system.

 private:
  struct Free {
    std::size_t bytes = 0;
    void operator()(std::byte* block) const { FreeArray(block, bytes); }
  };
  struct Block {
    std::unique_ptr<std::byte[], Free> memory;
    std::size_t bytes = 0;
  };

  void NextBlock(std::size_t bytes);
  void AddBlock(std::size_t bytes);

  std::size_t block_bytes_;
  MemoryBudget* budget_;
  std::vector<Block> blocks_;
  std::size_t current_ = 0;      // Index of the block that next_ points into.
  std::size_t used_before_ = 0;  // Bytes used in the blocks before it.
  std::size_t peak_bytes_ = 0;
  std::byte* next_ = nullptr;
  std::byte* end_ = nullptr;
};

}  // namespace muster
