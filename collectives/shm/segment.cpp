#include "collectives/shm/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

namespace muster {
namespace {

Status Reserve(const FileDescriptor& file, const std::string& name, std::size_t bytes) {
  int error = 0;
  do {
    error = ::posix_fallocate(file.get(), 0, static_cast<off_t>(bytes));
  } while (error == EINTR);
  if (error == 0) return {};
  const std::string mib = std::to_string((bytes + (std::size_t{1} << 20) - 1) >> 20U);
  if (error == ENOSPC) {
    return {StatusCode::kResourceExhausted,
            "/dev/shm has no room for " + mib + " MiB of shared memory (" + name +
                "): remove what is in it, or make it larger (mount -o remount,size=... /dev/shm; "
                "docker run --shm-size=...)"};
  }
  errno = error;
  return FromErrno("reserve " + mib + " MiB of shared memory " + name);
}

}  // namespace

SharedSegment::SharedSegment(SharedSegment&& other) noexcept
    : name_(std::move(other.name_)),
      bytes_(other.bytes_),
      data_(std::exchange(other.data_, nullptr)),
      named_(std::exchange(other.named_, false)) {}

SharedSegment& SharedSegment::operator=(SharedSegment&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(bytes_, other.bytes_);
  std::swap(data_, other.data_);
  std::swap(named_, other.named_);
  return *this;
}

SharedSegment::~SharedSegment() {
  Unlink();
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

void SharedSegment::Unlink() {
  if (std::exchange(named_, false)) ::shm_unlink(name_.c_str());
}

Status SharedSegment::Map(const FileDescriptor& file) {
  // The pages exist already; populating only fills in this process's page table.
  void* const data =
      ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.get(), 0);
  if (data == MAP_FAILED) return FromErrno("map shared memory " + name_);
  data_ = static_cast<std::byte*>(data);
  return {};
}

Result<SharedSegment> SharedSegment::Create(const std::string& name, std::size_t bytes) {
  ::shm_unlink(name.c_str());
  FileDescriptor file(::shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid()) return FromErrno("create shared memory " + name);
  SharedSegment segment(name, bytes);
  segment.named_ = true;
  MUSTER_RETURN_IF_ERROR(Reserve(file, name, bytes));
  MUSTER_RETURN_IF_ERROR(segment.Map(file));
  return segment;
}

Result<SharedSegment> SharedSegment::Open(const std::string& name, std::size_t bytes) {
  FileDescriptor file(::shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0));
  if (!file.valid()) return FromErrno("open shared memory " + name);
  struct stat information {};
  if (::fstat(file.get(), &information) != 0) return FromErrno("stat shared memory " + name);
  if (static_cast<std::size_t>(information.st_size) != bytes) {
    return NotFound("shared memory " + name + " has another size than expected");
  }
  SharedSegment segment(name, bytes);
  MUSTER_RETURN_IF_ERROR(segment.Map(file));
  return segment;
}

}  // namespace muster
