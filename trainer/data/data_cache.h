// Data files as plain bytes in memory: inflated once, kept by content, mapped ever after.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace muster {

// The plain bytes of one file: a map of the cache's copy, or private memory.
class DataBytes {
 public:
  std::span<const std::byte> bytes() const {
    return memory_.empty() ? mapped_.bytes() : std::span<const std::byte>(memory_);
  }
  // SHA-256 of the file as it lies on disk (compressed, if it is).
  const std::string& sha256() const { return sha256_; }
  // Empty, or why the bytes are in private memory: a sentence for the job's log.
  const std::string& note() const { return note_; }

 private:
  friend class DataCache;
  MappedFile mapped_;
  std::vector<std::byte> memory_;
  std::string sha256_;
  std::string note_;
};

struct DataCacheOptions {
  std::string directory;                         // Empty: everything in private memory.
  std::uint64_t plain_bytes_max = 16ULL << 30U;  // The most that one file may inflate to.
  std::uint64_t memory_bytes_max = 4ULL << 30U;  // The same, in private memory.
};

// A folder of plain copies named by the SHA-256 of the file they came from, and an index from
// (device, inode, size, mtime, ctime) to that hash, which makes a second Open cost some 50 us: two
// small opens and a map. A copy never changes, whatever happens to its source, so a running job
// reads what it hashed. Files appear by rename; a lock keeps processes from inflating the same file
// twice. A cache that cannot be written (disk full, read-only) costs memory, not the job.
// Thread-safe; any number of processes may share the folder. Nothing is ever removed from it.
class DataCache {
 public:
  struct FileStart {
    std::span<const std::byte> first;  // Plain bytes: 64, or all of a shorter file.
    std::uint64_t possible_bytes = 0;  // The most plain bytes that a file of this size can hold.
    bool compressed = false;
  };
  // How many plain bytes a file may hold, told from its start, such as a header's dimensions. An
  // error refuses the file; what is longer is refused too, so that a small file cannot claim the
  // disk or the memory.
  using LimitOf = std::function<Result<std::uint64_t>(const FileStart& start)>;

  explicit DataCache(DataCacheOptions options);

  // Errors name the path: kNotFound, kDataLoss (corrupt compression), kInvalidArgument (too long).
  Result<std::shared_ptr<const DataBytes>> Open(const std::string& path, const LimitOf& limit_of);

  // Bytes that were computed from data: those stored under `key` (64 hexadecimal digits of a hash
  // over everything they depend on), otherwise the ones `make` returns, stored for the next time.
  Result<std::shared_ptr<const DataBytes>> OpenDerived(
      const std::string& key, const std::function<Result<std::vector<std::byte>>()>& make);

 private:
  Result<std::shared_ptr<const DataBytes>> Find(const std::string& index_path) const;
  Result<std::shared_ptr<const DataBytes>> Store(const std::string& path,
                                                 const std::string& index_path,
                                                 const LimitOf& limit_of);
  Result<std::shared_ptr<const DataBytes>> Hold(const std::string& path, const LimitOf& limit_of,
                                                std::string note);

  DataCacheOptions options_;
};

}  // namespace muster
