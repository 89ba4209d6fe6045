#include "nn/generation/kv_cache.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace muster::nn {
namespace {

std::size_t PagesFor(std::size_t tokens) { return (tokens + kAttentionTile - 1) / kAttentionTile; }

std::size_t Count(std::span<const std::int32_t> starts, std::size_t i) {
  return static_cast<std::size_t>(starts[i + 1] - starts[i]);
}

}  // namespace

KvCache::KvCache(const KvCacheOptions& options)
    : options_(options), layer_floats_(kernels::PageFloats(options.shape, options.type)) {}

std::size_t KvCache::PageBytes(const KvCacheOptions& options) {
  return options.layers * kernels::PageFloats(options.shape, options.type) * sizeof(float);
}

KvCache::Sequence KvCache::Open() {
  if (closed_.empty()) {
    open_.emplace_back();
    return open_.size() - 1;
  }
  const Sequence sequence = closed_.back();
  closed_.pop_back();
  return sequence;
}

void KvCache::Close(Sequence sequence) {
  Reading& reading = open_[sequence];
  free_.insert(free_.end(), reading.pages.begin(), reading.pages.end());
  pages_used_ -= reading.pages.size();
  reading = {};
  closed_.push_back(sequence);
}

std::size_t KvCache::TakePage() {
  ++pages_used_;
  const std::size_t floats = options_.layers * layer_floats_;
  if (free_.empty()) {
    Page page;
    page.memory = std::make_unique<Arena>(floats * sizeof(float));
    page.floats = page.memory->Floats(floats);
    pages_.push_back(std::move(page));
    free_.push_back(pages_.size() - 1);
  }
  const std::size_t index = free_.back();
  free_.pop_back();
  std::fill_n(pages_[index].floats, floats, 0.0F);
  return index;
}

Status KvCache::Begin(std::span<const Sequence> sequences, std::span<const std::int32_t> starts) {
  MUSTER_CHECK(starts.size() == sequences.size() + 1, "a start a sequence, and the end");
  std::size_t needed = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    MUSTER_CHECK(starts[i] < starts[i + 1], "sequence " + std::to_string(i) + " reads nothing");
    const Reading& reading = open_[sequences[i]];
    needed += PagesFor(reading.tokens + Count(starts, i)) - reading.pages.size();
  }
  if (needed > pages_free()) {
    return Status(StatusCode::kResourceExhausted,
                  "the cache of keys and values has " + std::to_string(pages_free()) +
                      " free pages of " + std::to_string(options_.pages_max) + ", " +
                      std::to_string(needed) + " are needed");
  }
  from_nothing_ = true;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    Reading& reading = open_[sequences[i]];
    const std::size_t pages = PagesFor(reading.tokens + Count(starts, i));
    while (reading.pages.size() < pages) reading.pages.push_back(TakePage());
    from_nothing_ = from_nothing_ && reading.tokens == 0;
  }
  sequences_.assign(sequences.begin(), sequences.end());
  starts_.assign(starts.begin(), starts.end());
  return {};
}

void KvCache::Append(ThreadPool* pool, std::size_t layer, Tensor qkv) {
  const std::size_t row_bytes = options_.shape.packed_width() * SizeOf(options_.type);
  ParallelFor(pool, sequences_.size(), [&](std::size_t i) {
    const Reading& reading = open_[sequences_[i]];
    for (std::size_t token = 0; token < Count(starts_, i); ++token) {
      const std::size_t row = static_cast<std::size_t>(starts_[i]) + token;
      const std::size_t place = reading.tokens + token;
      kernels::AppendToPage(options_.shape, options_.type,
                            static_cast<const char*>(qkv.raw()) + row * row_bytes,
                            place % kAttentionTile, PageOf(reading, place / kAttentionTile, layer));
    }
  });
}

Tensor KvCache::Attend(Tape& tape, std::size_t layer, Tensor qkv) {
  const AttentionShape& shape = options_.shape;
  const auto tokens = static_cast<std::size_t>(starts_.back());
  MUSTER_CHECK(tape.inference() && layer < options_.layers && qkv.type() == options_.type &&
                   qkv.elements() == tokens * shape.packed_width(),
               "layer " + std::to_string(layer) + ", qkv " + qkv.shape().ToString());
  Append(tape.pool(), layer, qkv);
  if (from_nothing_) return ops::CausalAttention(tape, qkv, starts_, shape);
  // Every new token by itself; of its pages it sees what is before it.
  const Tensor out = tape.NewOutput({tokens, shape.width()}, options_.type);
  const std::size_t size = SizeOf(options_.type);
  auto* const args = tape.arena().Array<kernels::DecodeArgs>(tokens);
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    const Reading& reading = open_[sequences_[i]];
    auto* const pages = tape.arena().Array<const float*>(reading.pages.size());
    for (std::size_t tile = 0; tile < reading.pages.size(); ++tile) {
      pages[tile] = PageOf(reading, tile, layer);
    }
    for (std::size_t token = 0; token < Count(starts_, i); ++token) {
      const std::size_t row = static_cast<std::size_t>(starts_[i]) + token;
      args[row] = {static_cast<const char*>(qkv.raw()) + row * shape.packed_width() * size,
                   {pages, reading.pages.size()},
                   reading.tokens + token + 1,
                   static_cast<char*>(out.record()->data) + row * shape.width() * size};
    }
  }
  kernels::DecodeAttention(shape, options_.type, {args, tokens}, tape.pool());
  return out;
}

void KvCache::End() {
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    open_[sequences_[i]].tokens += Count(starts_, i);
  }
  sequences_.clear();
  starts_.assign(1, 0);
}

}  // namespace muster::nn
