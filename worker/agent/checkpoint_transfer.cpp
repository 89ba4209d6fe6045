#include "worker/agent/checkpoint_transfer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/file.h"
#include "wire/manifest.h"

namespace muster::agent {
namespace {

// A way that is cut without a word ends a transfer only by this; it is then tried again.
constexpr std::chrono::minutes kTransferMax(10);
constexpr std::size_t kChunkBytes = 1U << 20U;

// One attempt at fetching, into an empty folder. `here`: it failed on this machine.
Status FetchOnce(CoordinatorLink& link, const v1::DownloadCheckpointRequest& request,
                 const std::string& directory, const std::function<bool()>& cancelled, bool& here) {
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  here = true;
  MUSTER_RETURN_IF_ERROR(MakeDirectories(directory));
  here = false;
  const auto stub = link.bulk();
  if (stub == nullptr) return Unavailable("the coordinator's address is not known yet");
  CoordinatorLink::Context context(link);
  context.SetDeadline(kTransferMax);
  const auto reader = stub->FetchCheckpoint(&*context, request);
  FileDescriptor file;
  std::string path;
  Status failed;
  v1::CheckpointChunk chunk;
  while (failed.ok() && reader->Read(&chunk)) {
    link.Heard();
    if (cancelled()) failed = Status(StatusCode::kCancelled, "no longer wanted");
    if (failed.ok() && !chunk.path().empty()) {
      if (!wire::IsPlainFileName(chunk.path())) {
        failed = DataLoss("the checkpoint names a file '" + chunk.path() + "'");
        break;
      }
      path = directory + "/" + chunk.path();
      Result<FileDescriptor> opened =
          FileDescriptor::Open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
      if (opened.ok())
        file = std::move(*opened);
      else
        failed = opened.status();
    }
    if (failed.ok() && !chunk.data().empty()) failed = WriteAll(file.get(), chunk.data(), path);
  }
  if (!failed.ok()) context->TryCancel();
  Status finished = link.Finish(reader->Finish());
  here = !failed.ok();
  return failed.ok() ? finished : failed;
}

// manifest.json first, then the others by name.
Result<std::vector<std::string>> FilesOf(const std::string& directory) {
  std::vector<std::string> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!entry->is_regular_file()) continue;
    files.push_back(entry->path().filename().string());
  }
  if (error) return NotFound(directory + ": " + error.message());
  std::sort(files.begin(), files.end(), [](const std::string& a, const std::string& b) {
    const bool a_first = a == wire::kManifestName, b_first = b == wire::kManifestName;
    return a_first != b_first ? a_first : a < b;
  });
  return files;
}

}  // namespace

Status FetchCheckpoint(CoordinatorLink& link, const v1::DownloadCheckpointRequest& request,
                       const std::string& sha256, const std::string& directory,
                       const std::function<bool()>& cancelled) {
  while (true) {
    bool here = false;
    Status fetched = FetchOnce(link, request, directory, cancelled, here);
    if (fetched.ok()) return wire::VerifyCheckpoint(directory, sha256);
    if (cancelled()) return {StatusCode::kCancelled, "no longer wanted"};
    if (here || !CoordinatorLink::IsAway(fetched.code())) return fetched;
    if (!link.Pause(std::chrono::milliseconds(200))) return fetched;
  }
}

Status UploadCheckpoint(CoordinatorLink& link, const v1::PublishRequest& request,
                        const std::function<bool()>& cancelled) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> files, FilesOf(request.directory()));
  const auto stub = link.bulk();
  if (stub == nullptr) return Unavailable("the coordinator's address is not known yet");
  CoordinatorLink::Context context(link);
  context.SetDeadline(kTransferMax);
  v1::UploadCheckpointResponse response;
  const auto writer = stub->UploadCheckpoint(&*context, &response);
  v1::CheckpointChunk chunk;
  v1::CheckpointBegin& begin = *chunk.mutable_begin();
  begin.set_job_id(request.job_id());
  begin.set_attempt(request.attempt());
  begin.set_step(request.step());
  begin.set_sha256(request.sha256());
  begin.set_metrics_bytes(request.metrics_bytes());
  if (request.has_score()) begin.set_score(request.score());
  begin.set_final(request.final());
  std::uint64_t total = 0;
  for (const std::string& file : files) {
    std::error_code ignored;
    total += std::filesystem::file_size(request.directory() + "/" + file, ignored);
  }
  begin.set_bytes_total(total);
  bool writing = writer->Write(chunk);  // False: the server has answered already.
  for (std::size_t i = 0; writing && i < files.size(); ++i) {
    const std::string path = request.directory() + "/" + files[i];
    Result<FileDescriptor> file = FileDescriptor::Open(path, O_RDONLY);
    if (!file.ok()) {
      context->TryCancel();
      (void)writer->Finish();
      return file.status();
    }
    chunk.Clear();
    chunk.set_path(files[i]);
    std::string& data = *chunk.mutable_data();
    bool more = true;
    while (writing && more) {
      if (cancelled()) context->TryCancel();
      data.resize(kChunkBytes);
      const ssize_t got = ::read(file->get(), data.data(), data.size());
      data.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
      more = data.size() == kChunkBytes;
      // An empty file still needs its name to be said.
      if (!data.empty() || !chunk.path().empty()) writing = writer->Write(chunk);
      chunk.clear_path();
    }
  }
  writer->WritesDone();
  return link.Finish(writer->Finish());
}

}  // namespace muster::agent
