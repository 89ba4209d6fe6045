// The numbers that tests have to spell most often where arithmetic ends.
#pragma once

#include <limits>

namespace muster::testing {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

}  // namespace muster::testing
