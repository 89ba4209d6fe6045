// The fixed binary tree over lanes: which lanes a rank carries and how their values are summed.
//
// Lanes are the leaves, neighbours are siblings: ((l0+l1)+(l2+l3))+... A rank carries neighbouring
// lanes, so the tree's lower levels are summed within a rank and its upper levels by
// Group::AllReduce, and a sum's bits do not depend on the number of ranks.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/status.h"
#include "collectives/group.h"

namespace muster {

// Lanes [first, first + count) of one rank.
struct LaneRange {
  std::size_t first = 0;
  std::size_t count = 0;
};

// kInvalidArgument unless both are powers of two and 1 <= ranks <= lanes.
Status ValidateLanes(std::size_t lanes, std::size_t ranks);

// Throws ContractViolation where ValidateLanes would refuse or rank >= ranks.
LaneRange LanesOfRank(std::size_t rank, std::size_t ranks, std::size_t lanes);

// Lanes dealt out in waves: in each, every rank runs `at_once` neighbouring lanes, and all ranks
// together run neighbours, so that a wave's sum over ranks is one subtree of the tree. With
// at_once = lanes / ranks there is one wave, and the deal is that of LanesOfRank.
struct LaneWaves {
  std::size_t lanes = 1, ranks = 1, at_once = 1;  // Powers of two; ranks * at_once <= lanes.

  std::size_t waves() const { return lanes / (ranks * at_once); }
  // The lane that a rank runs as its `local`-th, in [0, lanes / ranks): in wave local / at_once.
  std::size_t LaneOf(std::size_t rank, std::size_t local) const {
    return (local / at_once * ranks + rank) * at_once + local % at_once;
  }
};

// Sums rows in the tree's order: `rows` is [lanes, width], returns [width]. `lanes` must be a power
// of two.
std::vector<double> SumRows(std::span<const double> rows, std::size_t lanes);

// The sum over all lanes of all ranks of `width` scalars each (losses, counts, moments).
// `local` is [this rank's lanes, width]; the result [width] has the same bits on every rank and on
// any number of ranks. Collective.
Result<std::vector<double>> SumLanes(Group& group, std::size_t lanes,
                                     std::span<const double> local);

}  // namespace muster
