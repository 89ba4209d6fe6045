#include "collectives/lane_tree.h"

#include <bit>
#include <string>

#include "collectives/ordered_sum.h"

namespace muster {

Status ValidateLanes(std::size_t lanes, std::size_t ranks) {
  if (!std::has_single_bit(lanes)) {
    return InvalidArgument("lanes must be a power of two, not " + std::to_string(lanes));
  }
  if (!std::has_single_bit(ranks) || ranks > lanes) {
    return InvalidArgument("ranks must be a power of two up to lanes (" + std::to_string(lanes) +
                           "), not " + std::to_string(ranks));
  }
  return {};
}

LaneRange LanesOfRank(std::size_t rank, std::size_t ranks, std::size_t lanes) {
  const Status valid = ValidateLanes(lanes, ranks);
  MUSTER_CHECK(valid.ok() && rank < ranks, valid.ok() ? "no such rank" : valid.message());
  const std::size_t count = lanes / ranks;
  return {rank * count, count};
}

std::vector<double> SumRows(std::span<const double> rows, std::size_t lanes) {
  MUSTER_CHECK(std::has_single_bit(lanes) && rows.size() % lanes == 0, "rows are [lanes, width]");
  const std::size_t width = rows.size() / lanes;
  std::vector<double> sums(rows.begin(), rows.end());
  // Level by level: row i takes row i + step.
  for (std::size_t step = 1; step < lanes; step *= 2) {
    for (std::size_t row = 0; row < lanes; row += 2 * step) {
      AddInto(sums.data() + row * width, sums.data() + (row + step) * width, width);
    }
  }
  sums.resize(width);
  return sums;
}

Result<std::vector<double>> SumLanes(Group& group, std::size_t lanes,
                                     std::span<const double> local) {
  MUSTER_RETURN_IF_ERROR(ValidateLanes(lanes, group.size()));
  std::vector<double> sums = SumRows(local, lanes / group.size());
  MUSTER_RETURN_IF_ERROR(group.AllReduce(std::span<double>(sums)));
  return sums;
}

}  // namespace muster
