// manifest.json of a checkpoint, as every process that moves one reads it: the coordinator, agents
// and `muster pull`. Safe on any bytes.
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

struct Manifest {
  std::uint64_t step = 0;
  std::vector<ManifestFile> files;  // By path.
};

// kDataLoss when `text` is no manifest or names a file that is not a plain name.
Result<Manifest> ParseManifest(std::string_view text);

// True for a name without folders that no file system treats specially: letters, digits, '.', '_'
// and '-', not starting with '.', at most 128 characters.
bool IsPlainFileName(std::string_view name);

// Reads every file of the checkpoint in `directory`: the manifest against `sha256` (unless empty),
// sizes and hashes against the manifest. kDataLoss names the file that differs.
Status VerifyCheckpoint(const std::string& directory, const std::string& sha256);

}  // namespace muster::wire
