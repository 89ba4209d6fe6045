#include "tensor/kernels/gemm.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "base/check.h"
#include "tensor/cpu.h"
#include "tensor/kernels/gemm_kernel.h"

namespace muster::kernels {

namespace {

// What one thread takes at a time. A panel of b, [kInnerBlock][32] x 4 bytes, and the 12 rows of a
// beside it stay in the first-level cache's reach; all panels of a block in the second level.
constexpr std::size_t kInnerBlock = 512;   // Elements of 4 bytes: f32, or bf16 pairs.
constexpr std::size_t kColumnBlock = 128;  // A multiple of every panel's width.
constexpr std::size_t kWidestPanel = 32;
constexpr std::size_t kRowBlockMost = 768;
constexpr std::size_t kFewColumns = 8;
constexpr std::size_t kNearRows = 256;  // Floats.
constexpr std::size_t kFewRows = 192;
// Rows of a that are packed at once where they have to be.
constexpr std::size_t kPackedRows = 96;

std::size_t Blocks(std::size_t count, std::size_t block) { return (count + block - 1) / block; }

// Memory of a thread that only grows.
class Buffer {
 public:
  template <class T>
  T* Get(std::size_t count) {
    if (count * sizeof(T) > bytes_) {
      bytes_ = count * sizeof(T);
      memory_.reset(static_cast<std::byte*>(::operator new[](bytes_, std::align_val_t(64))));
    }
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t(64)); }
  };
  std::unique_ptr<std::byte[], Free> memory_;
  std::size_t bytes_ = 0;
};

struct Scratch {
  Buffer a, b, sums, across;
};
Scratch& ThisThread() {
  thread_local Scratch scratch;
  return scratch;
}

// to[c][r] = from[r][c] for 8 x 8 words of 4 bytes.
void Transpose8x8(const char* from, std::size_t from_row_bytes, float* to, std::size_t to_row) {
  __m256 r[8], s[8];
  for (std::size_t i = 0; i < 8; ++i) {
    r[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(from + i * from_row_bytes));
  }
  for (std::size_t i = 0; i < 8; i += 2) {
    s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (std::size_t i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(s[i], s[i + 2], _MM_SHUFFLE(1, 0, 1, 0));
    r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], _MM_SHUFFLE(3, 2, 3, 2));
    r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], _MM_SHUFFLE(1, 0, 1, 0));
    r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], _MM_SHUFFLE(3, 2, 3, 2));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * to_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

// One operand as the micro-kernels want it: words of 4 bytes, in an order of the inner dimension
// that a loop over f32 or over bf16 pairs can follow.
//
// `Source` is a bf16 or f32 matrix seen as [outer, inner]: outer = rows of a, or columns of b.
struct Source {
  const char* data;
  std::size_t outer_bytes, inner_bytes;  // Steps; one is an element's size.
  std::size_t outer, inner;
  bool bf16;
  bool pairs;  // Words are bf16 pairs; otherwise f32, which bf16 is turned into, odd before even.

  float Value(std::size_t o, std::size_t k) const {
    if (k >= inner) return 0.0F;
    const char* const at = data + o * outer_bytes + k * inner_bytes;
    if (!bf16) {
      float value;
      std::memcpy(&value, at, sizeof(value));
      return value;
    }
    std::uint16_t bits;
    std::memcpy(&bits, at, sizeof(bits));
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
  }
  // Word k of outer o.
  float Word(std::size_t o, std::size_t k) const {
    if (!bf16) return Value(o, k);
    if (!pairs) return Value(o, k ^ 1U);
    const auto low = std::bit_cast<std::uint32_t>(Value(o, 2 * k)) >> 16U;
    const auto high = std::bit_cast<std::uint32_t>(Value(o, 2 * k + 1)) & 0xFFFF0000U;
    return std::bit_cast<float>(high | low);
  }
  bool inner_together() const { return inner_bytes == (bf16 ? 2U : 4U); }
};

