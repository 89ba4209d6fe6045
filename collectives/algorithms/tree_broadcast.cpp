#include "collectives/algorithms/algorithms.h"

namespace muster::algorithms {

// Ranks are counted from the root. In the step of distance d the ranks below d have the array, and
// rank r < d sends it to r + d.
Status TreeBroadcast(Group& group, std::span<float> values, std::size_t root) {
  const std::size_t p = group.size();
  MUSTER_CHECK(root < p, "the root is a rank of the group");
  const std::size_t place = (group.rank() + p - root) % p;
  const auto rank_at = [&](std::size_t other) { return (other + root) % p; };
  for (std::size_t distance = 1; distance < p; distance *= 2) {
    if (place < distance && place + distance < p) {
      MUSTER_RETURN_IF_ERROR(group.Send(rank_at(place + distance), values));
    } else if (place >= distance && place < 2 * distance) {
      MUSTER_RETURN_IF_ERROR(group.Receive(rank_at(place - distance), values));
    }
  }
  return {};
}

}  // namespace muster::algorithms
