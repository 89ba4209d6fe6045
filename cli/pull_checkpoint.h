// Fetching a checkpoint, for `pull` and `run`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "cli/session.h"

namespace muster::cli {

struct PulledCheckpoint {
  std::uint64_t step = 0;
  std::string sha256;
};

// Whether a checkpoint could be put there: kInvalidArgument unless `directory` is new or empty and
// its folder can be written (which is tried). A symbolic link must lead to an empty folder.
Status CheckPullTarget(const std::string& directory);

// Fetches a job's checkpoint (absent `step` = the newest) into `directory`, which must be missing
// or empty. Everything goes to DIRECTORY.partial first and is verified there, so DIRECTORY is whole
// or not there. kDataLoss when what came is damaged, with the steps that may be whole. No name from
// the wire is used unless it is a plain file name.
Result<PulledCheckpoint> PullCheckpoint(Session& session, std::uint64_t job_id,
                                        std::optional<std::uint64_t> step,
                                        const std::string& directory);

}  // namespace muster::cli
