#include "base/aligned_vector.h"

#include <sys/mman.h>

namespace muster {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20U;

std::align_val_t AlignmentOf(std::size_t bytes) {
  return std::align_val_t(bytes >= kHugePage ? kHugePage : kArrayAlignmentBytes);
}

}  // namespace

void* AllocateArray(std::size_t bytes) noexcept {
  void* const memory = ::operator new(bytes, AlignmentOf(bytes), std::nothrow);
  if (memory != nullptr && bytes >= kHugePage) {
    // The last page only where all of it is ours.
    static_cast<void>(::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE));
  }
  return memory;
}

void FreeArray(void* memory, std::size_t bytes) noexcept {
  ::operator delete(memory, AlignmentOf(bytes));
}

}  // namespace muster
