// Memory for arrays of numbers that loops run over: parameters, gradients, optimiser state.
//
// Rows whose lengths are multiples of 64 bytes then begin on cache lines; a matrix that begins
// anywhere else is multiplied at two thirds of the speed.
#pragma once

#include <cstddef>
#include <limits>
#include <new>
#include <vector>

namespace muster {

inline constexpr std::size_t kArrayAlignmentBytes = 64;  // A cache line, an AVX-512 register.

// Uninitialised memory, aligned to kArrayAlignmentBytes; from 2 MiB on to that, and of huge pages
// where the system has them: fewer faults and table misses. Null if there is no memory.
void* AllocateArray(std::size_t bytes) noexcept;
// What AllocateArray(bytes) gave.
void FreeArray(void* memory, std::size_t bytes) noexcept;

template <class T>
struct ArrayAllocator {
  using value_type = T;

  ArrayAllocator() = default;
  template <class U>
  ArrayAllocator(const ArrayAllocator<U>&) noexcept {}  // NOLINT: as the standard asks.

  T* allocate(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_alloc();
    void* const memory = AllocateArray(count * sizeof(T));
    if (memory == nullptr) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) noexcept { FreeArray(memory, count * sizeof(T)); }

  friend bool operator==(const ArrayAllocator&, const ArrayAllocator&) { return true; }
};

template <class T>
using AlignedVector = std::vector<T, ArrayAllocator<T>>;

}  // namespace muster
