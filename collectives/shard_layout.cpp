#include "collectives/shard_layout.h"

#include <cstring>
#include <vector>

namespace muster {

ShardLayout::ShardLayout(std::size_t count, std::size_t block, std::size_t ranks)
    : count_(count), block_(block), ranks_(ranks) {
  MUSTER_CHECK(block > 0 && ranks > 0, "shards need blocks and ranks");
}

Part ShardLayout::Stripe(std::size_t stripe) const {
  const std::size_t elements = ranks_ * block_;
  return {std::min(count_, stripe * elements), std::min(count_, (stripe + 1) * elements)};
}

Part ShardLayout::BlockOf(std::size_t rank, std::size_t stripe) const {
  MUSTER_CHECK(rank < ranks_, "no such rank");
  const std::size_t begin = (stripe * ranks_ + rank) * block_;
  return {std::min(count_, begin), std::min(count_, begin + block_)};
}

std::size_t ShardLayout::Width(std::size_t stripe) const {
  return std::min(block_, Stripe(stripe).size());
}

std::size_t ShardLayout::ShardBlocks(std::size_t rank) const {
  MUSTER_CHECK(rank < ranks_, "no such rank");
  return (blocks() + ranks_ - 1 - rank) / ranks_;
}

std::size_t ShardLayout::ShardSize(std::size_t rank) const {
  const std::size_t blocks = ShardBlocks(rank);
  return blocks == 0 ? 0 : (blocks - 1) * block_ + BlockOf(rank, blocks - 1).size();
}

Status AllGatherShards(Group& group, const ShardLayout& layout, std::size_t element_bytes,
                       std::span<const std::byte> shard, std::span<std::byte> full) {
  MUSTER_CHECK(layout.ranks() == group.size() &&
                   shard.size() == layout.ShardSize(group.rank()) * element_bytes &&
                   (full.empty() || full.size() == layout.count() * element_bytes),
               "a vector or shard of another size");
  std::vector<std::byte> padded, stripe;
  for (std::size_t s = 0; s < layout.stripes(); ++s) {
    const Part all = layout.Stripe(s);
    const std::size_t row = layout.Width(s) * element_bytes;
    const std::size_t bytes = all.size() * element_bytes;
    const std::size_t own = layout.BlockOf(group.rank(), s).size() * element_bytes;
    std::span<const std::byte> input =
        shard.subspan(std::min(shard.size(), s * layout.block() * element_bytes), own);
    if (own < row) {
      padded.assign(input.begin(), input.end());
      padded.resize(row);
      input = padded;
    }
    if (!full.empty() && bytes == row * group.size()) {
      MUSTER_RETURN_IF_ERROR(
          group.AllGather(input, full.subspan(all.begin * element_bytes, bytes)));
      continue;
    }
    stripe.resize(row * group.size());
    MUSTER_RETURN_IF_ERROR(group.AllGather(input, std::span(stripe)));
    if (!full.empty()) {
      std::memcpy(full.data() + all.begin * element_bytes, stripe.data(), bytes);
    }
  }
  return {};
}

Status AllGatherShards(Group& group, const ShardLayout& layout, std::span<const float> shard,
                       std::span<float> full) {
  return AllGatherShards(group, layout, sizeof(float), std::as_bytes(shard),
                         std::as_writable_bytes(full));
}

}  // namespace muster
