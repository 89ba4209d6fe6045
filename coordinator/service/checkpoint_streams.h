// The streams that carry checkpoints out of the store and into it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/file.h"
#include "coordinator/coordinator.h"
#include "coordinator/service/write_stream.h"
#include "muster/v1/agent.pb.h"

namespace muster::coordinator {

// `begin`, then every file of one checkpoint in pieces of 1 MiB.
class DownloadStream final : public WriteStream<v1::CheckpointChunk> {
 public:
  DownloadStream(Coordinator& coordinator, v1::DownloadCheckpointRequest request)
      : coordinator_(coordinator), request_(std::move(request)) {}

 protected:
  void Start() override;
  Next Produce(v1::CheckpointChunk& chunk) override;

 private:
  // Opens all files at once: a checkpoint that is removed meanwhile still arrives whole.
  Status OpenFiles(const std::string& directory);

  struct File {
    std::string name;
    FileDescriptor descriptor;
  };
  Coordinator& coordinator_;
  v1::DownloadCheckpointRequest request_;
  v1::CheckpointBegin begin_;
  std::vector<File> files_;
  std::size_t file_ = 0;
  bool begun_ = false;
  bool named_ = false;
};

// Receives a checkpoint into a staging folder, then asks the coordinator to publish it.
class UploadStream final : public grpc::ServerReadReactor<v1::CheckpointChunk>,
                           public std::enable_shared_from_this<UploadStream> {
 public:
  // `worker`: as Coordinator's calls of agents take it.
  static UploadStream* Begin(Coordinator& coordinator, WorkerName worker);
  void OnReadDone(bool ok) override;
  void OnDone() override { self_.reset(); }

 private:
  UploadStream(Coordinator& coordinator, WorkerName worker)
      : coordinator_(coordinator), worker_(std::move(worker)) {}
  Status Take();
  void End(const Status& status);

  Coordinator& coordinator_;
  const WorkerName worker_;
  std::shared_ptr<UploadStream> self_;
  v1::CheckpointChunk chunk_;
  v1::CheckpointBegin begin_;
  std::shared_ptr<CheckpointUpload> upload_;
};

}  // namespace muster::coordinator
