// What reducers say of their own time.
#pragma once

#include <chrono>

namespace muster {

using Clock = std::chrono::steady_clock;

inline double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace muster
