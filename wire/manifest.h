// manifest.json of a checkpoint, as far as those need it who carry checkpoints around: which files
// there are, how large, and their SHA-256.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace muster::wire {

inline constexpr const char* kManifestName = "manifest.json";

struct ManifestFile {
  std::string path;  // A plain file name.
  std::uint64_t size = 0;
  std::string sha256;
};

// True for names that are safe to use in a folder: letters, digits, '-', '_', '.', not starting
// with '.', at most 255 long.
bool IsPlainFileName(std::string_view name);

// kDataLoss, saying what is wrong, for anything that is not a manifest with plain file names.
Result<std::vector<ManifestFile>> ParseManifest(std::string_view json);

// Checks a checkpoint's folder: manifest.json has digest `sha256` and every file it lists is there
// with its size and digest. kDataLoss names the file.
Status VerifyCheckpoint(const std::string& directory, const std::string& sha256);

}  // namespace muster::wire
