// A folder in the cluster's store: a tree object lists its files, and is an object itself.
//
// Canonical: {"files":[{"executable":false,"path":"a/b","sha256":"...","size":1},...],
// "format":"muster-tree-1"} without spaces or line breaks, files by the bytes of their paths. So
// equal folders have equal hashes, wherever and whenever they were put. Folders without files,
// owners, times and other permissions are not kept. Safe on any bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace muster::wire {

inline constexpr std::uint64_t kObjectBytesMax = std::uint64_t{16} << 30U;
inline constexpr std::size_t kTreeEntriesMax = 100'000;
inline constexpr std::size_t kTreeBytesMax = std::size_t{128} << 20U;
inline constexpr std::size_t kTreePathBytesMax = 1024;
inline constexpr std::size_t kTreeDepthMax = 32;

// 64 lower-case hexadecimal digits: the only names of objects that ever become part of a path.
bool IsSha256(std::string_view text);

// kInvalidArgument, saying why, unless `path` is relative, without empty, "." and ".." parts,
// valid UTF-8 without control characters, and within the caps.
Status CheckTreePath(std::string_view path);

struct TreeEntry {
  std::string path;
  std::uint64_t size = 0;
  std::string sha256;
  bool executable = false;
};

struct Tree {
  std::vector<TreeEntry> entries;  // By path.

  // Null when there is no such file.
  const TreeEntry* Find(std::string_view path) const;
  // Those whose paths begin with PREFIX/; empty when there is no such folder.
  std::vector<const TreeEntry*> Below(std::string_view folder) const;
  std::uint64_t bytes() const;
};

// Sorts and checks; kInvalidArgument names the path that may not be in a tree.
Result<std::string> TreeText(Tree tree);

// Whether an object that begins and ends so can be a tree; cheap, and never false for a tree.
bool MayBeTree(std::string_view begin, std::string_view end);
inline constexpr std::string_view kTreeBegin = "{\"files\":[";
inline constexpr std::string_view kTreeEnd = "],\"format\":\"muster-tree-1\"}";

// kDataLoss unless `text` is exactly what TreeText makes of some tree.
Result<Tree> ParseTree(std::string_view text);

}  // namespace muster::wire
