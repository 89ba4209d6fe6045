// The spinning part of SharedGroup's waits, inlined into the collectives. Include only from
// collectives/shm/shared_*.cpp.
#pragma once

#include <sched.h>

#include "collectives/shm/futex.h"
#include "collectives/shm/shared_group.h"

namespace muster {

// How long a rank waits before it sleeps: most meetings take less than a futex's way to the kernel.
inline constexpr auto kSpinTime = std::chrono::microseconds(20);

template <class AnyReady, class AnyMissing>
Status SharedGroup::WaitUntil(const CollectiveCall& call, const AnyReady& ready,
                              const AnyMissing& missing) {
  // A clock costs more than a look at the peer's word, so it is asked now and then.
  constexpr int kLooks = 32;
  const auto start = std::chrono::steady_clock::now();
  std::chrono::nanoseconds spun{0};
  do {
    for (int look = 0; look < kLooks; ++look) {
      if (ready()) return {};
      SpinPause();
    }
    spun = std::chrono::steady_clock::now() - start;
    // Then the peer may be waiting for this very core.
    if (spun > spin_alone_) ::sched_yield();
  } while (spun < kSpinTime);
  return Sleep(call, Ready(ready), Missing(missing));
}

}  // namespace muster
