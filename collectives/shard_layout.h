// ShardLayout: which elements of a flat vector each rank owns, and how the parts come together.
//
// The vector is cut into blocks of a fixed size, dealt out like cards: block b is rank b % ranks'.
// A stripe is `ranks` neighbouring blocks, one of each rank; a shard is its rank's blocks one after
// another, without gaps. So every piece of the vector is spread evenly over its owners, and a
// stripe is, as it lies, what Group::ReduceScatter takes and Group::AllGather gives: shards of
// neighbouring blocks would leave most of a gradient bucket to one rank while the others wait.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "base/check.h"
#include "base/status.h"
#include "collectives/group.h"
#include "collectives/ordered_sum.h"

namespace muster {

class ShardLayout {
 public:
  // `count` elements over any number of ranks; a rank may own none.
  ShardLayout(std::size_t count, std::size_t block, std::size_t ranks);

  std::size_t count() const { return count_; }
  std::size_t block() const { return block_; }
  std::size_t ranks() const { return ranks_; }
  std::size_t blocks() const { return (count_ + block_ - 1) / block_; }
  std::size_t stripes() const { return (blocks() + ranks_ - 1) / ranks_; }

  // The elements of a stripe, and of a rank's block in it. The last stripe may be short, and blocks
  // of it empty: then begin == end == count().
  Part Stripe(std::size_t stripe) const;
  Part BlockOf(std::size_t rank, std::size_t stripe) const;
  // Elements of the stripe's longest block: block() but for a last stripe of less than one block.
  std::size_t Width(std::size_t stripe) const;

  // Blocks and elements of a rank's shard. BlockOf(rank, s) lies in it from s * block() on.
  std::size_t ShardBlocks(std::size_t rank) const;
  std::size_t ShardSize(std::size_t rank) const;

  // Copies a rank's blocks out of `full` [count()] into `shard`.
  template <class T>
  void Take(std::size_t rank, std::span<const T> full, std::span<T> shard) const {
    MUSTER_CHECK(full.size() == count_ && shard.size() == ShardSize(rank),
                 "a vector or shard of another size");
    for (std::size_t s = 0; s < ShardBlocks(rank); ++s) {
      const Part own = BlockOf(rank, s);
      std::copy(full.data() + own.begin, full.data() + own.end, shard.data() + s * block_);
    }
  }

 private:
  std::size_t count_, block_, ranks_;
};

// Puts the shards of all ranks together: `full` [layout.count()], or empty on a rank that takes
// part without keeping anything. Moves stripe by stripe, so that it needs no memory beyond one.
// Collective.
Status AllGatherShards(Group& group, const ShardLayout& layout, std::span<const float> shard,
                       std::span<float> full);
// Elements of `element_bytes` each; the spans hold their bytes.
Status AllGatherShards(Group& group, const ShardLayout& layout, std::size_t element_bytes,
                       std::span<const std::byte> shard, std::span<std::byte> full);

}  // namespace muster
