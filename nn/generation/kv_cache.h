// The keys and values of sequences that are read piece by piece, in pages of kAttentionTile tokens:
// a page belongs to one sequence, for all layers. Sequences of any length share the memory without
// gaps (Kwon et al., arXiv:2309.06180, section 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "nn/models/token_batch.h"
#include "tensor/arena.h"

namespace muster::nn {

struct KvCacheOptions {
  AttentionShape shape;
  std::size_t layers = 1;
  DType type = DType::kF32;
  std::size_t pages_max = 1;
};

// One thread at a time; attention itself is shared by the tape's pool.
class KvCache : public AttentionCache {
 public:
  using Sequence = std::size_t;

  explicit KvCache(const KvCacheOptions& options);

  // An empty sequence; its number may be one that was closed.
  Sequence Open();
  // Forgets it; its pages serve others.
  void Close(Sequence sequence);
  std::size_t tokens(Sequence sequence) const { return open_[sequence].tokens; }
  std::size_t pages_free() const { return options_.pages_max - pages_used_; }

  // Readies a pass over every layer: sequence i is about to read starts[i + 1] - starts[i] tokens,
  // at least one; none of them twice. kResourceExhausted when there are too few pages: then nothing
  // has changed.
  Status Begin(std::span<const Sequence> sequences, std::span<const std::int32_t> starts);
  Tensor Attend(Tape& tape, std::size_t layer, Tensor qkv) override;
  // After every layer was attended: the tokens count as read.
  void End();

  static std::size_t PageBytes(const KvCacheOptions& options);

 private:
  struct Page {
    std::unique_ptr<Arena> memory;
    float* floats = nullptr;  // [layers][layer_floats_]
  };
  struct Reading {
    std::size_t tokens = 0;
    std::vector<std::size_t> pages;
  };

  std::size_t TakePage();
  float* PageOf(const Reading& sequence, std::size_t tile, std::size_t layer) {
    return pages_[sequence.pages[tile]].floats + layer * layer_floats_;
  }
  void Append(ThreadPool* pool, std::size_t layer, Tensor qkv);

  KvCacheOptions options_;
  std::size_t layer_floats_;
  std::vector<Page> pages_;        // Made when first needed, kept.
  std::vector<std::size_t> free_;  // Of pages_.
  std::size_t pages_used_ = 0;
  std::vector<Reading> open_;
  std::vector<Sequence> closed_;
  // Of the pass.
  std::vector<Sequence> sequences_;
  std::vector<std::int32_t> starts_;
  bool from_nothing_ = false;  // No sequence of the pass has been read from before.
};

}  // namespace muster::nn
