// What one caller may do at most, in one place. How much of the cluster a user's jobs may hold is
// in people.cpp (LimitsOf).
#pragma once

#include <cstddef>

#include "coordinator/service/rate_limit.h"

namespace muster::coordinator {

constexpr int kMessageBytesMax = 4 << 20;  // A request; larger ones: RESOURCE_EXHAUSTED.

// Of students and assistants. Administrators have none: their scripts submit in bursts.
constexpr Rate kWriteRate{.burst = 30, .per_second = 2};
constexpr Rate kReadRate{.burst = 200, .per_second = 50};

// Streams that one person holds open at a time: followers and downloads.
constexpr std::size_t kStreamsMax = 64;
constexpr std::size_t kAdminStreamsMax = 1'024;

}  // namespace muster::coordinator
