#include "tensor/kernels/gemm.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "base/check.h"
#include "tensor/kernels/gemm_kernel.h"
#include "tensor/kernels/gemm_pack.h"
#include "tensor/kernels/stream.h"
#include "tensor/kernels/wide.h"

namespace muster::kernels {

namespace {

// What one thread takes at a time; all panels of a block stay in the second level.
constexpr std::size_t kColumnBlock = 128;  // A multiple of every panel's width.
constexpr std::size_t kWidestPanel = 32;
constexpr std::size_t kRowBlockMost = 768;
// Tiles multiply so fast that packing weighs more: larger blocks, of at most these many words of b,
// and no longer than this.
constexpr std::size_t kTileBlockWords = std::size_t{1} << 18U;
constexpr std::size_t kTileInnerBlock = 2048;
constexpr std::size_t kTileColumnBlock = 768;
constexpr std::size_t kTileRowBlockMost = 3072;
// Where rows of a are turned over, as many of them and of b's columns as stay in the second level.
constexpr std::size_t kTurnedInnerBlock = 256;
// A strip of a and a panel of b do not both fit into the first level, but a part of a strip stays
// there for all panels. Where that would take many parts, sums come and go too often for it.
constexpr std::size_t kTileStripWords = 192;
constexpr std::size_t kTilePartWords = 176;
constexpr std::size_t kTileStripWordsMost = 640;
constexpr std::size_t kFewColumns = 8;
constexpr std::size_t kNearRows = 256;  // Floats.
constexpr std::size_t kFewRows = 192;
// Rows of a that are packed at once where they have to be.
constexpr std::size_t kPackedRows = 96;

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

// What one thread takes at a time. Bits do not depend on it.
struct BlockSize {
  std::size_t rows;     // A multiple of kPackedRows.
  std::size_t columns;  // A multiple of kWidestPanel.
  std::size_t words;    // Of the inner dimension: sums are taken up again for the next ones.
};

// Large blocks pack b less often; but every thread should have some.
BlockSize ChainBlockSize(const GemmArgs& args, std::size_t threads) {
  const std::size_t across = Blocks(args.columns, kColumnBlock);
  const std::size_t parts = std::max<std::size_t>(1, 4 * threads / across);
  const std::size_t rows = Blocks(Blocks(args.rows, parts), kPackedRows) * kPackedRows;
  return {std::clamp(rows, kPackedRows, kRowBlockMost), kColumnBlock, kInnerBlock};
}

// As b is seen by its columns, a is by its rows.
Source RowsOf(const GemmArgs& args, const MicroKernels& kernels) {
  return SourceOf({args.a.data, args.a.column_stride, args.a.row_stride}, args.inner, args.rows,
                  args.type, kernels);
}

BlockSize TileBlockSize(const GemmArgs& args, const MicroKernels& kernels, std::size_t threads) {
  BlockSize size{};
  const std::size_t words = Words(args.inner, args.type, kernels);
  const bool turned = !RowsOf(args, kernels).inner_together();
  // Sums that lie in c are taken up again for little.
  const std::size_t longest = args.c_type != DType::kF32 ? kTileInnerBlock
                              : turned                   ? kTurnedInnerBlock
                                                         : kInnerBlock;
  const std::size_t lengths = std::max<std::size_t>(1, Blocks(words, longest));
  size.words = std::max<std::size_t>(16, Blocks(Blocks(words, lengths), 16) * 16);
  // As many blocks side by side as there are threads, or a multiple, all of nearly one width; but
  // one block after the other where each would turn all rows, and these are more than the columns.
  const std::size_t widest =
      std::min(kTileColumnBlock, kTileBlockWords / size.words / kWidestPanel * kWidestPanel);
  std::size_t across = Blocks(args.columns, widest);
  const bool down = turned && args.rows >= args.columns;
  if (!down && args.columns >= threads * kColumnBlock) across = Blocks(across, threads) * threads;
  size.columns = Blocks(Blocks(args.columns, across), kWidestPanel) * kWidestPanel;
  const std::size_t parts = down ? threads : Blocks(threads, across);
  const std::size_t most =
      lengths > 1 && args.c_type != DType::kF32 ? kRowBlockMost : kTileRowBlockMost;
  size.rows =
      std::clamp(Blocks(Blocks(args.rows, parts), kPackedRows) * kPackedRows, kPackedRows, most);
  return size;
}

// Whether tiles and pairs are read where they lie: whole pairs, no more words than the rows have.
bool WholePairs(const Source& a, std::size_t words) {
  const bool tiles = a.kernels->words_step > 1;
  return a.pairs() && a.inner_together() && a.inner == 2 * (tiles ? words : a.inner / 2);
}

// One thread's share: some rows and columns of c.
class Block {
 public:
  Block(const GemmArgs& args, const PackedOperand* packed, const BlockSize& size, std::size_t row,
        std::size_t column)
      : args_(args),
        packed_(packed),
        kernels_(KernelsFor(args.type)),
        inner_block_(size.words),
        row_(row),
        rows_(std::min(size.rows, args.rows - row)),
        column_(column),
        columns_(std::min(size.columns, args.columns - column)) {
    a_ = RowsOf(args, kernels_);
    b_ = SourceOf(args.b, args.inner, args.columns, args.type, kernels_);
    words_ = Words(args.inner, args.type, kernels_);
    const std::size_t row_bytes = args.c_row_stride * SizeOf(args.c_type);
    streams_ = args.c_type != DType::kF32 && !args.accumulate && columns_ % kWidestPanel == 0 &&
               Streams(args.c, row_bytes, args.rows * row_bytes);
  }

