// exit.pb: what a rank that ends in an orderly way says of its end.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "muster/v1/agent.pb.h"

namespace muster::rank {

// Lost peers, a lost coordinator and a replaced attempt are no fault of the job's; everything else
// that a rank reports is.
v1::ExitKind KindOf(const Status& status);

// Replaces DIRECTORY/exit.pb. Not synced: after a crash of the machine nobody asks for it. Safe to
// call from any thread; the first report of the process stands.
void WriteExitReport(const std::string& directory, v1::ExitKind kind, const std::string& reason,
                     std::uint64_t step);

}  // namespace muster::rank
