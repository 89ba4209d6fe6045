#include "trainer/checkpoint/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "trainer/checkpoint/canonical_json.h"

namespace muster {
namespace {

bool IsPlainName(const std::string& path) {
  return !path.empty() && path[0] != '.' && path.find('/') == std::string::npos &&
         path.find('\0') == std::string::npos;
}

bool IsHash(const std::string& text) {
  return text.size() == kSha256Digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

std::string EncodeManifest(const Manifest& manifest) {
  nlohmann::json files = nlohmann::json::array();
  for (const ManifestFile& file : manifest.files) {
    files.push_back({{"path", file.path}, {"sha256", file.sha256}, {"size", file.size}});
  }
  return CanonicalJson({{"files", files}, {"format", kCheckpointFormat}, {"step", manifest.step}});
}

Result<Manifest> ParseManifest(std::string_view text, const std::string& name) {
  Status damaged = DataLoss(name + ": not the manifest of a checkpoint");
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("format")) return damaged;
  if (json["format"] != kCheckpointFormat) {
    return Status(StatusCode::kUnimplemented,
                  name + ": its format is " + json["format"].dump(-1, ' ', true) +
                      ", this program reads format " + std::to_string(kCheckpointFormat));
  }
  Manifest manifest;
  if (!json.contains("step") || !json["step"].is_number_unsigned()) return damaged;
  manifest.step = json["step"].get<std::uint64_t>();
  if (!json.contains("files") || !json["files"].is_array()) return damaged;
  for (const nlohmann::json& entry : json["files"]) {
    if (!entry.is_object() || !entry.contains("path") || !entry["path"].is_string() ||
        !entry.contains("sha256") || !entry["sha256"].is_string() || !entry.contains("size") ||
        !entry["size"].is_number_unsigned()) {
      return damaged;
    }
    manifest.files.push_back({entry["path"].get<std::string>(), entry["size"].get<std::uint64_t>(),
                              entry["sha256"].get<std::string>()});
    const ManifestFile& file = manifest.files.back();
    const bool sorted = manifest.files.size() == 1 || manifest.files.end()[-2].path < file.path;
    if (!IsPlainName(file.path) || !IsHash(file.sha256) || !sorted) return damaged;
  }
  if (EncodeManifest(manifest) != text) return damaged;
  return manifest;
}

}  // namespace muster
