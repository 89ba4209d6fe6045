#include <vector>

#include "collectives/algorithms/algorithms.h"
#include "collectives/ordered_sum.h"

namespace muster::algorithms {

// Ranks are counted from the root. In the step of distance d a rank with bit d set sends its
// partial sum to the rank without that bit and is done; the other adds it.
Status TreeReduce(Group& group, std::span<float> values, std::size_t root) {
  const std::size_t p = group.size();
  MUSTER_CHECK(root < p, "the root is a rank of the group");
  const std::size_t place = (group.rank() + p - root) % p;
  const auto rank_at = [&](std::size_t other) { return (other + root) % p; };
  std::vector<float> received(values.size());
  for (std::size_t distance = 1; distance < p; distance *= 2) {
    if ((place & distance) != 0) return group.Send(rank_at(place - distance), values);
    if (place + distance >= p) continue;
    MUSTER_RETURN_IF_ERROR(group.Receive(rank_at(place + distance), received));
    AddInto(values.data(), received.data(), values.size());
  }
  return {};
}

}  // namespace muster::algorithms
