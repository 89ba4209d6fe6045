// When to try again after RESOURCE_EXHAUSTED: told beside the status, in the trailing metadata.
#pragma once

#include <grpcpp/client_context.h>

#include <charconv>
#include <chrono>
#include <optional>

namespace muster::wire {

constexpr const char* kRetryAfterKey = "retry-after-ms";  // Value: decimal.

// Of a call that has finished; nothing when the server said nothing of it.
inline std::optional<std::chrono::milliseconds> RetryAfter(const grpc::ClientContext& context) {
  const auto& metadata = context.GetServerTrailingMetadata();
  const auto found = metadata.find(kRetryAfterKey);
  if (found == metadata.end()) return std::nullopt;
  constexpr std::int64_t kMostMs = 60'000;
  std::int64_t ms = 0;
  const char* end = found->second.data() + found->second.size();
  const auto [stop, error] = std::from_chars(found->second.data(), end, ms);
  if (error != std::errc() || stop != end || ms < 0 || ms > kMostMs) return std::nullopt;
  return std::chrono::milliseconds(ms);
}

}  // namespace muster::wire
