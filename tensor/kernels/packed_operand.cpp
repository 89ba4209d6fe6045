// Operands that are packed once and multiplied often (gemm.h), and written to where they lie.
#include <algorithm>
#include <cstring>
#include <string>

#include "base/check.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/gemm_kernel.h"
#include "tensor/kernels/gemm_pack.h"

namespace muster::kernels {

namespace {

// Where the elements of a packed operand are.
class PackedLayout {
 public:
  PackedLayout(std::size_t inner, std::size_t columns, DType type)
      : kernels_(KernelsFor(type)),
        pairs_(type == DType::kBF16 && kernels_.pairs),
        width_(kernels_.panel_columns),
        words_(Words(inner, type, kernels_)),
        padded_columns_(PaddedColumns(columns, width_)),
        widened_(type == DType::kBF16 && !pairs_) {}

  std::size_t width() const { return width_; }  // Columns that lie side by side, 4 bytes each.

  char* At(float* data, std::size_t k, std::size_t column) const {
    const std::size_t word = pairs_ ? k / 2 : widened_ ? k ^ 1U : k;
    const std::size_t begin = word / kInnerBlock * kInnerBlock;
    const std::size_t words = std::min(kInnerBlock, words_ - begin);
    float* const at = data + begin * padded_columns_ +
                      (column / width_ * words + (word - begin)) * width_ + column % width_;
    return reinterpret_cast<char*>(at) + (pairs_ ? k % 2 * 2 : 0);
  }

  static void Put(char* at, float value) { std::memcpy(at, &value, sizeof(value)); }
  void Put(char* at, BFloat16 value) const {
    if (widened_) {
      Put(at, ToFloat(value));
    } else {
      std::memcpy(at, &value, sizeof(value));
    }
  }

 private:
  const MicroKernels& kernels_;
  bool pairs_;
  std::size_t width_, words_, padded_columns_;
  bool widened_;
};

}  // namespace

std::size_t PackedFloats(std::size_t inner, std::size_t columns, DType type) {
  const MicroKernels& kernels = KernelsFor(type);
  return Words(inner, type, kernels) * PaddedColumns(columns, kernels.panel_columns);
}

PackedOperand Pack(const Operand& b, std::size_t inner, std::size_t columns, DType type,
                   float* to) {
  const MicroKernels& kernels = KernelsFor(type);
  const std::size_t width = kernels.panel_columns;
  const Source source = SourceOf(b, inner, columns, type, kernels);
  const std::size_t all_words = Words(inner, type, kernels);
  float* next = to;
  for (std::size_t begin = 0; begin < all_words; begin += kInnerBlock) {
    const std::size_t words = std::min(kInnerBlock, all_words - begin);
    PackPanels(source, 0, columns, begin, words, next);
    next += words * PaddedColumns(columns, width);
  }
  return {to, inner, columns, type};
}

PackedOperand PackedColumns(const PackedOperand& b, std::size_t first, std::size_t count) {
  const MicroKernels& kernels = KernelsFor(b.type);
  const std::size_t width = kernels.panel_columns, words = Words(b.inner, b.type, kernels);
  MUSTER_CHECK(first % width == 0 && first + count <= b.columns && words <= kInnerBlock,
               "columns " + std::to_string(first) + " of a packed operand");
  return {b.data + first * words, b.inner, count, b.type};
}

void StorePackedRow(float* data, std::size_t inner, std::size_t columns, DType type, std::size_t k,
                    const void* values) {
  const PackedLayout layout(inner, columns, type);
  Dispatch(type, [&](auto element) {
    const auto* const from = static_cast<const decltype(element)*>(values);
    for (std::size_t first = 0; first < columns; first += layout.width()) {
      char* const at = layout.At(data, k, first);
      const std::size_t count = std::min(layout.width(), columns - first);
      for (std::size_t c = 0; c < count; ++c) layout.Put(at + 4 * c, from[first + c]);
    }
  });
}

void StorePackedColumn(float* data, std::size_t inner, std::size_t columns, DType type,
                       std::size_t column, const void* values) {
  const PackedLayout layout(inner, columns, type);
  Dispatch(type, [&](auto element) {
    const auto* const from = static_cast<const decltype(element)*>(values);
    for (std::size_t k = 0; k < inner; ++k) layout.Put(layout.At(data, k, column), from[k]);
  });
}

}  // namespace muster::kernels
