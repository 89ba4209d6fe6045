// Safetensors: named arrays in one file. 8 bytes little-endian header size, a JSON header that
// gives each array's type, shape and place, then the bytes.
// Source: https://github.com/huggingface/safetensors, README, section "Format".
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace muster {

enum class ArrayType : std::uint8_t { kF32, kF64, kI64, kU8 };

// An array that lies in somebody else's memory, row-major. Arrays lie in a file by name without
// gaps: keep bytes (kU8) to files of their own or to whole eights, or arrays behind them are not
// aligned.
struct ArrayView {
  ArrayType type = ArrayType::kF32;
  std::vector<std::uint64_t> shape;  // Empty: one element.
  std::span<const std::byte> bytes;  // As many as the shape says.

  std::uint64_t elements() const;
  // kF32 and aligned (arrays of a file that ReadCheckpoint mapped are), otherwise throws.
  std::span<const float> f32() const;
  std::span<const double> f64() const;
  std::span<const std::int64_t> i64() const;
  std::span<const std::uint8_t> u8() const;
};
ArrayView ViewOf(std::span<const float> values, std::vector<std::uint64_t> shape);
ArrayView ViewOf(std::span<const double> values, std::vector<std::uint64_t> shape);
ArrayView ViewOf(std::span<const std::int64_t> values, std::vector<std::uint64_t> shape);
ArrayView ViewOf(std::span<const std::uint8_t> values, std::vector<std::uint64_t> shape);

using NamedArrays = std::map<std::string, ArrayView>;  // Sorted by name, as in the file.

// The header of a file that holds `arrays` in the order of their names without gaps, padded with
// spaces to a multiple of 64 bytes, so that mapped arrays are aligned. The same arrays give the
// same bytes always. Throws ContractViolation when bytes do not fit a shape.
std::string SafetensorsHeader(const NamedArrays& arrays);

// A whole file in memory: the header, then the arrays' bytes.
std::string EncodeSafetensors(const NamedArrays& arrays);

// Finds the arrays of `bytes`, which the views point into. Accepts any order and any padding of
// the header, and Hugging Face's `__metadata__`; refuses types other than ours, doubled names, and
// whatever does not cover the file exactly once: overlaps, gaps, sizes that do not fit. kDataLoss
// naming `name`; never reads beyond `bytes`, whatever they hold.
Result<NamedArrays> ParseSafetensors(std::span<const std::byte> bytes, const std::string& name);

}  // namespace muster
