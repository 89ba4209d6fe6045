#include "coordinator/store/checkpoint_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <filesystem>

#include "base/uuid.h"
#include "wire/manifest.h"

namespace muster::coordinator {
namespace {

constexpr std::size_t kFilesMax = 10'000;
constexpr const char* kStagingPrefix = "staging-";

}  // namespace

CheckpointUpload::~CheckpointUpload() {
  std::error_code ignored;
  if (!published_) std::filesystem::remove_all(directory_, ignored);
}

Status CheckpointUpload::OpenFile(const std::string& name) {
  MUSTER_RETURN_IF_ERROR(CloseFile());
  if (!wire::IsPlainFileName(name)) return InvalidArgument("a checkpoint's file has a bad name");
  if (received_.count(name) > 0) return InvalidArgument("file " + name + " comes twice");
  if (received_.size() >= kFilesMax) return InvalidArgument("too many files in a checkpoint");
  MUSTER_ASSIGN_OR_RETURN(
      file_, FileDescriptor::Open(directory_ + "/" + name, O_WRONLY | O_CREAT | O_EXCL, 0644));
  name_ = name;
  hash_ = std::make_unique<Sha256>();
  file_bytes_ = 0;
  return {};
}

Status CheckpointUpload::Write(std::string_view data) {
  if (!file_.valid()) return InvalidArgument("data of a checkpoint before a file's name");
  MUSTER_RETURN_IF_ERROR(WriteAll(file_.get(), data, directory_ + "/" + name_));
  hash_->Update(data.data(), data.size());
  file_bytes_ += data.size();
  bytes_ += data.size();
  return {};
}

Status CheckpointUpload::CloseFile() {
  if (!file_.valid()) return {};
  if (::fsync(file_.get()) != 0) return FromErrno("fsync " + directory_ + "/" + name_);
  received_[name_] = {file_bytes_, hash_->Finish()};
  file_ = FileDescriptor();
  return {};
}

Status CheckpointUpload::Finish(const std::string& sha256, std::uint64_t step) {
  MUSTER_RETURN_IF_ERROR(CloseFile());
  const auto manifest_file = received_.find(wire::kManifestName);
  if (manifest_file == received_.end()) return DataLoss("the checkpoint has no manifest.json");
  if (manifest_file->second.sha256 != sha256) {
    return DataLoss("manifest.json does not have the digest that was announced");
  }
  MUSTER_ASSIGN_OR_RETURN(const std::string text,
                          ReadFile(directory_ + "/" + wire::kManifestName, 16U << 20U));
  MUSTER_ASSIGN_OR_RETURN(const wire::Manifest manifest, wire::ParseManifest(text));
  if (manifest.step != step) {
    return DataLoss("the manifest is of step " + std::to_string(manifest.step) + ", not " +
                    std::to_string(step));
  }
  for (const wire::ManifestFile& file : manifest.files) {
    const auto found = received_.find(file.path);
    if (found == received_.end()) return DataLoss("file " + file.path + " did not come");
    if (found->second.size != file.size || found->second.sha256 != file.sha256) {
      return DataLoss("file " + file.path + " differs from the manifest");
    }
  }
  return SyncDirectory(directory_);
}

std::string CheckpointStore::Path(JobId job, std::uint64_t step) const {
  return directory_ + "/" + std::to_string(job) + "/step-" + std::to_string(step);
}

Result<std::unique_ptr<CheckpointUpload>> CheckpointStore::Begin(JobId job, AttemptId attempt,
                                                                 std::uint64_t step) const {
  const std::string staging = directory_ + "/" + std::to_string(job) + "/" + kStagingPrefix +
                              std::to_string(attempt.number) + "-" + std::to_string(step) + "-" +
                              NewUuid().substr(0, 8);
  MUSTER_RETURN_IF_ERROR(MakeDirectories(staging));
  return std::unique_ptr<CheckpointUpload>(new CheckpointUpload(staging));
}

Status CheckpointStore::Publish(CheckpointUpload& upload, JobId job, std::uint64_t step) const {
  const std::string place = Path(job, step);
  if (std::filesystem::exists(place)) {
    // One step as well; the upload then holds, and removes, what lay there.
    if (::renameat2(AT_FDCWD, upload.directory_.c_str(), AT_FDCWD, place.c_str(),
                    RENAME_EXCHANGE) != 0) {
      return FromErrno("exchange " + upload.directory_ + " and " + place);
    }
  } else {
    if (::rename(upload.directory_.c_str(), place.c_str()) != 0) {
      return FromErrno("rename " + upload.directory_ + " to " + place);
    }
    upload.published_ = true;
  }
  MUSTER_RETURN_IF_ERROR(SyncDirectory(directory_ + "/" + std::to_string(job)));
  return SyncDirectory(directory_);  // The first of a job made that one's folder.
}

void CheckpointStore::Remove(JobId job, std::uint64_t step) const {
  std::error_code ignored;
  std::filesystem::remove_all(Path(job, step), ignored);
}

void CheckpointStore::RemoveLeftovers(JobId job, const std::set<std::uint64_t>& accepted) const {
  std::error_code ignored;
  const std::filesystem::path folder = directory_ + "/" + std::to_string(job);
  std::set<std::string> keep;
  for (const std::uint64_t step : accepted) keep.insert("step-" + std::to_string(step));
  std::set<std::filesystem::path> leftovers;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (keep.count(entry.path().filename().string()) == 0) leftovers.insert(entry.path());
  }
  for (const auto& path : leftovers) std::filesystem::remove_all(path, ignored);
}

}  // namespace muster::coordinator
