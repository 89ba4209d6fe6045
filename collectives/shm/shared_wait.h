// The spinning part of SharedGroup's waits, inlined into the collectives. Include only from
// collectives/shm/shared_*.cpp.
#pragma once

#include "collectives/shm/futex.h"
#include "collectives/shm/shared_group.h"

namespace muster {

template <class AnyReady, class AnyMissing>
Status SharedGroup::WaitUntil(const CollectiveCall& call, const AnyReady& ready,
                              const AnyMissing& missing) {
  // A clock costs more than a look at the peer's word, so it is asked now and then.
  constexpr int kLooks = 32;
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int look = 0; look < kLooks; ++look) {
      if (ready()) return {};
      SpinPause();
    }
  } while (std::chrono::steady_clock::now() - start < spin_);
  return Sleep(call, Ready(ready), Missing(missing));
}

}  // namespace muster
