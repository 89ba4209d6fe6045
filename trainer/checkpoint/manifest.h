// manifest.json: what a checkpoint consists of. Its SHA-256 is the checkpoint's digest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace muster {

constexpr std::int64_t kCheckpointFormat = 1;
constexpr const char* kManifestFile = "manifest.json";

struct ManifestFile {
  std::string path;  // Relative to the checkpoint's folder; a plain name without '/'.
  std::uint64_t size = 0;
  std::string sha256;
  bool operator==(const ManifestFile&) const = default;
};

struct Manifest {
  std::uint64_t step = 0;
  std::vector<ManifestFile> files;  // Sorted by path.
  bool operator==(const Manifest&) const = default;
};

// {"files":[{"path":..,"sha256":..,"size":..},..],"format":1,"step":..}: canonical JSON.
std::string EncodeManifest(const Manifest& manifest);

// Strict: only bytes that EncodeManifest gives for some manifest of this format are read.
// kDataLoss otherwise, kUnimplemented for another format; both name `name`.
Result<Manifest> ParseManifest(std::string_view text, const std::string& name);

}  // namespace muster
