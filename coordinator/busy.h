// The answer to a call that finds the event loop's queue full.
#pragma once

#include "base/status.h"

namespace muster::coordinator {

inline Status Busy() {
  return {StatusCode::kResourceExhausted, "the coordinator is busy; try again in a moment"};
}

}  // namespace muster::coordinator
