// The classical collective algorithms, each in a short file of its own, on top of a group's Send
// and Receive alone. They are here to be read and compared: Group's own operations are faster, and
// its ordered sum does not change its bits with the number of ranks as most of these do.
//
// All are collective: every rank calls with the same arguments and sizes. Cost model (Thakur et
// al., "Optimization of collective communication operations in MPICH", IJHPCA 19(1), 2005, section
// 3): a message of n bytes takes alpha + n * beta. p is the number of ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "collectives/group.h"

namespace muster::algorithms {

// Ring all-reduce: p - 1 steps of reduce-scatter and p - 1 of all-gather round a ring.
// 2 (p - 1) messages a rank, 2 (p - 1) / p of the array: no algorithm sends less.
// Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
// workstations", JPDC 69(2), 2009.
Status RingAllReduce(Group& group, std::span<float> values);

// Butterfly (recursive doubling) all-reduce: in step k every rank exchanges its whole array with
// the rank whose number differs in bit k. log2(p) messages of the whole array: fewest steps, most
// bytes. Its sums are the fixed tree's, so its bits equal Group::AllReduce's. p must be a power of
// two: kInvalidArgument otherwise. Source: Thakur et al., section 4.5.
Status ButterflyAllReduce(Group& group, std::span<float> values);

// The root sends the whole array to every other rank, one after another: p - 1 messages in a row.
Status NaiveBroadcast(Group& group, std::span<float> values, std::size_t root);

// Binomial tree: in every step each rank that has the array sends it on, so their number doubles.
// log2(p) steps, rounded up. Source: Thakur et al., section 4.3.
Status TreeBroadcast(Group& group, std::span<float> values, std::size_t root);

// The binomial tree backwards: the sum over ranks ends in the root's `values`; what is in the
// others' afterwards is a partial sum. log2(p) steps, rounded up.
Status TreeReduce(Group& group, std::span<float> values, std::size_t root);

// What a rank sent and how long it was in Send and Receive, since the group's last ResetStatistics.
struct Traffic {
  std::uint64_t bytes = 0;
  std::uint64_t messages = 0;
  double seconds = 0;
};
Traffic MessagesSent(const Group& group);

}  // namespace muster::algorithms
