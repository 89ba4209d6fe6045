#include "worker/rank/command_checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"
#include "trainer/checkpoint/manifest.h"
#include "wire/manifest.h"
#include "wire/printable.h"

namespace muster::rank {
namespace {

namespace fs = std::filesystem;

constexpr const char* kComplete = "COMPLETE";
constexpr const char* kAccepted = "ACCEPTED";
constexpr const char* kRefused = "REFUSED";

bool IsMark(const std::string& name) {
  return name == kComplete || name == kAccepted || name == kRefused;
}

Status Refuse(const std::string& what) {
  return InvalidArgument("MUSTER_CHECKPOINT_DIR " + what +
                         "; it takes plain files without folders, named with letters, digits, "
                         "'.', '_' and '-', none of them with a '.' in front or called " +
                         kManifestFile);
}

// Its plain files by name, without the marks.
Result<std::vector<std::string>> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename();
    if (IsMark(name)) continue;
    struct stat info {};
    if (::lstat(entry->path().c_str(), &info) != 0) continue;  // Has just gone.
    if (!S_ISREG(info.st_mode))
      return Refuse("holds " + wire::Quoted(name) + ", which is no plain file");
    if (!wire::IsPlainFileName(name) || name == kManifestFile) {
      return Refuse("holds " + wire::Quoted(name) + ", a name that cannot be kept");
    }
    names.push_back(std::move(name));
  }
  if (error) return InvalidArgument(directory + ": " + error.message());
  if (names.size() > kCheckpointFilesMax) {
    return Refuse("holds " + std::to_string(names.size()) + " files, more than " +
                  std::to_string(kCheckpointFilesMax));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<ManifestFile> CopyFile(const std::string& from, const std::string& to,
                              const std::string& name, std::uint64_t bytes_max) {
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor in,
                          FileDescriptor::Open(from + "/" + name, O_RDONLY | O_NOFOLLOW));
  // Not after it has been copied: a file may be of any size and take no room.
  struct stat info {};
  if (::fstat(in.get(), &info) == 0 && static_cast<std::uint64_t>(info.st_size) > bytes_max) {
    return Refuse("holds more than " + std::to_string(kCheckpointBytesMax >> 30U) + " GiB");
  }
  const std::string path = to + "/" + name;
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor out,
                          FileDescriptor::Open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
  ManifestFile file{name, 0, ""};
  std::string block(1U << 20U, '\0');
  while (true) {
    const ssize_t got = ::read(in.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno("read " + from + "/" + name);
    if (got == 0) break;
    file.size += static_cast<std::uint64_t>(got);
    if (file.size > bytes_max) {
      return Refuse("holds more than " + std::to_string(kCheckpointBytesMax >> 30U) + " GiB");
    }
    MUSTER_RETURN_IF_ERROR(
        WriteAll(out.get(), std::string_view(block.data(), static_cast<std::size_t>(got)), path));
  }
  MUSTER_ASSIGN_OR_RETURN(file.sha256, Sha256OfFile(path));
  return file;
}

// What is in a checkpoint, whatever its step.
std::string ContentOf(Manifest manifest) {
  manifest.step = 0;
  return EncodeManifest(manifest);
}

Result<Manifest> CopyAll(const std::string& directory, const std::string& staging,
                         std::uint64_t step) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(directory));
  if (names.empty()) return Refuse("is empty");
  std::error_code ignored;
  fs::remove_all(staging, ignored);
  MUSTER_RETURN_IF_ERROR(MakeDirectories(staging));
  Manifest manifest{.step = step, .files = {}};
  std::uint64_t left = kCheckpointBytesMax;
  for (const std::string& name : names) {
    MUSTER_ASSIGN_OR_RETURN(ManifestFile file, CopyFile(directory, staging, name, left));
    left -= file.size;
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

void Rename(const std::string& directory, const char* from, const char* to) {
  std::rename((directory + "/" + from).c_str(), (directory + "/" + to).c_str());
}

}  // namespace

Result<std::string> SnapshotCheckpoint(const std::string& directory, const std::string& staging,
                                       std::uint64_t step) {
  MUSTER_ASSIGN_OR_RETURN(const Manifest manifest, CopyAll(directory, staging, step));
  const std::string text = EncodeManifest(manifest);
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(staging + "/" + kManifestFile, text));
  return Sha256Of(text);
}

