// Moving objects between this machine and the cluster's store; goes on after interruptions.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/local_data.h"
#include "cli/session.h"
#include "muster/v1/content.pb.h"

namespace muster::cli {

// Sends what of `objects` the store lacks, from where an earlier try broke off; returns the bytes
// that were sent. While the cluster is away it waits for `patience` since the last byte.
// kResourceExhausted, before anything is sent, when there is no room; kDataLoss names a file that
// changed meanwhile.
Result<std::uint64_t> PutObjects(Session& session, const std::vector<LocalObject>& objects,
                                 std::chrono::milliseconds patience);

// Fetches one object into `path`, by way of PATH.partial, which it goes on with when it is there.
// The file has the right SHA-256 or does not appear. `bar_label` empty = no progress bar.
Status GetObject(Session& session, const std::string& sha256, const std::string& path,
                 const std::string& bar_label, std::chrono::milliseconds patience);

// Unary calls on data.
Result<v1::DataInfo> NameData(Session& session, const v1::NameDataRequest& request);
Result<v1::ListDataResponse> ListData(Session& session);
Status RemoveData(Session& session, const std::string& name);

}  // namespace muster::cli