  void Run() {
    Scratch& scratch = ThisThread();
    sums_ = static_cast<float*>(args_.c) + row_ * args_.c_row_stride + column_;
    sums_stride_ = args_.c_row_stride;
    if (args_.c_type != DType::kF32) {
      const bool whole = words_ <= inner_block_;
      sums_of_ = !whole                        ? SumsOf::kBlock
                 : StripWords(words_) < words_ ? SumsOf::kStrip
                                               : SumsOf::kKernel;
      const bool one = sums_of_ == SumsOf::kKernel;
      sums_stride_ = one ? kWidestPanel : PaddedColumns(columns_, kWidestPanel);
      sums_ = scratch.sums.Get<float>((whole ? kMicroRowsMax : rows_) * sums_stride_);
    }
    const bool in_place = InPlace();
    std::size_t begin = 0;
    do {  // Once for an empty sum, too.
      const std::size_t words = std::min(inner_block_, words_ - begin);
      const Panels panels = in_place ? PanelsInPlace(begin) : PackedPanels(begin, words);
      for (std::size_t row = 0; row < rows_; row += kPackedRows) {
        Rows(row, std::min(kPackedRows, rows_ - row), begin, words, panels);
      }
      begin += words;
    } while (begin < words_);
    if (kernels_.end != nullptr) kernels_.end();
    EndStream(streams_);
  }

 private:
  bool tiles() const { return kernels_.words_step > 1; }

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
    float* const to = ThisThread().b.Get<float>(words * PaddedColumns(columns_, width));
    PackPanels(b_, column_, columns_, begin, words, to);
    return {to, width, words * width};
  }

  // Strips of rows: all of nearly the same height, but for tiles, which are best full.
  void Rows(std::size_t row, std::size_t rows, std::size_t begin, std::size_t words,
            const Panels& panels) {
    const std::size_t width = kernels_.panel_columns;
    MicroArgs micro;
    micro.b_row_bytes = panels.row_floats * sizeof(float);
    const bool from_c = begin > 0 || (args_.accumulate && args_.c_type == DType::kF32);
    micro.c_row_stride = sums_stride_;
    const Placed placed = PlaceRows(row, rows, begin, words, micro);
    const char* const a = micro.a;
    const bool last = begin + words == words_;
    const std::size_t strips = Blocks(rows, kernels_.rows_max), part = StripWords(words);
    const auto start = [&](std::size_t strip) {
      return tiles() ? std::min(rows, strip * kernels_.rows_max) : rows * strip / strips;
    };
    for (std::size_t strip = 0; strip < strips; ++strip) {
      const std::size_t first = start(strip), count = start(strip + 1) - first;
      const MicroKernel kernel =
          placed.together ? kernels_.rows_together[count - 1] : kernels_.rows_apart[count - 1];
      const bool all = sums_of_ == SumsOf::kBlock;
      float* const sums = all ? sums_ + (row + first) * sums_stride_ : sums_;
      std::size_t k = 0;
      do {  // Once for an empty sum, too.
        micro.inner = std::min(part, words - k);
        micro.a = a + first * micro.a_row_bytes + k * micro.a_inner_bytes;
        micro.from_c = k > 0 || from_c;
        for (std::size_t column = 0; column < columns_; column += width) {
          micro.b = panels.first + column / width * panels.panel_floats + k * panels.row_floats;
          micro.c = sums_of_ == SumsOf::kKernel ? sums_ : sums + column;
          micro.columns = std::min(width, columns_ - column);
          if (tiles() && placed.in_place)
            FetchNext(row + first + count, count, column / width, micro);
          kernel(micro);
          if (sums_of_ == SumsOf::kKernel) {
            Finish({row + first, count, column, micro.columns, sums_});
          }
        }
        k += part;
      } while (k < words);
      if (last && sums_of_ != SumsOf::kKernel) Finish({row + first, count, 0, columns_, sums});
    }
  }