Result<CommandCheckpoint> CommandCheckpoint::Open(std::string directory, std::string staging,
                                                  const std::string& resume_directory,
                                                  std::uint64_t resume_step, Publish publish) {
  MUSTER_RETURN_IF_ERROR(MakeDirectories(directory));
  CommandCheckpoint checkpoint(std::move(directory), std::move(staging), std::move(publish));
  if (resume_directory.empty()) return checkpoint;
  MUSTER_ASSIGN_OR_RETURN(const std::string text, ReadFile(resume_directory + "/" + kManifestFile));
  MUSTER_ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(text, kManifestFile));
  for (const ManifestFile& file : manifest.files) {
    MUSTER_RETURN_IF_ERROR(
        CopyFile(resume_directory, checkpoint.directory_, file.path, kCheckpointBytesMax).status());
  }
  checkpoint.step_ = resume_step;
  checkpoint.content_ = ContentOf(manifest);
  return checkpoint;
}

bool CommandCheckpoint::IsComplete() const {
  struct stat info {};
  return ::lstat((directory_ + "/" + kComplete).c_str(), &info) == 0;
}

CommandCheckpoint::Published CommandCheckpoint::PublishNow(bool final) const {
  Published published;
  const std::uint64_t step = step_ + 1;
  const std::string staging = staging_ + "-" + std::to_string(step);
  Result<Manifest> manifest = CopyAll(directory_, staging, step);
  if (!manifest.ok()) {
    published.refused = manifest.status();
    return published;
  }
  published.content = ContentOf(*manifest);
  // The same files once more: there is nothing to keep.
  if (published.content == content_) {
    std::error_code ignored;
    fs::remove_all(staging, ignored);
    return published;
  }
  const std::string text = EncodeManifest(*manifest);
  published.status = WriteFileAtomically(staging + "/" + kManifestFile, text);
  if (!published.status.ok()) return published;
  v1::PublishRequest request;
  request.set_step(step);
  request.set_directory(staging);
  request.set_sha256(Sha256Of(text));
  request.set_final(final);
  published.status = publish_(request);
  return published;
}

Status CommandCheckpoint::Take(const Published& published) {
  if (!published.refused.ok()) {
    Rename(directory_, kComplete, kRefused);
    std::printf("muster: checkpoint refused: %s\n", published.refused.message().c_str());
    return {};
  }
  MUSTER_RETURN_IF_ERROR(Status(published.status).During("publish the checkpoint"));
  if (published.content != content_) {
    content_ = published.content;
    ++step_;
    std::printf("muster: checkpoint %llu is kept\n", static_cast<unsigned long long>(step_));
  }
  Rename(directory_, kComplete, kAccepted);
  return {};
}

Status CommandCheckpoint::Poll() {
  if (running_.valid()) {
    if (running_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return {};
    MUSTER_RETURN_IF_ERROR(Take(running_.get()));
  }
  if (IsComplete()) {
    running_ = std::async(std::launch::async, [this] { return PublishNow(/*final=*/false); });
  }
  return {};
}

Status CommandCheckpoint::Finish(bool succeeded) {
  if (running_.valid()) MUSTER_RETURN_IF_ERROR(Take(running_.get()));
  const bool complete = IsComplete();
  if (!complete && !succeeded) return {};
  MUSTER_ASSIGN_OR_RETURN(const bool empty, [this]() -> Result<bool> {
    const Result<std::vector<std::string>> names = NamesIn(directory_);
    return names.ok() && names->empty();
  }());
  if (empty && !complete) return {};
  const Published published = PublishNow(/*final=*/succeeded);
  if (succeeded && !published.refused.ok()) return published.refused;
  return Take(published);
}

}  // namespace muster::rank
