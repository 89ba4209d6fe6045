#include "nn/models/gpt2.h"

#include <cmath>
#include <string>

#include "base/check.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/embedding.h"
#include "tensor/kernels/linear.h"

namespace muster::nn {
namespace {

constexpr float kGpt2Deviation = 0.02F;  // Of all matrices at the start.

ParameterSpec Table(const std::string& name, std::size_t rows, std::size_t columns,
                    float deviation) {
  // A normal draw of deviation gain / sqrt(fan_in).
  return {.name = name,
          .shape = {rows, columns},
          .initialization = Initialization::kKaimingNormal,
          .gain = deviation,
          .fan_in = 1};
}

}  // namespace

Result<std::unique_ptr<Gpt2>> Gpt2::Make(const Gpt2Options& options) {
  if (options.layers == 0 || options.heads == 0 || options.width == 0 || options.vocabulary == 0 ||
      options.context == 0) {
    return InvalidArgument("gpt2: layers, heads, width, vocabulary and context are at least 1");
  }
  if (options.width % options.heads != 0) {
    return InvalidArgument("gpt2: " + std::to_string(options.heads) +
                           " heads do not divide a width of " + std::to_string(options.width));
  }
  return std::unique_ptr<Gpt2>(new Gpt2(options));
}

Gpt2::Gpt2(const Gpt2Options& options) : options_(options) {
  const std::size_t width = options.width;
  // Each block adds twice to the residual stream.
  const float added = kGpt2Deviation / std::sqrt(2.0F * static_cast<float>(options.layers));
  tokens_ =
      parameters_.Add(Table("transformer.wte.weight", options.vocabulary, width, kGpt2Deviation));
  positions_ =
      parameters_.Add(Table("transformer.wpe.weight", options.context, width, kGpt2Deviation));
  for (std::size_t i = 0; i < options.layers; ++i) {
    Block block{};
    block.name = "transformer.h." + std::to_string(i);
    block.layer = i;
    const std::string name = block.name + ".";
    block.norm1 = AddNormParameters(name + "ln_1");
    block.attention = AddMatrix(name + "attn.c_attn", width, 3 * width, kGpt2Deviation);
    block.attention_out = AddMatrix(name + "attn.c_proj", width, width, added);
    block.norm2 = AddNormParameters(name + "ln_2");
    block.mlp = AddMatrix(name + "mlp.c_fc", width, 4 * width, kGpt2Deviation);
    block.mlp_out = AddMatrix(name + "mlp.c_proj", 4 * width, width, added);
    blocks_.push_back(block);
  }
  last_norm_ = AddNormParameters("transformer.ln_f");
}

Gpt2::Matrix Gpt2::AddMatrix(const std::string& name, std::size_t in, std::size_t out,
                             float deviation) {
  Matrix matrix{};
  matrix.weight = parameters_.Add(Table(name + ".weight", out, in, deviation));
  matrix.bias = parameters_.Add({.name = name + ".bias", .shape = {out}, .decay = false});
  return matrix;
}

Gpt2::Matrix Gpt2::AddNormParameters(const std::string& name) {
  Matrix norm{};
  norm.weight = parameters_.Add({.name = name + ".weight",
                                 .shape = {options_.width},
                                 .initialization = Initialization::kOnes,
                                 .decay = false});
  norm.bias = parameters_.Add({.name = name + ".bias", .shape = {options_.width}, .decay = false});
  return norm;
}

Tensor Gpt2::Linear(Tape& tape, Tensor x, const Matrix& matrix, Activation activation) const {
  return ops::Linear(tape, x, tape.Parameter(matrix.weight), tape.Parameter(matrix.bias),
                     activation);
}

Tensor Gpt2::Norm(Tape& tape, Tensor x, const Matrix& norm) const {
  return ops::LayerNorm(tape, x, tape.Parameter(norm.weight), tape.Parameter(norm.bias),
                        options_.epsilon);
}

ops::SumAndNorm Gpt2::AddNorm(Tape& tape, Tensor x, Tensor stream, const Matrix& norm) const {
  return ops::AddLayerNorm(tape, x, stream, tape.Parameter(norm.weight), tape.Parameter(norm.bias),
                           options_.epsilon);
}

Gpt2::Halves Gpt2::Run(Tape& tape, const Block& block, Tensor stream, Tensor normed,
                       const TokenBatch& batch) const {
  const Tensor attended =
      Attention(tape, batch, block.layer, Linear(tape, normed, block.attention), attention_shape());
  const ops::SumAndNorm next =
      AddNorm(tape, Linear(tape, attended, block.attention_out), stream, block.norm2);
  const Tensor inner = Linear(tape, next.y, block.mlp, Activation::kGeluTanh);
  return {next.sum, Linear(tape, inner, block.mlp_out)};
}

Tensor Gpt2::Hidden(Tape& tape, const TokenBatch& batch, Activations activations) const {
  MUSTER_CHECK(batch.tokens.size() == batch.positions.size(), "as many positions as tokens");
  Tensor stream = ops::Add(tape, ops::Embedding(tape, tape.Parameter(tokens_), batch.tokens),
                           ops::Embedding(tape, tape.Parameter(positions_), batch.positions));
  if (activations == Activations::kRecompute) {
    for (const Block& block : blocks_) {
      const Tape::Scope scope(tape, block.name);
      stream = tape.Checkpoint({stream}, [this, &block, batch](Tape& inner, auto in) {
        const Halves halves = Run(inner, block, in[0], Norm(inner, in[0], block.norm1), batch);
        return ops::Add(inner, halves.added, halves.stream);
      });
    }
    return Norm(tape, stream, last_norm_);
  }
  Tensor normed = Norm(tape, stream, blocks_.front().norm1);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Tape::Scope scope(tape, blocks_[i].name);
    const Halves halves = Run(tape, blocks_[i], stream, normed, batch);
    const Matrix& norm = i + 1 < blocks_.size() ? blocks_[i + 1].norm1 : last_norm_;
    const ops::SumAndNorm next = AddNorm(tape, halves.added, halves.stream, norm);
    stream = next.sum;
    normed = next.y;
  }
  return normed;
}

}  // namespace muster::nn
