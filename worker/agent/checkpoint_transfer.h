// Carries checkpoints between a worker's disk and the coordinator's store.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "muster/v1/agent.pb.h"
#include "worker/agent/coordinator_link.h"

namespace muster::agent {

// Fetches a checkpoint into `directory`, which it makes, and checks every file against the manifest
// and the manifest against `sha256`. Waits while the coordinator is away. kDataLoss names a file
// that does not match; kCancelled after `link` is stopped or when `cancelled` says so.
Status FetchCheckpoint(CoordinatorLink& link, const v1::DownloadCheckpointRequest& request,
                       const std::string& sha256, const std::string& directory,
                       const std::function<bool()>& cancelled);

// Uploads the checkpoint in `request.directory()`, once. The coordinator's own answer on a refusal.
Status UploadCheckpoint(CoordinatorLink& link, const v1::PublishRequest& request,
                        const std::function<bool()>& cancelled);

}  // namespace muster::agent
