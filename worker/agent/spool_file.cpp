#include "worker/agent/spool_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace muster::agent {

SpoolFile::SpoolFile(std::string path, SpoolLimits limits)
    : path_(std::move(path)), limits_(limits) {}

Status SpoolFile::OpenIfThere() {
  if (file_.valid()) return {};
  Result<FileDescriptor> file = FileDescriptor::Open(path_, O_RDWR);
  if (!file.ok() && file.status().code() == StatusCode::kNotFound) return {};
  if (!file.ok()) return file.status();
  file_ = std::move(*file);
  if (Result<std::string> cut = ReadFile(path_ + ".cut", 64); cut.ok()) {
    return Cut(std::strtoull(cut->c_str(), nullptr, 10));
  }
  return {};
}

Status SpoolFile::Cut(std::uint64_t size) {
  cut_ = size;
  notice_ = "muster: this log is longer than " + std::to_string(limits_.bytes_max >> 20U) +
            " MiB; the rest of it is dropped\n";
  return {};
}

Result<std::string> SpoolFile::Read(std::uint64_t offset, std::size_t bytes) const {
  std::string data(bytes, '\0');
  std::size_t have = 0;
  while (have < bytes) {
    const ssize_t got =
        ::pread(file_.get(), data.data() + have, bytes - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno("read " + path_);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  data.resize(have);
  return data;
}

Status SpoolFile::Write(std::uint64_t offset, char byte) const {
  if (::pwrite(file_.get(), &byte, 1, static_cast<off_t>(offset)) == 1) return {};
  return FromErrno("write " + path_);
}

Result<std::string> SpoolFile::Next(bool closed) {
  MUSTER_RETURN_IF_ERROR(OpenIfThere());
  if (!file_.valid()) return std::string();
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0) return FromErrno("stat " + path_);
  std::uint64_t size = static_cast<std::uint64_t>(info.st_size);
  if (!cut_ && size > limits_.bytes_max) {
    // After the last line that ends within the limit, else in the middle of a line.
    const std::uint64_t window = std::min<std::uint64_t>(limits_.bytes_max, limits_.chunk_bytes);
    MUSTER_ASSIGN_OR_RETURN(const std::string end, Read(limits_.bytes_max - window, window));
    const std::size_t newline = end.rfind('\n');
    std::uint64_t cut = limits_.bytes_max;
    if (newline != std::string::npos)
      cut = limits_.bytes_max - window + newline + 1;
    else
      MUSTER_RETURN_IF_ERROR(Write(cut - 1, '\n'));
    MUSTER_RETURN_IF_ERROR(WriteFileAtomically(path_ + ".cut", std::to_string(cut)));
    MUSTER_RETURN_IF_ERROR(Cut(cut));
  }
  if (cut_) {
    // The rank goes on appending: what it adds must not fill the disk.
    if (size > *cut_ + limits_.chunk_bytes &&
        ::truncate(path_.c_str(), static_cast<off_t>(*cut_))) {
      return FromErrno("truncate " + path_);
    }
    if (offset_ >= *cut_) {
      return notice_.substr(std::min<std::uint64_t>(offset_ - *cut_, notice_.size()));
    }
    size = *cut_;
  }
  if (offset_ >= size) return std::string();
  const std::size_t want = std::min<std::uint64_t>(size - offset_, limits_.chunk_bytes);
  MUSTER_ASSIGN_OR_RETURN(std::string data, Read(offset_, want));
  const std::size_t newline = data.rfind('\n');
  if (newline != std::string::npos) {
    data.resize(newline + 1);
  } else if (data.size() == limits_.chunk_bytes) {
    data.back() = '\n';
    MUSTER_RETURN_IF_ERROR(Write(offset_ + data.size() - 1, '\n'));
  } else if (closed && !data.empty()) {
    MUSTER_RETURN_IF_ERROR(Write(offset_ + data.size(), '\n'));
    data += '\n';
  } else {
    data.clear();
  }
  return data;
}

std::string LastLine(const std::string& path, std::size_t bytes_max) {
  Result<FileDescriptor> file = FileDescriptor::Open(path, O_RDONLY);
  struct stat info {};
  if (!file.ok() || ::fstat(file->get(), &info) != 0) return {};
  std::string end(std::min<std::size_t>(static_cast<std::size_t>(info.st_size), 8192), '\0');
  const ssize_t got =
      ::pread(file->get(), end.data(), end.size(), info.st_size - static_cast<off_t>(end.size()));
  if (got <= 0) return {};
  end.resize(static_cast<std::size_t>(got));
  while (!end.empty() && std::isspace(static_cast<unsigned char>(end.back())) != 0) end.pop_back();
  const std::size_t newline = end.rfind('\n');
  std::string line = newline == std::string::npos ? end : end.substr(newline + 1);
  if (line.size() > bytes_max) line = line.substr(0, bytes_max) + "...";
  // It goes into a protobuf string, which holds UTF-8.
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20U || static_cast<unsigned char>(c) > 0x7EU) c = '?';
  }
  return line;
}

}  // namespace muster::agent
