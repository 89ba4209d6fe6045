#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace muster {

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(other.Release()) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (valid()) ::close(descriptor_);
}

Result<FileDescriptor> FileDescriptor::Open(const std::string& path, int flags, unsigned mode) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (descriptor < 0) return FromErrno("open " + path);
  return FileDescriptor(descriptor);
}

int FileDescriptor::Release() { return std::exchange(descriptor_, -1); }

Result<std::string> ReadFile(const std::string& path, std::size_t bytes_max) {
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor file, FileDescriptor::Open(path, O_RDONLY | O_NONBLOCK));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return FromErrno("stat " + path);
  if (!S_ISREG(info.st_mode)) return InvalidArgument(path + ": not a regular file");
  if (static_cast<std::size_t>(info.st_size) > bytes_max) {
    return InvalidArgument(path + ": " + std::to_string(info.st_size) + " bytes, the most is " +
                           std::to_string(bytes_max));
  }
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + have, text.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno("read " + path);
    if (got == 0) break;  // Truncated meanwhile: what is there is the file.
    have += static_cast<std::size_t>(got);
  }
  text.resize(have);
  return text;
}

Status WriteAll(int descriptor, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(descriptor, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return FromErrno("write " + path);
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

Status WriteFileAtomically(const std::string& path, std::string_view bytes, unsigned mode) {
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
    return InvalidArgument(path + ": not a regular file");
  }
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  {
    MUSTER_ASSIGN_OR_RETURN(FileDescriptor file,
                            FileDescriptor::Open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode));
    Status written = WriteAll(file.get(), bytes, temporary);
    if (written.ok() && ::fsync(file.get()) != 0) written = FromErrno("fsync " + temporary);
    if (!written.ok()) {
      ::unlink(temporary.c_str());
      return written;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    Status failed = FromErrno("rename " + temporary + " to " + path);
    ::unlink(temporary.c_str());
    return failed;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return SyncDirectory(folder.empty() ? "." : folder);
}

Status SyncDirectory(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor folder,
                          FileDescriptor::Open(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(folder.get()) != 0) return FromErrno("fsync " + path);
  return {};
}

Status MakeDirectories(const std::string& path, unsigned mode) {
  if (path.empty()) return {};
  std::size_t end = 0;
  do {
    end = path.find('/', end + 1);
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return FromErrno("mkdir " + part);
  } while (end != std::string::npos);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return FromErrno("stat " + path);
  if (!S_ISDIR(info.st_mode)) return InvalidArgument(path + ": not a directory");
  return {};
}

std::uint64_t FreeDiskBytes(const std::string& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) return UINT64_MAX;
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

std::string MebibytesText(std::uint64_t bytes) {
  const std::uint64_t tenths = ((bytes * 10) + (1U << 19U)) >> 20U;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

Result<MappedFile> MappedFile::Open(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor file, FileDescriptor::Open(path, O_RDONLY | O_NONBLOCK));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return FromErrno("stat " + path);
  if (!S_ISREG(info.st_mode)) return InvalidArgument(path + ": not a regular file");
  MappedFile mapped;
  if (info.st_size == 0) return mapped;
  const auto size = static_cast<std::size_t>(info.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) return FromErrno("mmap " + path);
  mapped.bytes_ = {static_cast<const std::byte*>(address), size};
  return mapped;
}

namespace {

struct flock WholeFile() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

namespace {

// Closing any descriptor of a file releases the process's record locks on it, so a file that this
// process has locked must not even be opened a second time.
using FileId = std::pair<dev_t, ino_t>;
std::mutex held_mutex;
std::map<FileId, pid_t>& HeldFiles() {
  static std::map<FileId, pid_t> files;
  return files;
}

bool HeldByThisProcess(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return false;
  const std::lock_guard lock(held_mutex);
  const auto held = HeldFiles().find({info.st_dev, info.st_ino});
  // A forked child has the list, but not the locks.
  return held != HeldFiles().end() && held->second == ::getpid();
}

std::shared_ptr<void> NoteHeld(int file) {
  struct stat info {};
  if (::fstat(file, &info) != 0) return nullptr;
  const FileId id{info.st_dev, info.st_ino};
  const std::lock_guard lock(held_mutex);
  HeldFiles()[id] = ::getpid();
  return std::shared_ptr<void>(nullptr, [id](void*) {
    const std::lock_guard again(held_mutex);
    HeldFiles().erase(id);
  });
}

Status HeldBy(const std::string& path, int pid) {
  return {StatusCode::kAlreadyExists, path + " is held by process " + std::to_string(pid)};
}

}  // namespace

Result<LockFile> LockFile::Acquire(const std::string& path) {
  if (HeldByThisProcess(path)) return HeldBy(path, ::getpid());
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor file, FileDescriptor::Open(path, O_RDWR | O_CREAT, 0644));
  struct flock lock = WholeFile();
  if (::fcntl(file.get(), F_SETLK, &lock) == 0) {
    std::shared_ptr<void> held = NoteHeld(file.get());
    return LockFile(std::move(file), std::move(held));
  }
  if (errno != EAGAIN && errno != EACCES) return FromErrno("lock " + path);
  struct flock holder = WholeFile();
  ::fcntl(file.get(), F_GETLK, &holder);
  return HeldBy(path, holder.l_pid);
}

int LockFile::Holder(const std::string& path) {
  if (HeldByThisProcess(path)) return ::getpid();
  Result<FileDescriptor> file = FileDescriptor::Open(path, O_RDWR);
  if (!file.ok()) return 0;
  struct flock lock = WholeFile();
  if (::fcntl(file->get(), F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
  return lock.l_pid;
}

}  // namespace muster
