#include "nn/generation/incremental_reader.h"

#include <string>
#include <utility>

#include "base/check.h"
#include "tensor/kernels/gather.h"

namespace muster::nn {

IncrementalReader::IncrementalReader(const LanguageModel& model, std::vector<LeafBinding> leaves,
                                     const IncrementalReaderOptions& options)
    : model_(model),
      leaves_(std::move(leaves)),
      cache_({model.attention_shape(), model.layers(), options.type,
              (options.tokens_max + kAttentionTile - 1) / kAttentionTile}),
      tape_({.inference = true, .pool = options.pool, .packed = &packed_}) {}

Result<Tensor> IncrementalReader::Read(std::span<const Piece> pieces) {
  tokens_.clear();
  positions_.clear();
  last_.clear();
  sequences_.clear();
  starts_.assign(1, 0);
  for (const Piece& piece : pieces) {
    MUSTER_CHECK(!piece.tokens.empty(), "a piece without tokens");
    const std::size_t before = cache_.tokens(piece.sequence);
    if (before + piece.tokens.size() > model_.context()) {
      return Status(StatusCode::kResourceExhausted,
                    "a sequence of " + std::to_string(before) + " tokens and " +
                        std::to_string(piece.tokens.size()) + " more: the model reads " +
                        std::to_string(model_.context()));
    }
    for (std::size_t i = 0; i < piece.tokens.size(); ++i) {
      tokens_.push_back(piece.tokens[i]);
      positions_.push_back(static_cast<std::int32_t>(before + i));
    }
    starts_.push_back(static_cast<std::int32_t>(tokens_.size()));
    last_.push_back(starts_.back() - 1);
    sequences_.push_back(piece.sequence);
  }
  MUSTER_RETURN_IF_ERROR(cache_.Begin(sequences_, starts_));
  tape_.Begin(leaves_);
  const Tensor hidden = model_.Hidden(tape_, {tokens_, positions_, starts_, &cache_});
  cache_.End();
  const bool all = tokens_.size() == pieces.size();
  return model_.Logits(tape_, all ? hidden : ops::GatherRows(tape_, hidden, last_));
}

}  // namespace muster::nn
