#include "trainer/metrics/metrics_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <utility>

namespace muster {
namespace {

constexpr std::string_view kStepKey = "step";

void AppendKey(std::string& text, std::string_view key) {
  if (text.size() > 1) text += ',';
  text += '"';
  text += key;
  text += "\":";
}

template <class T>
void AppendNumber(std::string& text, T value) {
  char number[32];
  text.append(number, std::to_chars(number, number + sizeof(number), value).ptr);
}

// The size of the file's whole rows.
Result<std::uint64_t> WholeRows(int file, std::uint64_t size, const std::string& path) {
  char byte = 0;
  while (size > 0) {
    if (::pread(file, &byte, 1, static_cast<off_t>(size - 1)) != 1)
      return FromErrno("read " + path);
    if (byte == '\n') break;
    --size;
  }
  return size;
}

}  // namespace

MetricsWriter::MetricsWriter(FileDescriptor file, std::string path, std::uint64_t bytes)
    : file_(std::move(file)), path_(std::move(path)), bytes_(bytes) {}

Result<MetricsWriter> MetricsWriter::Open(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor file,
                          FileDescriptor::Open(path, O_RDWR | O_CREAT | O_APPEND, 0644));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return FromErrno("stat " + path);
  const auto size = static_cast<std::uint64_t>(info.st_size);
  MUSTER_ASSIGN_OR_RETURN(const std::uint64_t whole, WholeRows(file.get(), size, path));
  if (whole != size && ::ftruncate(file.get(), static_cast<off_t>(whole)) != 0) {
    return FromErrno("truncate " + path);
  }
  return MetricsWriter(std::move(file), path, whole);
}

Status MetricsWriter::Append(std::uint64_t step, const MetricsRow& row) {
  text_.assign(1, '{');
  bool step_written = false;
  const auto put_step = [&] {
    step_written = true;
    AppendKey(text_, kStepKey);
    AppendNumber(text_, step);
  };
  for (const auto& [key, value] : row) {
    if (!step_written && kStepKey < key) put_step();
    AppendKey(text_, key);
    if (std::isfinite(value)) {
      AppendNumber(text_, value);
    } else {
      text_ += "null";
    }
  }
  if (!step_written) put_step();
  text_ += "}\n";
  ssize_t wrote = -1;
  do {
    wrote = ::write(file_.get(), text_.data(), text_.size());
  } while (wrote < 0 && errno == EINTR);
  if (wrote == static_cast<ssize_t>(text_.size())) {
    bytes_ += text_.size();
    return {};
  }
  // A short write means that the disk is full: take back what went in.
  if (wrote >= 0) errno = ENOSPC;
  Status failed = FromErrno("write " + path_);
  if (::ftruncate(file_.get(), static_cast<off_t>(bytes_)) != 0) {
    return FromErrno("truncate " + path_);
  }
  return failed;
}

}  // namespace muster
