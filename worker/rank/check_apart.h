// Runs code of a user's where it can do no harm: in a process of its own.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/status.h"

namespace muster::rank {

// What `check` returns in a copy of this process, whose standard output and error are silent. Its
// crash, its exit() and what takes longer than `limit` become kInvalidArgument, a line that begins
// with `what` ("plug-in walk.so") and names the signal. For a process without other threads that
// matter to `check`. Nothing of the copy is left when this returns.
Status CheckApart(const std::string& what, const std::function<Status()>& check,
                  std::chrono::milliseconds limit);

}  // namespace muster::rank
