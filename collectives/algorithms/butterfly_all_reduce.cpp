#include <bit>
#include <string>
#include <vector>

#include "collectives/algorithms/algorithms.h"
#include "collectives/ordered_sum.h"

namespace muster::algorithms {

// After step k a rank holds the sum over the 2^(k+1) ranks whose numbers agree with its own above
// bit k. Both partners add the same two numbers (a + b = b + a to the last bit), so both have the
// same sum, and it is the tree's.
Status ButterflyAllReduce(Group& group, std::span<float> values) {
  if (!std::has_single_bit(group.size())) {
    return InvalidArgument("butterfly all-reduce needs a power of two of ranks, not " +
                           std::to_string(group.size()));
  }
  std::vector<float> received(values.size());
  for (std::size_t distance = 1; distance < group.size(); distance *= 2) {
    const std::size_t partner = group.rank() ^ distance;
    MUSTER_RETURN_IF_ERROR(group.SendReceive(partner, values, partner, received));
    AddInto(values.data(), received.data(), values.size());
  }
  return {};
}

}  // namespace muster::algorithms
