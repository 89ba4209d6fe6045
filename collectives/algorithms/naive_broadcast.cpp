#include "collectives/algorithms/algorithms.h"

namespace muster::algorithms {

Status NaiveBroadcast(Group& group, std::span<float> values, std::size_t root) {
  MUSTER_CHECK(root < group.size(), "the root is a rank of the group");
  if (group.rank() != root) return group.Receive(root, values);
  for (std::size_t peer = 0; peer < group.size(); ++peer) {
    if (peer != root) MUSTER_RETURN_IF_ERROR(group.Send(peer, values));
  }
  return {};
}

}  // namespace muster::algorithms
