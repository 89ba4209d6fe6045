// exit.pb: what a rank that ends in an orderly way says of its end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "muster/v1/agent.pb.h"

namespace muster::rank {

// Lost peers, a lost coordinator and a replaced attempt are no fault of the job's; everything else
// that a rank reports is.
v1::ExitKind KindOf(const Status& status);

// How a rank has ended.
struct RankEnd {
  v1::ExitKind kind = v1::EXIT_KIND_SUCCESS;
  std::string reason{};
  std::uint64_t step = 0;
  std::optional<std::int32_t> exit_code{};  // Of a [command]'s program that failed.
};
RankEnd EndOf(const Status& status, std::uint64_t step);

// Replaces DIRECTORY/exit.pb; false when it cannot. Not synced: after a crash of the machine nobody
// asks for it. Safe to call from any thread; the first report of the process stands.
bool WriteExitReport(const std::string& directory, const RankEnd& end);

}  // namespace muster::rank