// How many words an inner dimension has.
std::size_t Words(std::size_t inner, bool bf16, bool pairs) {
  if (!bf16) return inner;
  return pairs ? (inner + 1) / 2 : (inner + 1) / 2 * 2;
}

// Pairs of two rows of 16 bf16: 16 words.
void Interleave16(const char* even, const char* odd, float* to) {
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(even));
  const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd));
  const __m256i low = _mm256_unpacklo_epi16(x, y), high = _mm256_unpackhi_epi16(x, y);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8),
                      _mm256_permute2x128_si256(low, high, 0x31));
}

// 8 bf16 as f32.
__m256 Widen8(const char* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// to[k][o] = word (begin + k) of outer first + o, for `width` outers, those beyond the last 0.
void PackTogether(const Source& s, std::size_t first, std::size_t width, std::size_t begin,
                  std::size_t words, float* to) {
  const std::size_t outers = first < s.outer ? std::min(width, s.outer - first) : 0;
  const char* const from = s.data + first * s.outer_bytes;
  std::size_t k = 0;
  if (s.inner_together() && (s.pairs || !s.bf16)) {
    // Whole blocks of 8 outers and 8 words are turned over.
    const std::size_t whole = s.bf16 ? s.inner / 2 : s.inner;  // Words without a missing half.
    const std::size_t fast = std::min(words, whole - std::min(begin, whole)) / 8 * 8;
    for (; k < fast; k += 8) {
      std::size_t o = 0;
      for (; o + 8 <= outers; o += 8) {
        Transpose8x8(from + o * s.outer_bytes + (begin + k) * 4, s.outer_bytes, to + k * width + o,
                     width);
      }
      for (; o < width; ++o) {
        for (std::size_t i = 0; i < 8; ++i) {
          to[(k + i) * width + o] = o < outers ? s.Word(first + o, begin + k + i) : 0.0F;
        }
      }
    }
  }
  for (; k < words; ++k) {
    float* const row = to + k * width;
    std::size_t o = 0;
    if (!s.inner_together()) {
      if (!s.bf16) {
        std::memcpy(row, from + (begin + k) * s.inner_bytes, outers * sizeof(float));
        o = outers;
      } else if (s.pairs && 2 * (begin + k) + 1 < s.inner) {
        const char* const even = from + 2 * (begin + k) * s.inner_bytes;
        for (; o + 16 <= outers; o += 16) {
          Interleave16(even + o * 2, even + s.inner_bytes + o * 2, row + o);
        }
      } else if (!s.pairs && ((begin + k) ^ 1U) < s.inner) {
        const char* const source = from + ((begin + k) ^ 1U) * s.inner_bytes;
        for (; o + 8 <= outers; o += 8) _mm256_storeu_ps(row + o, Widen8(source + o * 2));
      }
    }
    for (; o < width; ++o) row[o] = o < outers ? s.Word(first + o, begin + k) : 0.0F;
  }
}

// to[o][k]: the words of `outers` outers, each contiguous.
void PackApart(const Source& s, std::size_t first, std::size_t outers, std::size_t begin,
               std::size_t words, float* to) {
  for (std::size_t o = 0; o < outers; ++o) {
    float* const row = to + o * words;
    std::size_t k = 0;
    if (s.bf16 && !s.pairs && s.inner_together()) {
      const char* const from = s.data + (first + o) * s.outer_bytes + begin * 2;
      for (; k + 8 <= words && begin + k + 8 <= s.inner; k += 8) {
        // Neighbours change places.
        _mm256_storeu_ps(row + k, _mm256_permute_ps(Widen8(from + k * 2), _MM_SHUFFLE(2, 3, 0, 1)));
      }
    }
    for (; k < words; ++k) row[k] = s.Word(first + o, begin + k);
  }
}

const MicroKernels& KernelsFor(DType type, bool& pairs) {
  const CpuLevel level = BestCpuLevel();
  pairs = type == DType::kBF16 && level >= CpuLevel::kAvx512Bf16;
  if (pairs) return kAvx512Bf16;
  return level >= CpuLevel::kAvx512 ? kAvx512F32 : kAvx2F32;
}

// A whole operand: blocks of the inner dimension, in each all panels side by side.
std::size_t PaddedColumns(std::size_t columns, std::size_t width) {
  return Blocks(columns, width) * width;
}

Source SourceOf(const Operand& b, std::size_t inner, std::size_t columns, DType type, bool pairs) {
  static constexpr float kNothing = 0;  // What an empty operand may have no memory for.
  const std::size_t size = SizeOf(type);
  return {static_cast<const char*>(b.data == nullptr ? &kNothing : b.data),
          b.column_stride * size,
          b.row_stride * size,
          columns,
          inner,
          type == DType::kBF16,
          pairs};
}

// One thread's share: some rows and columns of c.
class Block {
 public:
  Block(const GemmArgs& args, const PackedOperand* packed, std::size_t row_block,
        std::size_t column_block, std::size_t row, std::size_t column)
      : args_(args),
        packed_(packed),
        kernels_(KernelsFor(args.type, pairs_)),
        row_(row),
        rows_(std::min(row_block, args.rows - row)),
        column_(column),
        columns_(std::min(column_block, args.columns - column)) {
    // As b is seen by its columns, a is by its rows.
    const Operand across = {args.a.data, args.a.column_stride, args.a.row_stride};
    a_ = SourceOf(across, args.inner, args.rows, args.type, pairs_);
    b_ = SourceOf(args.b, args.inner, args.columns, args.type, pairs_);
    words_ = Words(args.inner, args.type == DType::kBF16, pairs_);
  }

  void Run() {
    Scratch& scratch = ThisThread();
    sums_ = static_cast<float*>(args_.c) + row_ * args_.c_row_stride + column_;
    sums_stride_ = args_.c_row_stride;
    if (args_.c_type != DType::kF32) {
      sums_ = scratch.sums.Get<float>(kRowBlockMost * kColumnBlock);
      sums_stride_ = kColumnBlock;
    }
    const bool in_place = InPlace();
    std::size_t begin = 0;
    do {  // Once for an empty sum, too.
      const std::size_t words = std::min(kInnerBlock, words_ - begin);
      const Panels panels = in_place ? PanelsInPlace(begin) : PackedPanels(begin, words);
      for (std::size_t row = 0; row < rows_; row += kPackedRows) {
        Rows(row, std::min(kPackedRows, rows_ - row), begin, words, panels);
      }
      begin += words;
    } while (begin < words_);
  }

 private:
  // This block's columns of b: a panel has panel_columns of them.
  struct Panels {
    const float* first;
    std::size_t row_floats;    // From a row of a panel to its next.
    std::size_t panel_floats;  // From a panel to the next.
  };

  // Whether b can be read where it lies: rows of whole panels, near enough to each other. Packing
  // is worth its time only where many rows of a follow.
  bool InPlace() const {
    return packed_ == nullptr && args_.type == DType::kF32 && args_.b.column_stride == 1 &&
           columns_ % kernels_.panel_columns == 0 && args_.b.row_stride <= kNearRows &&
           rows_ <= kFewRows;
  }
  Panels PanelsInPlace(std::size_t begin) const {
    const auto* const b = reinterpret_cast<const float*>(b_.data);
    return {b + begin * args_.b.row_stride + column_, args_.b.row_stride, kernels_.panel_columns};
  }

  Panels PackedPanels(std::size_t begin, std::size_t words) {
    const std::size_t width = kernels_.panel_columns;
    if (packed_ != nullptr) {
      return {packed_->data + begin * PaddedColumns(args_.columns, width) + column_ * words, width,
              words * width};
    }
    float* const to = ThisThread().b.Get<float>(kInnerBlock * kColumnBlock);
    for (std::size_t column = 0; column < columns_; column += width) {
      PackTogether(b_, column_ + column, width, begin, words, to + column * words);
    }
    return {to, width, words * width};
  }

  // Strips of rows, all of nearly the same height.
  void Rows(std::size_t row, std::size_t rows, std::size_t begin, std::size_t words,
            const Panels& panels) {
    const std::size_t width = kernels_.panel_columns;
    MicroArgs micro;
    micro.inner = words;
    micro.b_row_bytes = panels.row_floats * sizeof(float);
    micro.from_c = begin > 0 || (args_.accumulate && args_.c_type == DType::kF32);
    micro.c_row_stride = sums_stride_;
    const bool together = PlaceRows(row, rows, begin, words, micro);
    const char* const a = micro.a;
    const std::size_t strips = Blocks(rows, kernels_.rows_max);
    for (std::size_t strip = 0; strip < strips; ++strip) {
      const std::size_t first = rows * strip / strips;
      const std::size_t count = rows * (strip + 1) / strips - first;
      micro.a = a + first * micro.a_row_bytes;
      const MicroKernel kernel =
          together ? kernels_.rows_together[count - 1] : kernels_.rows_apart[count - 1];
      for (std::size_t column = 0; column < columns_; column += width) {
        micro.b = panels.first + column / width * panels.panel_floats;
        micro.c = sums_ + (row + first) * sums_stride_ + column;
        micro.columns = std::min(width, columns_ - column);
        kernel(micro);
      }
      if (begin + words == words_) Finish(row + first, count);
    }
  }

  // Points the micro-kernel at rows of a, in place where they can be read there. Whether
  // neighbouring rows, rather than neighbours of the inner dimension, lie together.
  bool PlaceRows(std::size_t row, std::size_t rows, std::size_t begin, std::size_t words,
                 MicroArgs& micro) {
    const bool words_in_place = !a_.bf16 || (a_.pairs && a_.inner_together() && a_.inner % 2 == 0);
    if (words_in_place) {
      micro.a = a_.data + (row_ + row) * a_.outer_bytes + begin * (a_.bf16 ? 4 : a_.inner_bytes);
      micro.a_row_bytes = a_.outer_bytes;
      micro.a_inner_bytes = a_.bf16 ? 4 : a_.inner_bytes;
      return !a_.inner_together();
    }
    float* const to = ThisThread().a.Get<float>(kPackedRows * kInnerBlock);
    micro.a = reinterpret_cast<const char*>(to);
    if (a_.inner_together()) {
      PackApart(a_, row_ + row, rows, begin, words, to);
      micro.a_row_bytes = words * sizeof(float);
      micro.a_inner_bytes = sizeof(float);
      return false;
    }
    PackTogether(a_, row_ + row, rows, begin, words, to);
    micro.a_row_bytes = sizeof(float);
    micro.a_inner_bytes = rows * sizeof(float);
    return true;
  }

  // Sums that are whole become elements of c.
  void Finish(std::size_t row, std::size_t rows) {
    if (args_.c_type == DType::kF32 && args_.bias == nullptr &&
        args_.activation == Activation::kNone) {
      return;
    }
    // Rows that lie end to end are activated in one call.
    const bool together = args_.c_type == DType::kF32 && args_.before_activation == nullptr &&
                          sums_stride_ == columns_;
    Dispatch(args_.c_type, [&](auto element) {
      for (std::size_t r = row; r < row + rows; ++r) FinishRow<decltype(element)>(r, !together);
    });
    if (!together || args_.activation == Activation::kNone) return;
    float* const sums = sums_ + row * sums_stride_;
    ActivationForward(args_.activation, sums, sums, rows * columns_);
  }

  template <class C>
  void FinishRow(std::size_t row, bool activate) {
    float* const sums = sums_ + row * sums_stride_;
    if (args_.bias != nullptr) {
      Dispatch(args_.type, [&](auto element) {
        const auto* const bias = static_cast<const decltype(element)*>(args_.bias) + column_;
        for (std::size_t i = 0; i < columns_; ++i) sums[i] += ToFloat(bias[i]);
      });
    }
    const std::size_t at = (row_ + row) * args_.c_row_stride + column_;
    if (activate && args_.activation != Activation::kNone) {
      // A slope that is found from the input is found from what can be kept of it, so the value is
      // as well: also where nothing is kept, for an inference has the bits of training.
      if (SlopeNeedsInput(args_.activation)) {
        for (std::size_t i = 0; i < columns_; ++i) sums[i] = ToFloat(C(sums[i]));
      }
      if (args_.before_activation != nullptr) {
        C* const before = static_cast<C*>(args_.before_activation) + at;
        for (std::size_t i = 0; i < columns_; ++i) before[i] = C(sums[i]);
      }
      ActivationForward(args_.activation, sums, sums, columns_);
    }
    if constexpr (!std::is_same_v<C, float>) {
      C* const c = static_cast<C*>(args_.c) + at;
      for (std::size_t i = 0; args_.accumulate && i < columns_; ++i) sums[i] += ToFloat(c[i]);
      for (std::size_t i = 0; i < columns_; ++i) c[i] = C(sums[i]);
    }
  }

  const GemmArgs& args_;
  const PackedOperand* packed_;  // Null: b is packed here.
  bool pairs_ = false;
  const MicroKernels& kernels_;
  const std::size_t row_, rows_, column_, columns_;
  Source a_{}, b_{};
  std::size_t words_ = 0;
  float* sums_ = nullptr;
  std::size_t sums_stride_ = 0;
};

// Where the elements of a packed operand are.
class PackedLayout {
 public:
  PackedLayout(std::size_t inner, std::size_t columns, DType type)
      : width_(KernelsFor(type, pairs_).panel_columns),
        words_(Words(inner, type == DType::kBF16, pairs_)),
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
  bool pairs_ = false;
  std::size_t width_, words_, padded_columns_;
  bool widened_;
};

float BiasOf(const GemmArgs& args, std::size_t column) {
  return Dispatch(args.type, [&](auto element) {
    return ToFloat(static_cast<const decltype(element)*>(args.bias)[column]);
  });
}

void CheckEnd(const GemmArgs& args) {
  MUSTER_CHECK(!args.accumulate || (args.bias == nullptr && args.activation == Activation::kNone),
               "only plain sums are added to what is there");
}

}  // namespace

