// Reads sequences piece by piece and tells what may come next: what generation stands on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "nn/generation/kv_cache.h"
#include "nn/models/language_model.h"
#include "tensor/kernels/packed_weights.h"

namespace muster::nn {

struct IncrementalReaderOptions {
  DType type = DType::kF32;       // Of the leaves.
  std::size_t tokens_max = 1024;  // Kept, of all sequences together; rounded up to pages.
  ThreadPool* pool = nullptr;
};

// What one sequence reads next.
struct Piece {
  KvCache::Sequence sequence = 0;
  std::span<const std::int32_t> tokens;  // At least one, each in [0, vocabulary).
};

// The model and the leaves' values outlive it and do not change. One thread at a time.
//
// A row of logits depends on its own sequence alone and has the same bits as in one causal pass:
// however the sequence was cut into pieces, and whatever was read beside it.
class IncrementalReader {
 public:
  IncrementalReader(const LanguageModel& model, std::vector<LeafBinding> leaves,
                    const IncrementalReaderOptions& options);

  KvCache::Sequence Open() { return cache_.Open(); }
  void Close(KvCache::Sequence sequence) { cache_.Close(sequence); }
  std::size_t tokens(KvCache::Sequence sequence) const { return cache_.tokens(sequence); }

  std::size_t packed_bytes() const { return packed_.bytes(); }  // What a step reads of weights.

  // The logits [pieces, vocabulary], f32, after each piece's last token; they live until the next
  // call. kResourceExhausted when a piece goes beyond the model's context or there is no memory
  // left for keys and values; then nothing has been read.
  Result<Tensor> Read(std::span<const Piece> pieces);

 private:
  const LanguageModel& model_;
  std::vector<LeafBinding> leaves_;
  PackedWeights packed_;
  KvCache cache_;
  Tape tape_;
  std::vector<std::int32_t> tokens_, positions_, starts_, last_;
  std::vector<KvCache::Sequence> sequences_;
};

}  // namespace muster::nn
