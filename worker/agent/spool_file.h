// One spool file: what a rank appends to and the agent reads, in whole lines and with offsets that
// mean the same to the rank, the agent, the coordinator and a later agent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/status.h"

namespace muster::agent {

struct SpoolLimits {
  std::size_t chunk_bytes = 1U << 20U;   // The longest line: its last byte becomes a newline.
  std::uint64_t bytes_max = UINT64_MAX;  // Beyond it the rest is dropped, with a line to say so.
};

// Not thread-safe. The file may not exist yet.
class SpoolFile {
 public:
  SpoolFile(std::string path, SpoolLimits limits);

  // The next lines from offset() on; empty = none yet. `closed`: nobody writes any more, so a last
  // line without a newline is given one, in the file. Any error of reading.
  Result<std::string> Next(bool closed);
  // Goes on at `offset`: what the coordinator says it has.
  void SetOffset(std::uint64_t offset) { offset_ = offset; }
  std::uint64_t offset() const { return offset_; }
  const std::string& path() const { return path_; }

 private:
  Status OpenIfThere();
  // Decides where to cut a file that is too long, once for all: the place is kept in PATH.cut.
  Status Cut(std::uint64_t size);
  Result<std::string> Read(std::uint64_t offset, std::size_t bytes) const;
  Status Write(std::uint64_t offset, char byte) const;

  const std::string path_;
  const SpoolLimits limits_;
  FileDescriptor file_;
  std::uint64_t offset_ = 0;
  std::optional<std::uint64_t> cut_;  // Content past it is replaced by `notice_`.
  std::string notice_;
};

// The last line with anything in it of the file at `path`, at most `bytes_max` of it; empty = none.
std::string LastLine(const std::string& path, std::size_t bytes_max = 300);

}  // namespace muster::agent
