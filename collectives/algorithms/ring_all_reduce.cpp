#include <vector>

#include "collectives/algorithms/algorithms.h"
#include "collectives/ordered_sum.h"

namespace muster::algorithms {

// The array is cut into p parts. In each step a rank sends one part to its right and receives
// another from its left. In the first half it adds what it receives: after p - 1 steps rank r holds
// the whole sum of part r + 1. In the second half the finished parts go round once more.
Status RingAllReduce(Group& group, std::span<float> values) {
  const std::size_t p = group.size();
  if (p == 1) return {};
  const std::size_t rank = group.rank();
  const std::size_t right = (rank + 1) % p;
  const std::size_t left = (rank + p - 1) % p;
  const auto part = [&](std::size_t number) {
    const Part range = PartOf(values.size(), number % p, p);
    return values.subspan(range.begin, range.size());
  };
  std::vector<float> received(values.size());
  for (std::size_t step = 0; step < p - 1; ++step) {
    const auto outgoing = part(rank + p - step);
    const auto sum = part(rank + p - step - 1);
    const auto incoming = std::span(received).first(sum.size());
    MUSTER_RETURN_IF_ERROR(group.SendReceive(right, outgoing, left, incoming));
    AddInto(sum.data(), incoming.data(), sum.size());
  }
  for (std::size_t step = 0; step < p - 1; ++step) {
    const auto outgoing = part(rank + p + 1 - step);
    const auto incoming = part(rank + p - step);
    MUSTER_RETURN_IF_ERROR(group.SendReceive(right, outgoing, left, incoming));
  }
  return {};
}

}  // namespace muster::algorithms
