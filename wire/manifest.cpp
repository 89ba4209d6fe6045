#include "wire/manifest.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/sha256.h"

namespace muster::wire {
namespace {

constexpr std::size_t kManifestBytesMax = 16U << 20U;

}  // namespace

bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

Result<std::vector<ManifestFile>> ParseManifest(std::string_view text) {
  std::vector<ManifestFile> files;
  try {
    const nlohmann::json manifest = nlohmann::json::parse(text);
    for (const nlohmann::json& entry : manifest.at("files")) {
      ManifestFile file;
      file.path = entry.at("path").get<std::string>();
      file.size = entry.at("size").get<std::uint64_t>();
      file.sha256 = entry.at("sha256").get<std::string>();
      if (!IsPlainFileName(file.path) || file.path == kManifestName) {
        return DataLoss("manifest.json: '" + file.path + "' is no name for a checkpoint's file");
      }
      files.push_back(std::move(file));
    }
  } catch (const nlohmann::json::exception& error) {
    return DataLoss(std::string("manifest.json: ") + error.what());
  }
  return files;
}

Status VerifyCheckpoint(const std::string& directory, const std::string& sha256) {
  const std::string path = directory + "/" + kManifestName;
  MUSTER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kManifestBytesMax));
  if (Sha256Of(text) != sha256) {
    return DataLoss(path + ": SHA-256 is " + Sha256Of(text) + ", expected " + sha256);
  }
  MUSTER_ASSIGN_OR_RETURN(const std::vector<ManifestFile> files, ParseManifest(text));
  for (const ManifestFile& file : files) {
    MUSTER_ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(directory + "/" + file.path));
    if (digest != file.sha256) {
      return DataLoss(directory + "/" + file.path + ": SHA-256 is " + digest +
                      ", the manifest says " + file.sha256);
    }
  }
  return {};
}

}  // namespace muster::wire
