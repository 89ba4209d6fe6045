// The rank's end of the metrics stream: one JSON row a step, appended to a spool file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/status.h"

namespace muster {

// One row's values by name, "train/loss". Reuse one object from step to step: known names then
// cost no allocation.
using MetricsRow = std::map<std::string, double, std::less<>>;

// Not thread-safe; one writer a file.
class MetricsWriter {
 public:
  // Opens or creates `path`. An unfinished last row, left by a writer that was killed, is removed.
  static Result<MetricsWriter> Open(const std::string& path);

  // Appends {"step":12,"train/loss":0.5,..} and a line end by one write(2), so that a reader that
  // takes whole lines never sees half a row. Keys are sorted by byte, numbers the shortest that
  // read back the same; NaN and infinities become null. When the disk is full the file is left as
  // it was.
  Status Append(std::uint64_t step, const MetricsRow& row);

  // The file's size: what a reader must have seen to know all rows so far.
  std::uint64_t bytes_written() const { return bytes_; }

 private:
  MetricsWriter(FileDescriptor file, std::string path, std::uint64_t bytes);

  FileDescriptor file_;
  std::string path_;
  std::uint64_t bytes_ = 0;
  std::string text_;  // The row being written; kept for its memory.
};

}  // namespace muster
