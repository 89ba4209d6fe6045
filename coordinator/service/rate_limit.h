// How often one person may call: token buckets, one for calls that write and one for those that
// read.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace muster::coordinator {

// Calls at once after a quiet time, and how many more a second.
struct Rate {
  std::int64_t burst = 0;
  std::int64_t per_second = 0;
};

class TokenBucket {
 public:
  // Full at first.
  explicit TokenBucket(Rate rate) : rate_(rate), level_(rate.burst * kWhole) {}

  // 0: taken. Otherwise nothing is taken, and in so many ms there is something. `now_ms` never
  // decreases.
  std::int64_t Take(std::int64_t now_ms);

 private:
  static constexpr std::int64_t kWhole = 1'000;  // Per second and ms: no fraction is ever lost.

  Rate rate_;
  std::int64_t level_;
  std::int64_t at_ms_ = 0;
};

// Thread-safe. One pair of buckets for each name that it has seen: names are of users only.
class RateLimiter {
 public:
  // As TokenBucket::Take.
  std::int64_t Take(const std::string& user, bool writes, std::int64_t now_ms);

 private:
  std::mutex mutex_;
  std::map<std::string, TokenBucket> reads_;
  std::map<std::string, TokenBucket> writes_;
};

}  // namespace muster::coordinator
