// The cluster's store of checkpoints: DIRECTORY/<job>/step-<n>/, each complete and verified.
// An upload goes to a staging folder of its own, so a replaced attempt can never touch what has
// been accepted; publishing is one rename.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "coordinator/scheduler/scheduler.h"

namespace muster::coordinator {

// A checkpoint on its way in. One thread at a time. Removes its staging folder when destroyed
// without having been published.
class CheckpointUpload {
 public:
  ~CheckpointUpload();
  CheckpointUpload(const CheckpointUpload&) = delete;
  CheckpointUpload& operator=(const CheckpointUpload&) = delete;

  // Starts the next file; kInvalidArgument for a name with folders, doubled or too many.
  Status OpenFile(const std::string& name);
  Status Write(std::string_view data);
  // Checks every file against the manifest and the manifest against `sha256`; fsyncs all.
  Status Finish(const std::string& sha256, std::uint64_t step);
  std::uint64_t bytes() const { return bytes_; }

 private:
  friend class CheckpointStore;
  explicit CheckpointUpload(std::string directory) : directory_(std::move(directory)) {}
  Status CloseFile();

  struct Received {
    std::uint64_t size = 0;
    std::string sha256;
  };
  std::string directory_;
  std::string name_;
  FileDescriptor file_;
  std::unique_ptr<Sha256> hash_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t bytes_ = 0;
  std::map<std::string, Received> received_;
  bool published_ = false;
};

// Thread-safe: the file system is its only state.
class CheckpointStore {
 public:
  explicit CheckpointStore(std::string directory) : directory_(std::move(directory)) {}

  std::string Path(JobId job, std::uint64_t step) const;
  Result<std::unique_ptr<CheckpointUpload>> Begin(JobId job, AttemptId attempt,
                                                  std::uint64_t step) const;
  // Puts a finished upload in its place, durably. What lay there is replaced.
  Status Publish(CheckpointUpload& upload, JobId job, std::uint64_t step) const;
  void Remove(JobId job, std::uint64_t step) const;
  // Removes staging folders and steps of `job` that are not `accepted`: what a crash left.
  void RemoveLeftovers(JobId job, const std::set<std::uint64_t>& accepted) const;

 private:
  std::string directory_;
};

}  // namespace muster::coordinator
