// The two clocks of the coordinator: one that only goes forward, for decisions; one that people
// read.
#pragma once

#include <chrono>
#include <cstdint>

namespace muster::coordinator {

inline std::int64_t SteadyMillis() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Since 1970, UTC.
inline std::int64_t WallMillis() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace muster::coordinator
