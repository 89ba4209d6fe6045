// Rotary position embedding: each pair (a, b) of a query's or key's numbers is turned by the angle
// position * frequency, so that a product of a query and a key depends on their distance alone.
//   a' = a cos - b sin,  b' = b cos + a sin
// Sources: Su et al., arXiv:2104.09864; the scaled frequencies of Llama 3.1 as in Hugging Face's
// modeling_rope_utils, _compute_llama3_parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/kernels/attention.h"

namespace muster {

// Which two of a head's `dims` numbers make pair i. Weights trained with one are wrong with the
// other; converting between them permutes the rows of the query and key matrices.
enum class RotaryPairing : std::uint8_t {
  kHalves,  // i and i + dims / 2: GPT-NeoX, and Llama, Mistral, Qwen as Hugging Face keeps them.
  kNeighbours,  // 2i and 2i + 1: the paper, GPT-J, Meta's own Llama files.
};

// Llama 3.1 and later: long wavelengths are stretched by `factor`, short ones kept, and those in
// between, by the share of original_context that they fill, are mixed.
struct Llama3Scaling {
  double factor = 8;
  double low_frequency_factor = 1;   // Wavelengths above original_context / this: stretched.
  double high_frequency_factor = 4;  // Below original_context / this: kept.
  double original_context = 8192;
};

struct RotaryOptions {
  std::size_t dims = 0;  // Of each head's first numbers; even. The rest is not turned (GPT-NeoX).
  double base = 10'000;
  RotaryPairing pairing = RotaryPairing::kHalves;
  std::optional<Llama3Scaling> llama3 = {};
};

// Cosines and sines for positions [0, positions). Frequencies and angles are rounded to f32, as
// models are trained with them: at position 8,000 the rounding of an angle is no longer small.
class RotaryTable {
 public:
  RotaryTable(const RotaryOptions& options, std::size_t positions);

  const RotaryOptions& options() const { return options_; }
  std::size_t positions() const { return positions_; }
  // dims / 2 numbers.
  std::span<const float> frequencies() const { return frequencies_; }
  const float* cosines(std::size_t position) const {
    return &turns_[position * 2 * frequencies_.size()];
  }
  const float* sines(std::size_t position) const { return cosines(position) + frequencies_.size(); }

 private:
  RotaryOptions options_;
  std::size_t positions_;
  std::vector<float> frequencies_;
  std::vector<float> turns_;  // Per position: cosines, then sines.
};

// Positions counted from each sequence's start: what CausalAttention's `starts` imply.
std::vector<std::int32_t> PositionsOf(std::span<const std::int32_t> starts);

namespace ops {

// qkv [tokens, packed_width] as CausalAttention takes it, f32 or bf16: queries and keys turned,
// values as they are. `table` and `positions` live until the step ends.
Tensor Rotary(Tape& tape, Tensor qkv, std::span<const std::int32_t> positions,
              const AttentionShape& shape, const RotaryTable& table);

}  // namespace ops
}  // namespace muster
