#include "trainer/data/data_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "base/sha256.h"
#include "trainer/data/plain_reader.h"

namespace muster {
namespace {

constexpr std::size_t kFirstBytes = 64;
constexpr std::size_t kChunkBytes = std::size_t{1} << 20U;
constexpr unsigned kLocks = 16;

using Sink = std::function<Status(std::span<const std::byte>)>;

// What a file is, as far as its metadata tell: any write to it changes the name.
Result<std::string> IdentityOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return FromErrno("open " + path);
  const auto text = [](auto value) { return std::to_string(value); };
  const auto time = [&text](const timespec& at) {
    return text(at.tv_sec) + "." + text(at.tv_nsec);
  };
  return text(info.st_dev) + "-" + text(info.st_ino) + "-" + text(info.st_size) + "-" +
         time(info.st_mtim) + "-" + time(info.st_ctim);
}

Status TooLong(const std::string& path, std::uint64_t limit) {
  return InvalidArgument(path + ": byte " + std::to_string(limit) +
                         ": the file goes on where its data should end (the most is " +
                         std::to_string(limit) + " bytes)");
}

// Streams the plain bytes of `reader` to `sink` and returns the hash of the file.
Result<std::string> Stream(PlainReader& reader, const std::string& path, std::uint64_t limit_bytes,
                           const DataCache::LimitOf& limit_of, const Sink& sink) {
  std::vector<std::byte> chunk(kChunkBytes);
  MUSTER_ASSIGN_OR_RETURN(std::size_t got, reader.Read(chunk));
  DataCache::FileStart start;
  start.first = std::span(chunk).first(std::min(got, kFirstBytes));
  start.compressed = reader.compressed();
  start.possible_bytes = reader.file_bytes() * (start.compressed ? kInflationMax : 1);
  MUSTER_ASSIGN_OR_RETURN(const std::uint64_t promised, limit_of(start));
  const std::uint64_t limit = std::min(promised, limit_bytes);
  std::uint64_t total = 0;
  while (got > 0) {
    total += got;
    if (total > limit) return TooLong(path, limit);
    MUSTER_RETURN_IF_ERROR(sink(std::span(chunk).first(got)));
    if (got < chunk.size()) break;
    MUSTER_ASSIGN_OR_RETURN(got, reader.Read(chunk));
  }
  return reader.FinishHash();
}

// A file that removes itself unless it was given its final name.
class TemporaryFile {
 public:
  static Result<TemporaryFile> Create(const std::string& directory) {
    TemporaryFile temporary;
    temporary.path_ = directory + "/tmp-XXXXXX";
    const int descriptor = ::mkostemp(temporary.path_.data(), O_CLOEXEC);
    if (descriptor < 0) return FromErrno("create a file in " + directory);
    temporary.file_ = FileDescriptor(descriptor);
    return temporary;
  }
  TemporaryFile(TemporaryFile&&) = default;
  TemporaryFile& operator=(TemporaryFile&&) = default;
  ~TemporaryFile() {
    if (file_.valid()) ::unlink(path_.c_str());
  }

  Status Write(std::span<const std::byte> bytes) {
    return WriteAll(file_.get(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                    path_);
  }
  Status Publish(const std::string& path) {
    if (::fchmod(file_.get(), 0444) != 0 || ::fsync(file_.get()) != 0) {
      return FromErrno("fsync " + path_);
    }
    if (::rename(path_.c_str(), path.c_str()) != 0) return FromErrno("rename to " + path);
    file_ = FileDescriptor();
    return {};
  }

 private:
  TemporaryFile() = default;
  std::string path_;
  FileDescriptor file_;
};

// Several processes that want the same file: the first inflates, the others wait and then find it.
Result<FileDescriptor> LockFor(const std::string& directory, const std::string& identity) {
  unsigned slot = 0;
  for (const char c : identity) slot = (slot * 31 + static_cast<unsigned char>(c)) % kLocks;
  const std::string path = directory + "/lock-" + std::to_string(slot);
  MUSTER_ASSIGN_OR_RETURN(FileDescriptor lock, FileDescriptor::Open(path, O_RDWR | O_CREAT, 0600));
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return FromErrno("lock " + path);
  }
  return lock;
}

// Did the cache fail, rather than the data? When in doubt yes: private memory then tells.
bool IsCacheTrouble(const Status& status) {
  return status.code() != StatusCode::kInvalidArgument && status.code() != StatusCode::kDataLoss;
}

std::string NoteOn(const Status& trouble, const std::string& what) {
  return "the data cache cannot be used (" + trouble.message() + "); " + what +
         " is held in private memory by every rank";
}

}  // namespace

DataCache::DataCache(DataCacheOptions options) : options_(std::move(options)) {}

