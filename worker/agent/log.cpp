#include "worker/agent/log.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace muster::agent {

void Log(const std::string& message) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  ::gmtime_r(&now.tv_sec, &utc);
  std::array<char, 32> time;
  std::snprintf(time.data(), time.size(), "%02d:%02d:%02d.%03ld agent: ", utc.tm_hour, utc.tm_min,
                utc.tm_sec, now.tv_nsec / 1'000'000);
  const std::string line = time.data() + message + "\n";
  [[maybe_unused]] const ssize_t wrote = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace muster::agent
