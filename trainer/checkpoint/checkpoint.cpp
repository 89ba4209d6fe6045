#include "trainer/checkpoint/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string_view>
#include <utility>

#include "base/sha256.h"
#include "trainer/checkpoint/canonical_json.h"

namespace muster {
namespace {

constexpr const char* kLanesFile = "lanes.safetensors";
constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kProvenanceFile = "provenance.json";
constexpr const char* kTrainerFile = "trainer.json";
constexpr std::size_t kJsonBytesMax = 16U << 20U;

std::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Writes a new file part by part, hashing on the way, so that it need not fit in memory twice.
class HashedFile {
 public:
  static Result<HashedFile> Create(const std::string& directory, const std::string& name) {
    HashedFile file;
    file.entry_.path = name;
    file.path_ = directory + "/" + name;
    MUSTER_ASSIGN_OR_RETURN(file.file_,
                            FileDescriptor::Open(file.path_, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    return file;
  }

  Status Write(std::string_view bytes) {
    hash_->Update(bytes.data(), bytes.size());
    entry_.size += bytes.size();
    return WriteAll(file_.get(), bytes, path_);
  }

  Result<ManifestFile> Finish() {
    if (::fsync(file_.get()) != 0) return FromErrno("fsync " + path_);
    entry_.sha256 = hash_->Finish();
    return entry_;
  }

 private:
  HashedFile() = default;
  std::string path_;
  FileDescriptor file_;
  std::unique_ptr<Sha256> hash_ = std::make_unique<Sha256>();
  ManifestFile entry_;
};

Result<ManifestFile> WriteArrays(const std::string& directory, const std::string& name,
                                 const NamedArrays& arrays) {
  MUSTER_ASSIGN_OR_RETURN(HashedFile file, HashedFile::Create(directory, name));
  MUSTER_RETURN_IF_ERROR(file.Write(SafetensorsHeader(arrays)));
  for (const auto& [array_name, array] : arrays) {
    MUSTER_RETURN_IF_ERROR(file.Write(TextOf(array.bytes)));
  }
  return file.Finish();
}

Result<ManifestFile> WriteText(const std::string& directory, const std::string& name,
                               const std::string& text) {
  MUSTER_ASSIGN_OR_RETURN(HashedFile file, HashedFile::Create(directory, name));
  MUSTER_RETURN_IF_ERROR(file.Write(text));
  return file.Finish();
}

// Maps the manifest's file and checks its size and hash.
Result<MappedFile> OpenChecked(const std::string& directory, const ManifestFile& entry) {
  const std::string path = directory + "/" + entry.path;
  MUSTER_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  if (file.bytes().size() != entry.size) {
    return DataLoss(path + ": " + std::to_string(file.bytes().size()) +
                    " bytes where the manifest says " + std::to_string(entry.size));
  }
  if (const std::string sha256 = Sha256Of(TextOf(file.bytes())); sha256 != entry.sha256) {
    return DataLoss(path + ": its SHA-256 is " + sha256 + " where the manifest says " +
                    entry.sha256 + "; the file is damaged");
  }
  return file;
}

Status ParseInto(const std::string& name, const std::string& path, std::span<const std::byte> bytes,
                 CheckpointContents& contents) {
  if (name == kTrainerFile) {
    contents.trainer = nlohmann::json::parse(TextOf(bytes), nullptr, false);
    if (contents.trainer.is_object()) return {};
    return DataLoss(path + ": not a JSON object");
  }
  NamedArrays* const arrays = name == kModelFile       ? &contents.model
                              : name == kOptimizerFile ? &contents.optimizer
                              : name == kLanesFile     ? &contents.lanes
                                                       : nullptr;
  if (arrays == nullptr) return {};  // For other programs: a tokenizer, a configuration.
  MUSTER_ASSIGN_OR_RETURN(*arrays, ParseSafetensors(bytes, path));
  return {};
}

}  // namespace

Result<std::string> WriteCheckpoint(const std::string& directory,
                                    const CheckpointContents& contents) {
  MUSTER_RETURN_IF_ERROR(MakeDirectories(directory));
  const std::string manifest_path = directory + "/" + kManifestFile;
  if (::unlink(manifest_path.c_str()) != 0 && errno != ENOENT) {
    return FromErrno("remove " + manifest_path);
  }
  Manifest manifest;
  manifest.step = contents.step;
  // In the order of their names, which is the manifest's.
  const std::pair<const char*, const NamedArrays*> files[] = {
      {kLanesFile, &contents.lanes},
      {kModelFile, &contents.model},
      {kOptimizerFile, &contents.optimizer}};
  for (const auto& [name, arrays] : files) {
    MUSTER_ASSIGN_OR_RETURN(ManifestFile entry, WriteArrays(directory, name, *arrays));
    manifest.files.push_back(std::move(entry));
  }
  MUSTER_ASSIGN_OR_RETURN(ManifestFile trainer,
                          WriteText(directory, kTrainerFile, CanonicalJson(contents.trainer)));
  manifest.files.push_back(std::move(trainer));
  MUSTER_RETURN_IF_ERROR(
      WriteText(directory, kProvenanceFile, CanonicalJson(contents.provenance)).status());
  for (const auto& [name, bytes] : contents.others) {
    MUSTER_RETURN_IF_ERROR(WriteText(directory, name, bytes).status());
  }
  const std::string text = EncodeManifest(manifest);
  MUSTER_RETURN_IF_ERROR(WriteFileAtomically(manifest_path, text));
  return Sha256Of(text);
}

Result<Checkpoint> ReadCheckpoint(const std::string& directory) {
  const std::string manifest_path = directory + "/" + kManifestFile;
  MUSTER_ASSIGN_OR_RETURN(const std::string text, ReadFile(manifest_path, kJsonBytesMax));
  MUSTER_ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(text, manifest_path));
  Checkpoint checkpoint;
  checkpoint.sha256 = Sha256Of(text);
  checkpoint.contents.step = manifest.step;
  std::size_t known = 0;
  for (const ManifestFile& entry : manifest.files) {
    MUSTER_ASSIGN_OR_RETURN(MappedFile file, OpenChecked(directory, entry));
    MUSTER_RETURN_IF_ERROR(
        ParseInto(entry.path, directory + "/" + entry.path, file.bytes(), checkpoint.contents));
    for (const char* name : {kLanesFile, kModelFile, kOptimizerFile, kTrainerFile}) {
      known += entry.path == name ? 1 : 0;
    }
    checkpoint.files.push_back(std::move(file));
  }
  if (known != 4) return DataLoss(manifest_path + ": it does not list all of a checkpoint's files");
  return checkpoint;
}

}  // namespace muster
