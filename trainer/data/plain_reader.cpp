#include "trainer/data/plain_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"

namespace muster {
namespace {

constexpr std::size_t kBlockBytes = 1U << 18U;
constexpr int kGzipOnly = 15 + 16;  // inflateInit2: largest window, gzip wrapper.

}  // namespace

// The z_stream points at itself, so the state must not move.
struct PlainReader::State {
  ~State() {
    if (compressed) ::inflateEnd(&stream);
  }

  std::string path;
  FileDescriptor file;
  std::uint64_t file_bytes = 0;
  Sha256 hash;
  std::vector<std::byte> block = std::vector<std::byte>(kBlockBytes);
  std::size_t block_at = 0;   // What of `block` is taken already.
  std::size_t block_end = 0;  // What of `block` is filled.
  std::uint64_t file_at = 0;  // Bytes read from the file.
  bool file_ended = false;
  bool compressed = false;
  bool member_ended = false;
  z_stream stream{};

  std::uint64_t position() const { return file_at - (block_end - block_at); }

  // Refills an empty block; leaves it empty at the end of the file.
  Status Refill() {
    if (block_at < block_end || file_ended) return {};
    ssize_t got = -1;
    do {
      got = ::read(file.get(), block.data(), block.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0) return FromErrno("read " + path);
    block_at = 0;
    block_end = static_cast<std::size_t>(got);
    file_at += block_end;
    file_ended = got == 0;
    hash.Update(block.data(), block_end);
    return {};
  }

  Status Damaged(const std::string& what) const {
    return DataLoss(path + ": byte " + std::to_string(position()) + ": " + what);
  }

  Result<std::size_t> Copy(std::span<std::byte> out) {
    std::size_t have = 0;
    while (have < out.size()) {
      MUSTER_RETURN_IF_ERROR(Refill());
      if (block_at == block_end) break;
      const std::size_t part = std::min(out.size() - have, block_end - block_at);
      std::memcpy(out.data() + have, block.data() + block_at, part);
      block_at += part;
      have += part;
    }
    return have;
  }

  // After a member's end: true when another one follows.
  Result<bool> NextMember() {
    MUSTER_RETURN_IF_ERROR(Refill());
    if (block_at == block_end) return false;
    if (block[block_at] != std::byte{0x1f}) return Damaged("bytes after the end of the gzip data");
    MUSTER_CHECK(::inflateReset(&stream) == Z_OK, "inflateReset");
    member_ended = false;
    return true;
  }

  Result<std::size_t> Inflate(std::span<std::byte> out) {
    std::size_t have = 0;
    while (have < out.size()) {
      if (member_ended) {
        MUSTER_ASSIGN_OR_RETURN(const bool more, NextMember());
        if (!more) break;
      }
      MUSTER_RETURN_IF_ERROR(Refill());
      if (block_at == block_end) return Damaged("the gzip data are cut off here");
      // zlib counts in 32 bits.
      const std::size_t room = std::min<std::size_t>(out.size() - have, 1U << 30U);
      stream.next_in = reinterpret_cast<Bytef*>(block.data() + block_at);
      stream.avail_in = static_cast<uInt>(block_end - block_at);
      stream.next_out = reinterpret_cast<Bytef*>(out.data() + have);
      stream.avail_out = static_cast<uInt>(room);
      const int code = ::inflate(&stream, Z_NO_FLUSH);
      block_at = block_end - stream.avail_in;
      have += room - stream.avail_out;
      if (code == Z_STREAM_END) {
        member_ended = true;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return Damaged(std::string("corrupt gzip data: ") +
                       (stream.msg != nullptr ? stream.msg : ::zError(code)));
      }
    }
    return have;
  }
};

PlainReader::PlainReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
PlainReader::PlainReader(PlainReader&&) noexcept = default;
PlainReader& PlainReader::operator=(PlainReader&&) noexcept = default;
PlainReader::~PlainReader() = default;

Result<PlainReader> PlainReader::Open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  // A pipe that nobody writes to is refused below, not waited for.
  MUSTER_ASSIGN_OR_RETURN(state->file, FileDescriptor::Open(path, O_RDONLY | O_NONBLOCK));
  struct stat info {};
  if (::fstat(state->file.get(), &info) != 0) return FromErrno("stat " + path);
  if (!S_ISREG(info.st_mode)) return InvalidArgument(path + ": not a regular file");
  state->file_bytes = static_cast<std::uint64_t>(info.st_size);
  MUSTER_RETURN_IF_ERROR(state->Refill());
  if (state->block_end >= 2 && state->block[0] == std::byte{0x1f} &&
      state->block[1] == std::byte{0x8b}) {
    MUSTER_CHECK(::inflateInit2(&state->stream, kGzipOnly) == Z_OK, "inflateInit2");
    state->compressed = true;
  }
  return PlainReader(std::move(state));
}

Result<std::size_t> PlainReader::Read(std::span<std::byte> out) {
  return state_->compressed ? state_->Inflate(out) : state_->Copy(out);
}

bool PlainReader::compressed() const { return state_->compressed; }
std::uint64_t PlainReader::file_bytes() const { return state_->file_bytes; }
std::string PlainReader::FinishHash() { return state_->hash.Finish(); }

}  // namespace muster
