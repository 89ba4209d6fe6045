#include "coordinator/service/rate_limit.h"

#include <algorithm>

#include "coordinator/service/caps.h"

namespace muster::coordinator {

std::int64_t TokenBucket::Take(std::int64_t now_ms) {
  // Beyond what fills it from empty nothing counts, nor overflows.
  const std::int64_t full_ms = rate_.burst * kWhole / rate_.per_second + 1;
  const std::int64_t elapsed_ms = std::min(now_ms - at_ms_, full_ms);
  level_ = std::min(rate_.burst * kWhole, level_ + elapsed_ms * rate_.per_second);
  at_ms_ = now_ms;
  if (level_ >= kWhole) {
    level_ -= kWhole;
    return 0;
  }
  return (kWhole - level_ + rate_.per_second - 1) / rate_.per_second;
}

std::int64_t RateLimiter::Take(const std::string& user, bool writes, std::int64_t now_ms) {
  const std::lock_guard lock(mutex_);
  auto& buckets = writes ? writes_ : reads_;
  return buckets.try_emplace(user, writes ? kWriteRate : kReadRate).first->second.Take(now_ms);
}

}  // namespace muster::coordinator
