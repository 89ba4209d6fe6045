// How long something takes, over a sample of time.
#pragma once

#include <chrono>
#include <cstddef>

namespace muster {

// Seconds of one call of run(), the mean over as many as `sample_seconds` hold, at least one.
template <class Run>
double SecondsPerCall(const Run& run, double sample_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  std::size_t calls = 0;
  double seconds = 0;
  do {
    run();
    ++calls;
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  } while (seconds < sample_seconds);
  return seconds / static_cast<double>(calls);
}

}  // namespace muster