  // How much of the inner dimension a strip of rows meets all panels with at a time.
  std::size_t StripWords(std::size_t words) const {
    if (!tiles() || words <= kTileStripWords || words > kTileStripWordsMost) return words;
    return Blocks(words, Blocks(words, kTilePartWords) * 16) * 16;
  }

  // While one strip is multiplied by a panel, a part of the next strip comes nearer.
  void FetchNext(std::size_t row, std::size_t count, std::size_t panel, MicroArgs& micro) const {
    const std::size_t panels = Blocks(columns_, kernels_.panel_columns);
    const std::size_t rows = std::min(rows_ - row, kernels_.rows_max);
    const std::size_t first = rows * panel / panels;
    micro.next = micro.a + (count + first) * micro.a_row_bytes;
    micro.next_rows = rows * (panel + 1) / panels - first;
  }

  // Where rows of a are: `together` if neighbouring rows, rather than neighbours of the inner
  // dimension, lie side by side.
  struct Placed {
    bool in_place, together;
  };

  // Points the micro-kernel at rows of a, in place where they can be read there.
  Placed PlaceRows(std::size_t row, std::size_t rows, std::size_t begin, std::size_t words,
                   MicroArgs& micro) {
    const bool near = a_.inner_together() || a_.inner_bytes <= kNearRows * sizeof(float);
    if (a_.bf16 ? WholePairs(a_, words_) : near) {
      micro.a = a_.data + (row_ + row) * a_.outer_bytes + begin * (a_.bf16 ? 4 : a_.inner_bytes);
      micro.a_row_bytes = a_.outer_bytes;
      micro.a_inner_bytes = a_.bf16 ? 4 : a_.inner_bytes;
      return {true, !a_.inner_together()};
    }
    // Rows a power of two apart would share few places of the first-level cache.
    const std::size_t row_floats = words + 16;
    float* const to = ThisThread().a.Get<float>(kPackedRows * row_floats);
    micro.a = reinterpret_cast<const char*>(to);
    if (a_.inner_together() || tiles()) {
      PackApart(a_, row_ + row, rows, begin, words, to, row_floats);
      micro.a_row_bytes = row_floats * sizeof(float);
      micro.a_inner_bytes = sizeof(float);
      return {false, false};
    }
    PackTogether(a_, row_ + row, rows, begin, words, to);
    micro.a_row_bytes = sizeof(float);
    micro.a_inner_bytes = rows * sizeof(float);
    return {false, true};
  }

  // Sums that are whole, rows sums_stride_ apart.
  struct Part {
    std::size_t row, rows, column, columns;
    float* sums;
  };

  // They become elements of c.
  void Finish(const Part& part) {
    if (args_.c_type == DType::kF32 && args_.bias == nullptr &&
        args_.activation == Activation::kNone) {
      return;
    }
    Dispatch(args_.c_type, [&](auto element) {
      using C = decltype(element);
      Wide([&] { BeforeActivation<C>(part); });
      Activate(part);
      if constexpr (!std::is_same_v<C, float>) Wide([&] { Store<C>(part); });
    });
  }

  template <class C>
  C* At(void* data, const Part& part, std::size_t row) const {
    return static_cast<C*>(data) + (row_ + part.row + row) * args_.c_row_stride + column_ +
           part.column;
  }

