// Files: owned descriptors, whole-file reads, writes that survive a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace muster {

// Owns a file descriptor; -1 = none.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  // open(2) with O_CLOEXEC; the error names the path.
  static Result<FileDescriptor> Open(const std::string& path, int flags, unsigned mode = 0666);

  int get() const { return descriptor_; }
  bool valid() const { return descriptor_ >= 0; }
  // Gives the descriptor away without closing it.
  int Release();

 private:
  int descriptor_ = -1;
};

// Reads a regular file of at most `bytes_max`; kInvalidArgument when larger or not a regular file.
Result<std::string> ReadFile(const std::string& path, std::size_t bytes_max = SIZE_MAX);

// Writes all bytes, going on after short writes and EINTR.
Status WriteAll(int descriptor, std::string_view bytes, const std::string& path);

// Replaces `path` in one step: temporary file in the same folder, fsync, rename, fsync of the
// folder. After a crash the file holds either the old or the new bytes. kInvalidArgument where a
// folder, a device or another thing that is no regular file has that name: it stays.
Status WriteFileAtomically(const std::string& path, std::string_view bytes, unsigned mode = 0644);

// fsync of a directory, which makes creations, renames and removals in it durable.
Status SyncDirectory(const std::string& path);

// mkdir -p. `mode` is that of folders it creates.
Status MakeDirectories(const std::string& path, unsigned mode = 0755);

// What an unprivileged process may still write to the disk that holds `path`; UINT64_MAX where that
// cannot be told.
std::uint64_t FreeDiskBytes(const std::string& path);

// "12.3 MiB".
std::string MebibytesText(std::uint64_t bytes);

// A read-only memory map of a whole file; empty for an empty file.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  static Result<MappedFile> Open(const std::string& path);
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

// A POSIX record lock on a file: at most one process holds it, and it ends with the process.
class LockFile {
 public:
  // kAlreadyExists, naming the holder's pid, when another process holds the lock.
  static Result<LockFile> Acquire(const std::string& path);
  // The pid of the process that holds the lock, which may be this one; 0 when none does (or there
  // is no such file).
  static int Holder(const std::string& path);

 private:
  LockFile(FileDescriptor file, std::shared_ptr<void> held)
      : file_(std::move(file)), held_(std::move(held)) {}
  FileDescriptor file_;
  std::shared_ptr<void> held_;  // Takes it off the list of this process's locks.
};

}  // namespace muster
