// IDX, the format of MNIST and its family: big-endian header, then unsigned bytes.
// Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section "File formats".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "trainer/data/data_cache.h"
#include "trainer/data/dataset.h"

namespace muster {

struct IdxHeader {
  std::vector<std::uint64_t> dimensions;  // 1 to 4 of them, outermost first.
  std::uint64_t header_bytes = 0;
  std::uint64_t data_bytes = 0;  // Their product: one byte an element.
};

// Reads the header at the start of `bytes`. Errors name `path` and the byte. Never reads past
// `bytes`, whatever they hold.
Result<IdxHeader> ParseIdxHeader(std::span<const std::byte> bytes, const std::string& path);

struct IdxOptions {
  std::string images{};      // [n, height, width], [n, channels, height, width] or [n, width].
  std::string labels{};      // [n]
  std::int32_t classes = 0;  // 0: the largest label + 1.
};

// Both files, plain or gzip-compressed, checked: magic, sizes, counts, and the range of every
// label. Errors name the file and the byte (of the inflated data) and say what is expected there.
Result<Dataset> ReadIdx(DataCache& cache, const IdxOptions& options);

}  // namespace muster
