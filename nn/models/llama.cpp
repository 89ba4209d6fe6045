#include "nn/models/llama.h"

#include "base/check.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/embedding.h"
#include "tensor/kernels/linear.h"
#include "tensor/kernels/row_norm.h"
#include "tensor/kernels/swiglu.h"

namespace muster::nn {
namespace {

constexpr float kLlamaDeviation = 0.02F;  // Of all matrices at the start.

LlamaOptions Filled(LlamaOptions options) {
  if (options.head_dim == 0) options.head_dim = options.width / options.heads;
  return options;
}

}  // namespace

Result<std::unique_ptr<Llama>> Llama::Make(const LlamaOptions& options) {
  for (const std::size_t size : {options.layers, options.heads, options.kv_heads, options.width,
                                 options.inner, options.vocabulary, options.context}) {
    if (size == 0) {
      return InvalidArgument(
          "llama: layers, heads, kv_heads, width, inner, vocabulary and context are at least 1");
    }
  }
  if (options.head_dim == 0 && options.width % options.heads != 0) {
    return InvalidArgument("llama: " + std::to_string(options.heads) +
                           " heads do not divide a width of " + std::to_string(options.width) +
                           "; give head_dim");
  }
  if (options.heads % options.kv_heads != 0) {
    return InvalidArgument("llama: " + std::to_string(options.kv_heads) +
                           " kv_heads do not divide " + std::to_string(options.heads) + " heads");
  }
  if (Filled(options).head_dim % 2 != 0) {
    return InvalidArgument("llama: heads of " + std::to_string(Filled(options).head_dim) +
                           " dimensions; rotary positions turn pairs");
  }
  return std::unique_ptr<Llama>(new Llama(Filled(options)));
}

Llama::Llama(const LlamaOptions& options)
    : options_(options),
      shape_{options.heads, options.kv_heads, options.head_dim, 0, options.window},
      table_({options.head_dim, options.rotary_base, RotaryPairing::kHalves, options.llama3},
             options.context) {
  const std::size_t width = options.width;
  tokens_ = AddMatrix("model.embed_tokens.weight", width, options.vocabulary);
  for (std::size_t i = 0; i < options.layers; ++i) {
    Block block{};
    block.name = "model.layers." + std::to_string(i);
    block.layer = i;
    const std::string attention = block.name + ".self_attn.", mlp = block.name + ".mlp.";
    block.norm1 = AddGain(block.name + ".input_layernorm.weight");
    block.qkv = AddMatrix(attention + "qkv_proj.weight", width, shape_.packed_width());
    if (options.qkv_bias) {
      block.qkv_bias = parameters_.Add(
          {.name = attention + "qkv_proj.bias", .shape = {shape_.packed_width()}, .decay = false});
    }
    block.out = AddMatrix(attention + "o_proj.weight", shape_.width(), width);
    block.norm2 = AddGain(block.name + ".post_attention_layernorm.weight");
    block.gate = AddMatrix(mlp + "gate_proj.weight", width, options.inner);
    block.up = AddMatrix(mlp + "up_proj.weight", width, options.inner);
    block.down = AddMatrix(mlp + "down_proj.weight", options.inner, width);
    blocks_.push_back(std::move(block));
  }
  last_norm_ = AddGain("model.norm.weight");
  head_ = options.tied ? tokens_ : AddMatrix("lm_head.weight", width, options.vocabulary);
}

std::size_t Llama::AddMatrix(const std::string& name, std::size_t in, std::size_t out) {
  // A normal draw of deviation gain / sqrt(fan_in).
  return parameters_.Add({.name = name,
                          .shape = {out, in},
                          .initialization = Initialization::kKaimingNormal,
                          .gain = kLlamaDeviation,
                          .fan_in = 1});
}

std::size_t Llama::AddGain(const std::string& name) {
  return parameters_.Add({.name = name,
                          .shape = {options_.width},
                          .initialization = Initialization::kOnes,
                          .decay = false});
}

Tensor Llama::Linear(Tape& tape, Tensor x, std::size_t weight) const {
  return ops::Linear(tape, x, tape.Parameter(weight), {});
}

Llama::Halves Llama::Run(Tape& tape, const Block& block, Tensor stream, Tensor normed,
                         const TokenBatch& batch) const {
  const Tensor bias = options_.qkv_bias ? tape.Parameter(block.qkv_bias) : Tensor();
  const Tensor qkv = ops::Linear(tape, normed, tape.Parameter(block.qkv), bias);
  const Tensor turned = ops::Rotary(tape, qkv, batch.positions, shape_, table_);
  const Tensor attended = Attention(tape, batch, block.layer, turned, shape_);
  const ops::SumAndNorm next = ops::AddRmsNorm(tape, Linear(tape, attended, block.out), stream,
                                               tape.Parameter(block.norm2), options_.epsilon);
  const Tensor inner =
      ops::SwiGlu(tape, Linear(tape, next.y, block.gate), Linear(tape, next.y, block.up));
  return {next.sum, Linear(tape, inner, block.down)};
}

Tensor Llama::Hidden(Tape& tape, const TokenBatch& batch, Activations activations) const {
  MUSTER_CHECK(batch.tokens.size() == batch.positions.size(), "as many positions as tokens");
  Tensor stream = ops::Embedding(tape, tape.Parameter(tokens_), batch.tokens);
  if (activations == Activations::kRecompute) {
    for (const Block& block : blocks_) {
      const Tape::Scope scope(tape, block.name);
      stream = tape.Checkpoint({stream}, [this, &block, batch](Tape& inner, auto in) {
        const Tensor normed =
            ops::RmsNorm(inner, in[0], inner.Parameter(block.norm1), options_.epsilon);
        const Halves halves = Run(inner, block, in[0], normed, batch);
        return ops::Add(inner, halves.added, halves.stream);
      });
    }
    return ops::RmsNorm(tape, stream, tape.Parameter(last_norm_), options_.epsilon);
  }
  Tensor normed =
      ops::RmsNorm(tape, stream, tape.Parameter(blocks_.front().norm1), options_.epsilon);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Tape::Scope scope(tape, blocks_[i].name);
    const Halves halves = Run(tape, blocks_[i], stream, normed, batch);
    const std::size_t norm = i + 1 < blocks_.size() ? blocks_[i + 1].norm1 : last_norm_;
    const ops::SumAndNorm next =
        ops::AddRmsNorm(tape, halves.added, halves.stream, tape.Parameter(norm), options_.epsilon);
    stream = next.sum;
    normed = next.y;
  }
  return normed;
}

}  // namespace muster::nn
