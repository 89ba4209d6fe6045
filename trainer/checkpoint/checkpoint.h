// Checkpoints: all state of a training job, in a folder that can be told complete and intact.
//
//   model.safetensors      parameters              lanes.safetensors  state of each lane
//   optimizer.safetensors  state of the optimiser  trainer.json       the rest, canonical
//   manifest.json          sizes and hashes of the files above; its SHA-256 is the digest
//   provenance.json        when, where and on how many ranks: outside the digest
//   other files            for people to look at: outside the digest
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/safetensors.h"

namespace muster {

struct CheckpointContents {
  std::uint64_t step = 0;
  NamedArrays model;
  NamedArrays optimizer;
  NamedArrays lanes;
  nlohmann::json trainer = nlohmann::json::object();
  nlohmann::json provenance = nlohmann::json::object();
  std::map<std::string, std::string> others;  // Bytes by plain file name; not read back.
};

// Writes `directory`, which is made if need be, and returns the digest. Files of an earlier,
// unfinished attempt there are replaced. Everything is on disk when this returns, the manifest
// last: a folder with a manifest is complete. kResourceExhausted for a full disk.
Result<std::string> WriteCheckpoint(const std::string& directory,
                                    const CheckpointContents& contents);

// A checkpoint that was read; the arrays of `contents` lie in `files`. Move-only.
struct Checkpoint {
  std::string sha256;  // The digest.
  CheckpointContents contents;
  std::vector<MappedFile> files;
};

// Reads and checks each file against the manifest. kNotFound without a manifest (the checkpoint is
// not complete), kDataLoss naming the file and what is wrong with it.
Result<Checkpoint> ReadCheckpoint(const std::string& directory);

}  // namespace muster
