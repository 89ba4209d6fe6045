#include "wire/manifest.h"

#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/sha256.h"

namespace muster::wire {

bool IsPlainFileName(std::string_view name) {
  if (name.empty() || name.size() > 128 || name.front() == '.') return false;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_' && c != '-') {
      return false;
    }
  }
  return true;
}

Result<Manifest> ParseManifest(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto broken = [](const std::string& what) {
    return DataLoss(std::string(kManifestName) + ": " + what);
  };
  if (!json.is_object() || !json.contains("step") || !json["step"].is_number_unsigned() ||
      !json.contains("files") || !json["files"].is_array()) {
    return broken("not a manifest");
  }
  Manifest manifest;
  manifest.step = json["step"].get<std::uint64_t>();
  for (const auto& entry : json["files"]) {
    if (!entry.is_object() || !entry.contains("path") || !entry["path"].is_string() ||
        !entry.contains("size") || !entry["size"].is_number_unsigned() ||
        !entry.contains("sha256") || !entry["sha256"].is_string()) {
      return broken("an entry of `files` lacks path, size or sha256");
    }
    ManifestFile file{entry["path"].get<std::string>(), entry["size"].get<std::uint64_t>(),
                      entry["sha256"].get<std::string>()};
    if (!IsPlainFileName(file.path) || file.path == kManifestName) {
      return broken("a file has a name that is not allowed");
    }
    manifest.files.push_back(std::move(file));
  }
  return manifest;
}

Status VerifyCheckpoint(const std::string& directory, const std::string& sha256) {
  constexpr std::size_t kManifestBytesMax = 16U << 20U;
  MUSTER_ASSIGN_OR_RETURN(const std::string text,
                          ReadFile(directory + "/" + kManifestName, kManifestBytesMax));
  if (!sha256.empty() && Sha256Of(text) != sha256) {
    return DataLoss(directory + "/" + kManifestName + " is not the one with digest " + sha256);
  }
  MUSTER_ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(text));
  for (const ManifestFile& file : manifest.files) {
    const std::string path = directory + "/" + file.path;
    std::error_code error;
    if (std::filesystem::file_size(path, error) != file.size || error) {
      return DataLoss(path + ": missing, or not " + std::to_string(file.size) + " bytes");
    }
    MUSTER_ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(path));
    if (digest != file.sha256) return DataLoss(path + ": SHA-256 differs from the manifest");
  }
  return {};
}

}  // namespace muster::wire