Result<std::shared_ptr<const DataBytes>> DataCache::Open(const std::string& path,
                                                         const LimitOf& limit_of) {
  MUSTER_ASSIGN_OR_RETURN(const std::string identity, IdentityOf(path));
  if (options_.directory.empty()) return Hold(path, limit_of, "");
  const std::string index_path = options_.directory + "/index/" + identity;
  if (auto found = Find(index_path); found.ok()) return found;
  Status trouble = MakeDirectories(options_.directory + "/index", 0700);
  if (trouble.ok()) {
    const auto lock = LockFor(options_.directory, identity);
    if (auto found = Find(index_path); found.ok()) return found;
    auto stored = Store(path, index_path, limit_of);
    if (stored.ok() || !IsCacheTrouble(stored.status())) return stored;
    trouble = stored.status();
  }
  return Hold(path, limit_of, NoteOn(trouble, path));
}

// An index entry is "<sha256> <plain bytes>"; the copy must have that size.
Result<std::shared_ptr<const DataBytes>> DataCache::Find(const std::string& index_path) const {
  MUSTER_ASSIGN_OR_RETURN(const std::string entry, ReadFile(index_path, 256));
  std::uint64_t plain_bytes = 0;
  if (entry.size() < kSha256Digits + 2 ||
      std::from_chars(entry.data() + kSha256Digits + 1, entry.data() + entry.size(), plain_bytes)
              .ec != std::errc()) {
    return DataLoss(index_path + ": not an index entry");
  }
  auto data = std::make_shared<DataBytes>();
  data->sha256_ = entry.substr(0, kSha256Digits);
  MUSTER_ASSIGN_OR_RETURN(data->mapped_,
                          MappedFile::Open(options_.directory + "/" + data->sha256_));
  if (data->bytes().size() != plain_bytes) return DataLoss(index_path + ": its copy is damaged");
  return std::shared_ptr<const DataBytes>(std::move(data));
}

Result<std::shared_ptr<const DataBytes>> DataCache::Store(const std::string& path,
                                                          const std::string& index_path,
                                                          const LimitOf& limit_of) {
  MUSTER_ASSIGN_OR_RETURN(TemporaryFile copy, TemporaryFile::Create(options_.directory));
  MUSTER_ASSIGN_OR_RETURN(PlainReader reader, PlainReader::Open(path));
  std::uint64_t plain_bytes = 0;
  MUSTER_ASSIGN_OR_RETURN(const std::string sha256,
                          Stream(reader, path, options_.plain_bytes_max, limit_of,
                                 [&](std::span<const std::byte> bytes) {
                                   plain_bytes += bytes.size();
                                   return copy.Write(bytes);
                                 }));
  const std::string copy_path = options_.directory + "/" + sha256;
  MUSTER_RETURN_IF_ERROR(copy.Publish(copy_path));
  auto data = std::make_shared<DataBytes>();
  data->sha256_ = sha256;
  MUSTER_ASSIGN_OR_RETURN(data->mapped_, MappedFile::Open(copy_path));
  // A file that changed while it was read has another identity by now: its entry is never found.
  MUSTER_RETURN_IF_ERROR(
      WriteFileAtomically(index_path, sha256 + " " + std::to_string(plain_bytes), 0600));
  return std::shared_ptr<const DataBytes>(std::move(data));
}

Result<std::shared_ptr<const DataBytes>> DataCache::Hold(const std::string& path,
                                                         const LimitOf& limit_of,
                                                         std::string note) {
  MUSTER_ASSIGN_OR_RETURN(PlainReader reader, PlainReader::Open(path));
  auto data = std::make_shared<DataBytes>();
  const std::uint64_t limit = std::min(options_.plain_bytes_max, options_.memory_bytes_max);
  MUSTER_ASSIGN_OR_RETURN(
      data->sha256_,
      Stream(reader, path, limit, limit_of, [&data](std::span<const std::byte> bytes) {
        data->memory_.insert(data->memory_.end(), bytes.begin(), bytes.end());
        return Status();
      }));
  data->note_ = std::move(note);
  return std::shared_ptr<const DataBytes>(std::move(data));
}

Result<std::shared_ptr<const DataBytes>> DataCache::OpenDerived(
    const std::string& key, const std::function<Result<std::vector<std::byte>>()>& make) {
  MUSTER_CHECK(key.size() == kSha256Digits, "the key of derived data is a hash");
  auto data = std::make_shared<DataBytes>();
  data->sha256_ = key;
  const std::string path = options_.directory + "/derived-" + key;
  if (!options_.directory.empty()) {
    if (auto mapped = MappedFile::Open(path); mapped.ok() && !mapped->bytes().empty()) {
      data->mapped_ = std::move(*mapped);
      return std::shared_ptr<const DataBytes>(std::move(data));
    }
  }
  MUSTER_ASSIGN_OR_RETURN(data->memory_, make());
  if (!options_.directory.empty()) {
    const auto store = [&]() -> Status {
      MUSTER_RETURN_IF_ERROR(MakeDirectories(options_.directory, 0700));
      MUSTER_ASSIGN_OR_RETURN(TemporaryFile copy, TemporaryFile::Create(options_.directory));
      MUSTER_RETURN_IF_ERROR(copy.Write(data->memory_));
      return copy.Publish(path);
    };
    if (const Status trouble = store(); !trouble.ok()) data->note_ = NoteOn(trouble, "a data set");
  }
  return std::shared_ptr<const DataBytes>(std::move(data));
}

}  // namespace muster
