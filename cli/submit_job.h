// What `submit` and `run` do before anything is sent.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/hooks.h"
#include "cli/session.h"
#include "wire/toml_message.h"

namespace muster::cli {

struct LoadedJob {
  v1::JobSpec spec;  // As given, without defaults: the coordinator fills them in.
  std::string path;
  wire::FieldOrigins origins;

  // A refusal of the spec, with the place in the file; any other status as it is.
  Status Located(const Status& status) const;
};

// Reads a job file, applies overrides, validates, and looks at its data by hooks.check_job.
// `elsewhere`: the workers may see other files than this machine.
Result<LoadedJob> LoadAndCheckJob(const std::string& path,
                                  const std::vector<std::string>& overrides, const Hooks& hooks,
                                  const std::string& cache_directory, bool elsewhere = false);

// Submits the job once its command.ship_directory, if it is a folder here, or its plug-in is in the
// cluster's store; the same request twice is one job. kInvalidArgument when it cannot be shipped.
Result<std::uint64_t> ShipAndSubmit(Session& session, v1::JobSpec spec,
                                    const std::string& request_id,
                                    std::chrono::milliseconds patience);

}  // namespace muster::cli
