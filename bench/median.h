// The middle one of what was measured.
#pragma once

#include <algorithm>
#include <vector>

namespace muster {

// At least one sample; of an even number the upper of the two in the middle.
inline double Median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

}  // namespace muster
