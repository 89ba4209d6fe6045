// A file read as a stream of plain bytes, gzip-compressed or not, hashed on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace muster {

// Deflate packs at most 1032 bytes into one, so a file of n bytes inflates to no more than this.
// Source: zlib's technical notes, "Maximum compression factor".
constexpr std::uint64_t kInflationMax = 1032;

// Whether a file is compressed is told by its first two bytes, not by its name. Several gzip
// members in one file are one stream. Not thread-safe.
class PlainReader {
 public:
  // kInvalidArgument for what is not a regular file; otherwise open(2)'s error. Names the path.
  static Result<PlainReader> Open(const std::string& path);
  PlainReader(PlainReader&&) noexcept;
  PlainReader& operator=(PlainReader&&) noexcept;
  ~PlainReader();

  // Fills `out`; fewer bytes only at the end of the stream, 0 after it. kDataLoss when compressed
  // data are cut off, fail their checksum or are followed by something else: names path and byte.
  Result<std::size_t> Read(std::span<std::byte> out);

  bool compressed() const;
  // Size on disk when opened.
  std::uint64_t file_bytes() const;
  // SHA-256 of the file as it lies on disk. Once, after Read() has returned less than it could.
  std::string FinishHash();

 private:
  struct State;
  explicit PlainReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace muster
