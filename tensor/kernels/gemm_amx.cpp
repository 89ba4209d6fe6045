// bf16 sums in blocks of 32 by TDPBF16PS: a block's even and its odd products are each added in a
// chain that begins with 0, then both chains' sum is added to c.
#include <immintrin.h>

#include <cstdint>
#include <utility>

#include "tensor/kernels/gemm_kernel.h"

namespace muster::kernels {

namespace {

// A tile has at most 16 rows of 64 bytes. Tiles 0 to 3 are c (2 x 2), 4 and 5 a's two groups of
// rows, 6 and 7 b's two groups of columns.
constexpr std::size_t kTileRows = 16;
constexpr std::size_t kTileWords = 16;
constexpr std::size_t kTileBytes = 64;

// LDTILECFG's operand.
struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t column_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfiguration) == 64);

// What this thread's tiles are configured for; 0 = they are not.
thread_local std::size_t configured_rows = 0;
thread_local std::size_t configured_columns = 0;

void Configure(std::size_t rows, std::size_t columns) {
  if (rows == configured_rows && columns == configured_columns) return;
  configured_rows = rows;
  configured_columns = columns;
  const std::size_t row_counts[] = {rows < kTileRows ? rows : kTileRows,
                                    rows > kTileRows ? rows - kTileRows : 0};
  const std::size_t column_counts[] = {columns < kTileWords ? columns : kTileWords,
                                       columns > kTileWords ? columns - kTileWords : 0};
  TileConfiguration tiles;
  const auto set = [&tiles](std::size_t tile, std::size_t tile_rows, std::size_t tile_words) {
    if (tile_rows == 0 || tile_words == 0) return;  // Not used.
    tiles.rows[tile] = static_cast<std::uint8_t>(tile_rows);
    tiles.column_bytes[tile] = static_cast<std::uint16_t>(tile_words * 4);
  };
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t j = 0; j < 2; ++j) set(2 * i + j, row_counts[i], column_counts[j]);
    set(4 + i, row_counts[i], kTileWords);
    set(6 + i, kTileWords, column_counts[i]);
  }
  // g++ 12 believes that only the first 8 bytes are read.
  asm volatile("" : : "r"(&tiles) : "memory");
  _tile_loadconfig(&tiles);
}

void Release() {
  if (configured_rows == 0) return;
  configured_rows = configured_columns = 0;
  _tile_release();
}

// kTall: more than 16 rows. kWide: more than 16 columns.
template <bool kTall, bool kWide>
void Tiles(const MicroArgs& args) {
  float* const c = args.c;
  float* const c_low = c + kTileRows * args.c_row_stride;
  const std::size_t c_bytes = args.c_row_stride * sizeof(float);
  if (args.from_c) {
    _tile_loadd(0, c, c_bytes);
    if constexpr (kWide) _tile_loadd(1, c + kTileWords, c_bytes);
    if constexpr (kTall) _tile_loadd(2, c_low, c_bytes);
    if constexpr (kTall && kWide) _tile_loadd(3, c_low + kTileWords, c_bytes);
  } else {
    _tile_zero(0);
    if constexpr (kWide) _tile_zero(1);
    if constexpr (kTall) _tile_zero(2);
    if constexpr (kTall && kWide) _tile_zero(3);
  }
  const char* a = args.a;
  const char* a_low = a + kTileRows * args.a_row_bytes;
  const char* b = static_cast<const char*>(args.b);
  for (std::size_t k = 0; k < args.inner; k += kTileWords) {
    _tile_loadd(6, b, args.b_row_bytes);
    _tile_loadd(4, a, args.a_row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kWide) {
      _tile_loadd(7, b + kTileBytes, args.b_row_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kTall) {
      _tile_loadd(5, a_low, args.a_row_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kWide) _tile_dpbf16ps(3, 5, 7);
      a_low += kTileBytes;
    }
    for (std::size_t row = 0; row < args.next_rows; ++row) {
      _mm_prefetch(args.next + row * args.a_row_bytes + k * 4, _MM_HINT_T1);
    }
    a += kTileBytes;
    b += kTileWords * args.b_row_bytes;
  }
  _tile_stored(0, c, c_bytes);
  if constexpr (kWide) _tile_stored(1, c + kTileWords, c_bytes);
  if constexpr (kTall) _tile_stored(2, c_low, c_bytes);
  if constexpr (kTall && kWide) _tile_stored(3, c_low + kTileWords, c_bytes);
}

template <std::size_t kRows>
void Micro(const MicroArgs& args) {
  constexpr bool kTall = kRows > kTileRows;
  Configure(kRows, args.columns);
  args.columns > kTileWords ? Tiles<kTall, true>(args) : Tiles<kTall, false>(args);
}

template <std::size_t... R>
constexpr MicroKernels Kernels(std::index_sequence<R...>) {
  MicroKernels kernels{.rows_max = sizeof...(R), .panel_columns = 2 * kTileWords, .pairs = true};
  kernels.words_step = kTileWords;
  kernels.rows_apart = {Micro<R + 1>...};
  kernels.turn_words = TurnWords512;
  kernels.turn_pairs = TurnPairs512;
  kernels.end = Release;
  return kernels;
}

}  // namespace

constinit const MicroKernels kAmxBf16 = Kernels(std::make_index_sequence<2 * kTileRows>());

}  // namespace muster::kernels
