// Data files that the tests of trainer/ make for themselves.
#pragma once

#include <unistd.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"

namespace muster::test {

// Folders that go with the process.
struct TemporaryFolders {
  ~TemporaryFolders() {
    for (const std::string& path : paths) std::filesystem::remove_all(path);
  }
  std::vector<std::string> paths;
};

// An empty folder of its own for each name and process.
inline std::string EmptyFolder(const std::string& name) {
  static TemporaryFolders folders;
  std::string folder = std::filesystem::temp_directory_path().string() + "/muster-" + name + "-" +
                       std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  folders.paths.push_back(folder);
  return folder;
}

// What a test wrote must not fail to be written.
inline std::string Written(const std::string& path, const std::string& bytes) {
  const Status status = WriteFileAtomically(path, bytes);
  MUSTER_CHECK(status.ok(), status.message());
  return path;
}

// An IDX file's bytes: unsigned bytes of these dimensions.
inline std::string IdxBytes(const std::vector<std::uint32_t>& dimensions, const std::string& data) {
  std::string bytes = {0, 0, 8, static_cast<char>(dimensions.size())};
  for (const std::uint32_t size : dimensions) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      bytes += static_cast<char>((size >> static_cast<unsigned>(shift)) & 0xffU);
    }
  }
  return bytes + data;
}

inline std::string Gzipped(const std::string& bytes) {
  z_stream stream{};
  MUSTER_CHECK(::deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK,
               "deflateInit2");
  std::string packed(::deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  MUSTER_CHECK(::deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflate");
  packed.resize(packed.size() - stream.avail_out);
  ::deflateEnd(&stream);
  return packed;
}

}  // namespace muster::test
