#include "coordinator/store/record_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace muster::coordinator {
namespace {

constexpr std::uint32_t kMagic = 0x4d52'4331;  // "MRC1"
constexpr std::uint32_t kRecordBytesMax = 64U << 20U;

struct Header {
  std::uint32_t magic = kMagic;
  std::uint32_t attempt = 0;
  std::uint32_t rank = 0;
  std::uint32_t bytes = 0;
  std::uint64_t offset = 0;
  std::uint32_t crc = 0;
  std::uint32_t own_words = 0;  // 1 = the coordinator's, not the rank's.
};
static_assert(sizeof(Header) == 32);

std::uint32_t Crc(std::string_view data) {
  return static_cast<std::uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
}

// The header at `position` when a whole record stands there.
bool ReadHeader(int file, std::uint64_t position, std::uint64_t size, Header& header) {
  if (position + sizeof(Header) > size) return false;
  if (::pread(file, &header, sizeof(Header), static_cast<off_t>(position)) !=
      static_cast<ssize_t>(sizeof(Header))) {
    return false;
  }
  return header.magic == kMagic && header.bytes <= kRecordBytesMax &&
         position + sizeof(Header) + header.bytes <= size;
}

bool ReadData(int file, std::uint64_t position, const Header& header, std::string& data) {
  data.resize(header.bytes);
  const auto at = static_cast<off_t>(position + sizeof(Header));
  return ::pread(file, data.data(), data.size(), at) == static_cast<ssize_t>(data.size()) &&
         Crc(data) == header.crc;
}

}  // namespace

Result<std::shared_ptr<RecordLog>> RecordLog::Open(const std::string& path,
                                                   const std::string& last_words,
                                                   std::uint64_t bytes_max) {
  std::shared_ptr<RecordLog> log(new RecordLog(path, last_words, bytes_max));
  MUSTER_ASSIGN_OR_RETURN(log->file_, FileDescriptor::Open(path, O_RDWR | O_CREAT, 0600));
  MUSTER_RETURN_IF_ERROR(log->Recover());
  return log;
}

Status RecordLog::Recover() {
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0) return FromErrno("stat " + path_);
  const auto file_size = static_cast<std::uint64_t>(info.st_size);
  std::uint64_t position = 0, last = 0;
  Header header;
  while (ReadHeader(file_.get(), position, file_size, header)) {
    last = position;
    position += sizeof(Header) + header.bytes;
    AddToTail(last, position);
    stored_[{header.attempt, header.rank}] =
        header.offset + (header.own_words == 0 ? header.bytes : 0);
  }
  std::string data;
  if (position > 0 && ReadHeader(file_.get(), last, file_size, header) &&
      !ReadData(file_.get(), last, header, data)) {
    position = last;
    tail_.pop_back();
    stored_[{header.attempt, header.rank}] = header.offset;
  }
  if (position != file_size && ::ftruncate(file_.get(), static_cast<off_t>(position)) != 0) {
    return FromErrno("truncate " + path_);
  }
  size_ = position;
  return {};
}

void RecordLog::AddToTail(std::uint64_t position, std::uint64_t end) {
  constexpr std::uint64_t kTailBytes = 4U << 20U;
  tail_.push_back(position);
  while (tail_.size() > 1 && end - tail_.front() > kTailBytes) tail_.pop_front();
}

Result<std::uint64_t> RecordLog::Append(std::uint32_t attempt, std::uint32_t rank,
                                        std::uint64_t offset, std::string_view data) {
  std::uint64_t& stored = stored_[{attempt, rank}];
  if (offset > stored || offset + data.size() <= stored) return stored;
  // Nobody would read it: let the sender go on.
  if (closed_ || size_ >= bytes_max_) return stored = offset + data.size();
  data.remove_prefix(stored - offset);
  MUSTER_RETURN_IF_ERROR(Write(attempt, rank, stored, data, false));
  stored += data.size();
  if (size_ >= bytes_max_) {
    std::fprintf(stderr, "coordinator: %s is full: what follows is dropped\n", path_.c_str());
    if (!last_words_.empty())
      MUSTER_RETURN_IF_ERROR(Write(attempt, rank, stored, last_words_, true));
  }
  Wake();
  return stored;
}

Status RecordLog::Write(std::uint32_t attempt, std::uint32_t rank, std::uint64_t offset,
                        std::string_view data, bool own_words) {
  MUSTER_CHECK(data.size() <= kRecordBytesMax, "a record holds at most 64 MiB");
  Header header;
  header.attempt = attempt;
  header.rank = rank;
  header.bytes = static_cast<std::uint32_t>(data.size());
  header.offset = offset;
  header.crc = Crc(data);
  header.own_words = own_words ? 1 : 0;
  std::string record(sizeof(Header), '\0');
  std::memcpy(record.data(), &header, sizeof(Header));
  record += data;
  std::size_t written = 0;
  while (written < record.size()) {
    const ssize_t wrote = ::pwrite(file_.get(), record.data() + written, record.size() - written,
                                   static_cast<off_t>(size_ + written));
    // What was written of a record that does not fit lies beyond size_ and is overwritten later.
    if (wrote <= 0) return FromErrno("write " + path_);
    written += static_cast<std::size_t>(wrote);
  }
  AddToTail(size_, size_ + record.size());
  size_ += record.size();
  return {};
}

std::uint64_t RecordLog::StoredBytes(std::uint32_t attempt, std::uint32_t rank) const {
  const auto found = stored_.find({attempt, rank});
  return found == stored_.end() ? 0 : found->second;
}

Status RecordLog::Sync() {
  if (::fdatasync(file_.get()) != 0) return FromErrno("fsync " + path_);
  if (entry_durable_) return {};
  // The file, and the job's folder that it is in, may be new.
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  MUSTER_RETURN_IF_ERROR(SyncDirectory(folder));
  MUSTER_RETURN_IF_ERROR(SyncDirectory(folder.parent_path()));
  entry_durable_ = true;
  return {};
}

void RecordLog::Close() {
  closed_ = true;
  Wake();
}

Result<Record> RecordLog::Read(std::uint64_t position) const {
  const std::uint64_t end = size_;
  if (position == end) return NotFound("end of the log");
  Header header;
  Record record;
  if (!ReadHeader(file_.get(), position, end, header) ||
      !ReadData(file_.get(), position, header, record.data)) {
    return InvalidArgument("no record begins at position " + std::to_string(position));
  }
  record.attempt = header.attempt;
  record.rank = header.rank;
  record.offset = header.offset;
  record.next_position = position + sizeof(Header) + header.bytes;
  return record;
}

std::uint64_t RecordLog::Follow(std::uint64_t position, std::function<void()> wake) {
  {
    const std::lock_guard lock(mutex_);
    if (size_ <= position && !closed_) {
      followers_.emplace(++followers_made_, std::move(wake));
      return followers_made_;
    }
  }
  wake();
  return 0;
}

void RecordLog::Unfollow(std::uint64_t key) {
  const std::lock_guard lock(mutex_);
  followers_.erase(key);
}

void RecordLog::Wake() {
  std::map<std::uint64_t, std::function<void()>> followers;
  {
    const std::lock_guard lock(mutex_);
    followers.swap(followers_);
  }
  for (const auto& [key, wake] : followers) wake();
}

}  // namespace muster::coordinator
