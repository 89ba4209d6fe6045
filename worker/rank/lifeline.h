// Ends the rank when its agent has ended.
#pragma once

#include <sys/types.h>

#include <functional>

namespace muster::rank {

// Watches descriptor `lifeline`, the read end of a pipe whose other end the agent holds, on a
// thread of its own, and ends the process at its end of file, after `before_end`. Descriptors that
// are no pipe (a rank started by hand) are not watched.
void WatchLifeline(int lifeline, std::function<void()> before_end);

inline constexpr int kLifelineDescriptor = 3;  // As the agent sets it up.

}  // namespace muster::rank
