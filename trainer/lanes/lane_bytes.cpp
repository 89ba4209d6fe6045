#include "trainer/lanes/lane_bytes.h"

#include <algorithm>
#include <cstddef>
#include <span>

namespace muster {

Result<std::vector<std::string>> GatherLaneBytes(Group& group,
                                                 const std::vector<std::string>& local) {
  // Sizes first: whole numbers up to 2^53 are exact in double.
  std::vector<double> own, sizes(local.size() * group.size());
  for (const std::string& bytes : local) own.push_back(static_cast<double>(bytes.size()));
  MUSTER_RETURN_IF_ERROR(group.AllGather(std::span<const double>(own), std::span(sizes)));
  const std::size_t widest =
      static_cast<std::size_t>(*std::max_element(sizes.begin(), sizes.end()));
  std::vector<std::byte> padded(widest * local.size()), all(padded.size() * group.size());
  for (std::size_t lane = 0; lane < local.size(); ++lane) {
    std::transform(local[lane].begin(), local[lane].end(),
                   padded.begin() + static_cast<std::ptrdiff_t>(lane * widest),
                   [](char byte) { return static_cast<std::byte>(byte); });
  }
  if (widest > 0) {
    MUSTER_RETURN_IF_ERROR(group.AllGather(std::span<const std::byte>(padded), std::span(all)));
  }
  std::vector<std::string> lanes(sizes.size());
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    lanes[lane].assign(reinterpret_cast<const char*>(all.data() + lane * widest),
                       static_cast<std::size_t>(sizes[lane]));
  }
  return lanes;
}

}  // namespace muster
