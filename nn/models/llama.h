// Llama and its kin (Llama 2 and 3, SmolLM, TinyLlama, Mistral with its window, Qwen 2 with biases
// on queries, keys and values): pre-norm blocks with RMS norms, rotary positions, grouped-query
// attention and SwiGLU.
// Sources: Touvron et al., arXiv:2302.13971 and arXiv:2307.09288; Hugging Face's modeling_llama.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "nn/models/language_model.h"
#include "tensor/kernels/rotary.h"

namespace muster::nn {

struct LlamaOptions {
  std::size_t layers = 22;  // TinyLlama, 1.1 billion parameters.
  std::size_t heads = 32;
  std::size_t kv_heads = 4;  // Divides heads.
  std::size_t head_dim = 0;  // 0 = width / heads.
  std::size_t width = 2'048;
  std::size_t inner = 5'632;  // Of the feed-forward part.
  std::size_t vocabulary = 32'000;
  std::size_t context = 2'048;  // Positions.
  std::size_t window = 0;       // Of the attention; 0 = all.
  float epsilon = 1e-5F;        // Of the norms.
  double rotary_base = 10'000;
  std::optional<Llama3Scaling> llama3 = {};
  bool qkv_bias = false;
  bool tied = false;  // The output layer is the token embedding.
};

// Parameters are named as in Hugging Face's LlamaForCausalLM, but that a block's query, key and
// value matrices are one, "model.layers.0.self_attn.qkv_proj.weight": their rows one after the
// other.
class Llama : public LanguageModel {
 public:
  // kInvalidArgument when a size is 0, the heads do not divide the width (unless head_dim is
  // given), kv_heads do not divide the heads, or a head has an odd number of dimensions.
  static Result<std::unique_ptr<Llama>> Make(const LlamaOptions& options);

  const LlamaOptions& options() const { return options_; }  // head_dim filled in.

  std::size_t layers() const override { return options_.layers; }
  std::size_t vocabulary() const override { return options_.vocabulary; }
  std::size_t context() const override { return options_.context; }
  AttentionShape attention_shape() const override { return shape_; }
  Tensor Hidden(Tape& tape, const TokenBatch& batch,
                Activations activations = Activations::kKeep) const override;

 protected:
  std::size_t head() const override { return head_; }

 private:
  struct Block {
    std::string name;  // "model.layers.0"
    std::size_t layer, norm1, qkv, qkv_bias, out, norm2, gate, up, down;
  };

  explicit Llama(const LlamaOptions& options);
  std::size_t AddMatrix(const std::string& name, std::size_t in, std::size_t out);
  std::size_t AddGain(const std::string& name);
  Tensor Linear(Tape& tape, Tensor x, std::size_t weight) const;
  // What the block adds to the stream: the last summand alone, and the stream without it.
  struct Halves {
    Tensor stream, added;
  };
  Halves Run(Tape& tape, const Block& block, Tensor stream, Tensor normed,
             const TokenBatch& batch) const;

  LlamaOptions options_;
  AttentionShape shape_;
  RotaryTable table_;
  std::size_t tokens_, last_norm_, head_;
  std::vector<Block> blocks_;
};

}  // namespace muster::nn
