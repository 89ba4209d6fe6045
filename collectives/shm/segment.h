// A POSIX shared-memory segment, mapped for reading and writing.
#pragma once

#include <cstddef>
#include <string>

#include "base/file.h"
#include "base/status.h"

namespace muster {

class SharedSegment {
 public:
  SharedSegment(SharedSegment&& other) noexcept;
  SharedSegment& operator=(SharedSegment&& other) noexcept;
  // Unmaps; removes the name when this side created it and has not removed it yet.
  ~SharedSegment();

  // Creates "/name" of `bytes` zeroed and reserved bytes, readable by this user alone. What an
  // earlier process left under that name is removed. kResourceExhausted when /dev/shm is full: the
  // memory is reserved here, so that no later write ends in SIGBUS.
  static Result<SharedSegment> Create(const std::string& name, std::size_t bytes);
  // kNotFound when there is no such segment or it does not have `bytes` bytes yet.
  static Result<SharedSegment> Open(const std::string& name, std::size_t bytes);

  // Removes the name: the memory lives on until the last process unmaps it or ends.
  void Unlink();

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  const std::string& name() const { return name_; }

 private:
  SharedSegment(std::string name, std::size_t bytes) : name_(std::move(name)), bytes_(bytes) {}
  Status Map(const FileDescriptor& file);

  std::string name_;
  std::size_t bytes_ = 0;
  std::byte* data_ = nullptr;
  bool named_ = false;  // The name is ours to remove.
};

}  // namespace muster
