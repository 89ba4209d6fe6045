// Files of this machine as the cluster's store takes them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace muster::cli {

// One object to be put: a file, or bytes in memory.
struct LocalObject {
  std::string sha256;
  std::uint64_t size = 0;
  std::string path;  // Empty: `text` holds the bytes.
  std::string text;
};

struct LocalData {
  std::string sha256;  // Of the file, or of the folder's list.
  bool folder = false;
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
  std::vector<LocalObject> objects;  // The folder's list last.
};

// Reads and hashes a file, or a folder without what its .musterignore names (and without that file
// itself). kInvalidArgument names what cannot be in the store: links, devices, sockets, pipes, bad
// names, too many files, too large ones. `read` is told of bytes that were hashed.
Result<LocalData> ReadLocalData(const std::string& path,
                                const std::function<void(std::uint64_t)>& read);

// Of all that ReadLocalData would read, for a progress bar; 0 when it cannot tell.
std::uint64_t LocalBytes(const std::string& path);

}  // namespace muster::cli