  // body(i) for a row's elements: mostly those of one panel, whose loop needs no ends.
  template <class Body>
  static void ForColumns(const Part& part, const Body& body) {
    if (part.columns == kWidestPanel) {
      for (std::size_t i = 0; i < kWidestPanel; ++i) body(i);
    } else {
      for (std::size_t i = 0; i < part.columns; ++i) body(i);
    }
  }

  template <class C>
  void BeforeActivation(const Part& part) const {
    if (args_.bias != nullptr) {
      Dispatch(args_.type, [&](auto element) {
        using T = decltype(element);
        AddBias(part, static_cast<const T*>(args_.bias) + column_ + part.column);
      });
    }
    if (args_.activation == Activation::kNone) return;
    // A slope that is found from the input is found from what can be kept of it, so the value is as
    // well: also where nothing is kept, for an inference has the bits of training.
    const bool rounds = SlopeNeedsInput(args_.activation);
    for (std::size_t row = 0; row < part.rows; ++row) {
      float* const __restrict sums = part.sums + row * sums_stride_;
      if (args_.before_activation != nullptr) {
        StoreRow(streams_, At<C>(args_.before_activation, part, row), part.columns,
                 [&](std::size_t i) { return sums[i]; });
      }
      if (rounds) ForColumns(part, [&](std::size_t i) { sums[i] = ToFloat(C(sums[i])); });
    }
  }

  template <class T>
  void AddBias(const Part& part, const T* __restrict bias) const {
    for (std::size_t row = 0; row < part.rows; ++row) {
      float* const __restrict sums = part.sums + row * sums_stride_;
      ForColumns(part, [&](std::size_t i) { sums[i] += ToFloat(bias[i]); });
    }
  }

  void Activate(const Part& part) const {
    if (args_.activation == Activation::kNone) return;
    // Rows that lie end to end are activated in one call.
    const bool together = sums_stride_ == part.columns;
    const std::size_t count = together ? part.rows * part.columns : part.columns;
    for (std::size_t row = 0; row < (together ? 1 : part.rows); ++row) {
      float* const sums = part.sums + row * sums_stride_;
      ActivationForward(args_.activation, sums, sums, count);
    }
  }

  template <class C>
  void Store(const Part& part) const {
    for (std::size_t row = 0; row < part.rows; ++row) {
      const float* const __restrict sums = part.sums + row * sums_stride_;
      C* const __restrict c = At<C>(args_.c, part, row);
      if (args_.accumulate) {
        ForColumns(part, [&](std::size_t i) { c[i] = C(sums[i] + ToFloat(c[i])); });
      } else if (streams_) {
        StoreRow(true, c, part.columns, [&](std::size_t i) { return sums[i]; });
      } else {
        ForColumns(part, [&](std::size_t i) { c[i] = C(sums[i]); });
      }
    }
  }

  const GemmArgs& args_;
  const PackedOperand* packed_;  // Null: b is packed here.
  const MicroKernels& kernels_;
  const std::size_t inner_block_, row_, rows_, column_, columns_;
  Source a_{}, b_{};
  std::size_t words_ = 0;
  bool streams_ = false;
  float* sums_ = nullptr;
  std::size_t sums_stride_ = 0;
  // What there is memory for in sums_.
  enum class SumsOf { kKernel, kStrip, kBlock } sums_of_ = SumsOf::kBlock;
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
  const BlockSize size{kRowBlockMost, block, kInnerBlock};
  ParallelFor(pool, down * Blocks(args.columns, block), [&](std::size_t index) {
    Block(args, &b, size, index % down * kRowBlockMost, index / down * block).Run();
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
        Block(across, nullptr, {kRowBlockMost, kColumnBlock, kInnerBlock}, 0, column).Run();
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
  const std::size_t threads = pool == nullptr ? 1 : pool->threads();
  const MicroKernels& kernels = KernelsFor(args.type);
  const bool tiles = args.type == DType::kBF16 && kernels.words_step > 1;
  const BlockSize size =
      tiles ? TileBlockSize(args, kernels, threads) : ChainBlockSize(args, threads);
  const std::size_t down = Blocks(args.rows, size.rows);
  ParallelFor(pool, down * Blocks(args.columns, size.columns), [&](std::size_t index) {
    Block(args, nullptr, size, index % down * size.rows, index / down * size.columns).Run();
  });
}

}  // namespace muster::kernels