std::size_t PackedFloats(std::size_t inner, std::size_t columns, DType type) {
  bool pairs = false;
  const std::size_t width = KernelsFor(type, pairs).panel_columns;
  return Words(inner, type == DType::kBF16, pairs) * PaddedColumns(columns, width);
}

PackedOperand Pack(const Operand& b, std::size_t inner, std::size_t columns, DType type,
                   float* to) {
  bool pairs = false;
  const std::size_t width = KernelsFor(type, pairs).panel_columns;
  const Source source = SourceOf(b, inner, columns, type, pairs);
  const std::size_t all_words = Words(inner, type == DType::kBF16, pairs);
  float* next = to;
  for (std::size_t begin = 0; begin < all_words; begin += kInnerBlock) {
    const std::size_t words = std::min(kInnerBlock, all_words - begin);
    for (std::size_t column = 0; column < columns; column += width) {
      PackTogether(source, column, width, begin, words, next);
      next += words * width;
    }
  }
  return {to, inner, columns, type};
}

PackedOperand PackedColumns(const PackedOperand& b, std::size_t first, std::size_t count) {
  bool pairs = false;
  const std::size_t width = KernelsFor(b.type, pairs).panel_columns;
  const std::size_t words = Words(b.inner, b.type == DType::kBF16, pairs);
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

void GemmPacked(const GemmArgs& args, const PackedOperand& b, ThreadPool* pool) {
  CheckEnd(args);
  MUSTER_CHECK(b.inner == args.inner && b.columns == args.columns && b.type == args.type,
               "a packed operand of another shape or type");
  // Small enough for the threads to end at nearly the same time: few rows wait for memory.
  const std::size_t threads = pool == nullptr ? 1 : pool->threads();
  const std::size_t share = Blocks(args.columns, 16 * threads);
  const std::size_t block =
      threads == 1 ? kColumnBlock
                   : std::min(kColumnBlock, Blocks(share, kWidestPanel) * kWidestPanel);
  const std::size_t down = Blocks(args.rows, kRowBlockMost);
  ParallelFor(pool, down * Blocks(args.columns, block), [&](std::size_t index) {
    Block(args, &b, kRowBlockMost, block, index % down * kRowBlockMost, index / down * block).Run();
  });
}

// A panel is wasted on a few columns. With a and b in each other's place they are rows: the same
// products in the same chains. Needs plain sums in the end.
void GemmAcross(const GemmArgs& args, ThreadPool* pool) {
  constexpr std::size_t kRowsAtOnce = 1024;
  const std::size_t columns = args.columns;
  ParallelFor(pool, Blocks(args.rows, kRowsAtOnce), [&](std::size_t block) {
    const std::size_t begin = block * kRowsAtOnce;
    const std::size_t rows = std::min(kRowsAtOnce, args.rows - begin);
    const std::size_t size = SizeOf(args.type);
    float* const sums = ThisThread().across.Get<float>(columns * kRowsAtOnce);
    GemmArgs across;
    across.rows = columns;
    across.columns = rows;
    across.inner = args.inner;
    across.type = args.type;
    across.a = {args.b.data, args.b.column_stride, args.b.row_stride};
    across.b = {static_cast<const char*>(args.a.data) + begin * args.a.row_stride * size,
                args.a.column_stride, args.a.row_stride};
    across.accumulate = args.accumulate;
    across.c = sums;
    across.c_row_stride = rows;
    Dispatch(args.c_type, [&](auto element) {
      using C = decltype(element);
      C* const c = static_cast<C*>(args.c) + begin * args.c_row_stride;
      for (std::size_t r = 0; args.accumulate && r < rows; ++r) {
        for (std::size_t i = 0; i < columns; ++i) {
          sums[i * rows + r] = ToFloat(c[r * args.c_row_stride + i]);
        }
      }
      for (std::size_t column = 0; column < rows; column += kColumnBlock) {
        Block(across, nullptr, kRowBlockMost, kColumnBlock, 0, column).Run();
      }
      for (std::size_t i = 0; i < columns; ++i) {
        const float bias = args.bias == nullptr ? 0.0F : BiasOf(args, i);
        for (std::size_t r = 0; r < rows; ++r) {
          const float sum = args.bias == nullptr ? sums[i * rows + r] : sums[i * rows + r] + bias;
          c[r * args.c_row_stride + i] = C(sum);
        }
      }
    });
  });
}

void Gemm(const GemmArgs& args, ThreadPool* pool) {
  CheckEnd(args);
  if (args.rows == 0 || args.columns == 0) return;
  const bool plain =
      args.activation == Activation::kNone && (!args.accumulate || args.c_type == DType::kF32);
  if (plain && args.columns <= kFewColumns && args.rows >= 4 * kFewColumns) {
    return GemmAcross(args, pool);
  }
  // Large blocks pack b less often; but every thread should have some. Bits do not depend on it.
  const std::size_t threads = pool == nullptr ? 1 : pool->threads();
  const std::size_t across = Blocks(args.columns, kColumnBlock);
  const std::size_t parts = std::max<std::size_t>(1, 4 * threads / across);
  const std::size_t row_block = std::clamp(
      Blocks(Blocks(args.rows, parts), kPackedRows) * kPackedRows, kPackedRows, kRowBlockMost);
  const std::size_t down = Blocks(args.rows, row_block);
  ParallelFor(pool, down * across, [&](std::size_t index) {
    Block(args, nullptr, row_block, kColumnBlock, index % down * row_block,
          index / down * kColumnBlock)
        .Run();
  });
}

}  // namespace muster::kernels
