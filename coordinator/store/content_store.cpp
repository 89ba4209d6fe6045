#include "coordinator/store/content_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <utility>
#include <vector>

namespace muster::coordinator {
namespace {

constexpr std::uint64_t kDiskReserveBytes = 64U << 20U;  // Left to the journal and its kin.
constexpr std::uint64_t kFlushBytes = 16U << 20U;

Status NoSuchObject(const std::string& sha256) {
  return NotFound("the store has no object " + sha256);
}

Status CheckHash(const std::string& sha256) {
  if (wire::IsSha256(sha256)) return {};
  return InvalidArgument("an object's name is 64 lower-case hexadecimal digits");
}

// Never below 0: file systems take their times from another clock than time(), which may be a
// second ahead of it.
std::int64_t AgeSeconds(const struct stat& info) {
  return std::max<std::int64_t>(0, std::time(nullptr) - info.st_mtim.tv_sec);
}

}  // namespace

ContentUpload::~ContentUpload() {
  const std::lock_guard lock(store_.mutex_);
  store_.reserved_ -= reserved_;
}

// Hashes what an earlier upload left, and goes on after it.
Status ContentUpload::TakeUp(std::uint64_t offset) {
  MUSTER_ASSIGN_OR_RETURN(file_, FileDescriptor::Open(path_, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0) return FromErrno("stat " + path_);
  if (offset > static_cast<std::uint64_t>(info.st_size) || offset > size_) {
    return InvalidArgument("the upload goes on at byte " + std::to_string(offset) + ", but only " +
                           std::to_string(info.st_size) + " of " + std::to_string(size_) +
                           " bytes are here");
  }
  if (::ftruncate(file_.get(), static_cast<off_t>(offset)) != 0) {
    return FromErrno("truncate " + path_);
  }
  std::vector<char> block(std::min<std::uint64_t>(offset, 1U << 20U));
  while (have_ < offset) {
    const ssize_t got = ::read(file_.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return FromErrno("read " + path_);
    hash_.Update(block.data(), static_cast<std::size_t>(got));
    have_ += static_cast<std::uint64_t>(got);
  }
  flushed_ = have_;
  return {};
}

Status ContentUpload::Write(std::string_view data) {
  const std::lock_guard lock(mutex_);
  if (replaced_) return Aborted("another upload of the same object took over");
  if (data.size() > size_ - have_) {
    return InvalidArgument("more bytes come than the " + std::to_string(size_) + " announced");
  }
  if (!there_) {
    MUSTER_RETURN_IF_ERROR(WriteAll(file_.get(), data, path_));
    hash_.Update(data.data(), data.size());
  }
  have_ += data.size();
  // The disk works while the rest comes, so that fsync finds little to do.
  if (!there_ && have_ - flushed_ >= kFlushBytes) {
    ::sync_file_range(file_.get(), static_cast<off_t>(flushed_),
                      static_cast<off_t>(have_ - flushed_), SYNC_FILE_RANGE_WRITE);
    flushed_ = have_;
  }
  return {};
}

Status ContentUpload::Finish() {
  const std::lock_guard lock(mutex_);
  if (replaced_) return Aborted("another upload of the same object took over");
  if (there_) return {};
  if (const std::string digest = hash_.Finish(); digest != sha256_) {
    ::unlink(path_.c_str());
    replaced_ = true;
    return DataLoss("the bytes that came have SHA-256 " + digest + ", not " + sha256_ +
                    ": the file changed while it was sent, or what was left of an earlier upload "
                    "is damaged; put it again");
  }
  if (::fsync(file_.get()) != 0) return FromErrno("fsync " + path_);
  MUSTER_RETURN_IF_ERROR(store_.Publish(path_, sha256_, size_));
  replaced_ = true;  // Nothing more can come.
  const std::lock_guard store_lock(store_.mutex_);
  store_.reserved_ -= std::exchange(reserved_, 0);
  return {};
}

Result<std::unique_ptr<ContentStore>> ContentStore::Open(ContentStoreOptions options) {
  std::unique_ptr<ContentStore> store(new ContentStore(std::move(options)));
  MUSTER_RETURN_IF_ERROR(store->Prepare());
  return store;
}

Status ContentStore::Prepare() {
  MUSTER_RETURN_IF_ERROR(MakeDirectories(options_.directory + "/objects", 0700));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(options_.directory + "/partial", 0700));
  MUSTER_RETURN_IF_ERROR(SyncDirectory(options_.directory));
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator entry(options_.directory + "/objects", error),
       end;
       !error && entry != end; entry.increment(error)) {
    if (entry->is_regular_file(error)) bytes_ += entry->file_size(error);
  }
  if (error) return Internal(options_.directory + ": " + error.message());
  if (options_.bytes_max == 0) {
    options_.bytes_max = bytes_ + FreeDiskBytes(options_.directory) / 5 * 4;
  }
  return {};
}

std::string ContentStore::ObjectPath(const std::string& sha256) const {
  MUSTER_CHECK(wire::IsSha256(sha256), "only hashes become paths");
  return options_.directory + "/objects/" + sha256.substr(0, 2) + "/" + sha256;
}

// An owner's own: what others began under the same hash may be anything.
std::string ContentStore::PartialPath(const std::string& owner, const std::string& sha256) const {
  MUSTER_CHECK(wire::IsSha256(sha256), "only hashes become paths");
  return options_.directory + "/partial/" + sha256 + "-" + Sha256Of(owner).substr(0, 16);
}

bool ContentStore::Has(const std::string& sha256) const { return SizeOf(sha256).ok(); }

Result<std::uint64_t> ContentStore::SizeOf(const std::string& sha256) const {
  MUSTER_RETURN_IF_ERROR(CheckHash(sha256));
  struct stat info {};
  if (::stat(ObjectPath(sha256).c_str(), &info) != 0) return NoSuchObject(sha256);
  return static_cast<std::uint64_t>(info.st_size);
}

Result<FileDescriptor> ContentStore::OpenObject(const std::string& sha256) const {
  MUSTER_RETURN_IF_ERROR(CheckHash(sha256));
  Result<FileDescriptor> file = FileDescriptor::Open(ObjectPath(sha256), O_RDONLY | O_NOFOLLOW);
  if (file.status().code() == StatusCode::kNotFound) return NoSuchObject(sha256);
  return file;
}

Result<std::optional<wire::Tree>> ContentStore::ReadTree(const std::string& sha256) const {
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor file, OpenObject(sha256));
  MUSTER_ASSIGN_OR_RETURN(const std::uint64_t size, SizeOf(sha256));
  std::optional<wire::Tree> tree;
  if (size > wire::kTreeBytesMax || size < wire::kTreeEnd.size()) return tree;
  // Most objects are no trees, which their two ends tell.
  std::array<char, 64> begin{}, end{};
  const auto at = static_cast<off_t>(size - wire::kTreeEnd.size());
  if (::pread(file.get(), begin.data(), wire::kTreeBegin.size(), 0) < 0 ||
      ::pread(file.get(), end.data(), wire::kTreeEnd.size(), at) < 0) {
    return FromErrno("read object " + sha256);
  }
  if (!wire::MayBeTree({begin.data(), wire::kTreeBegin.size()},
                       {end.data(), wire::kTreeEnd.size()})) {
    return tree;
  }
  MUSTER_ASSIGN_OR_RETURN(const std::string text,
                          ReadFile(ObjectPath(sha256), wire::kTreeBytesMax));
  Result<wire::Tree> parsed = wire::ParseTree(text);
  if (parsed.ok()) tree = std::move(*parsed);
  return tree;
}

bool ContentStore::Touch(const std::string& sha256) {
  if (!wire::IsSha256(sha256)) return false;
  const std::lock_guard lock(mutex_);
  return ::utimensat(AT_FDCWD, ObjectPath(sha256).c_str(), nullptr, 0) == 0;
}

std::uint64_t ContentStore::PartialBytes(const std::string& owner,
                                         const std::string& sha256) const {
  struct stat info {};
  if (!wire::IsSha256(sha256) || ::stat(PartialPath(owner, sha256).c_str(), &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.st_size);
}

Status ContentStore::CheckRoom(std::uint64_t more) const {
  const std::lock_guard lock(mutex_);
  return CheckRoomLocked(more);
}

Status ContentStore::CheckRoomLocked(std::uint64_t more) const {
  const std::uint64_t held = bytes_ + reserved_;
  if (more > options_.bytes_max || held > options_.bytes_max - more) {
    return {StatusCode::kResourceExhausted,
            "the store holds " + MebibytesText(held) + " of at most " +
                MebibytesText(options_.bytes_max) + "; there is no room for " +
                MebibytesText(more) +
                " more: start the coordinator with a larger --store-max-gib, or remove names with "
                "`muster data rm` (what nothing refers to goes a day after its last use)"};
  }
  const std::uint64_t free = FreeDiskBytes(options_.directory);
  if (free < kDiskReserveBytes || free - kDiskReserveBytes < reserved_ + more) {
    return {StatusCode::kResourceExhausted,
            "the coordinator's disk has " + MebibytesText(free) + " free, of which it keeps " +
                MebibytesText(kDiskReserveBytes) + " for itself; there is no room for " +
                MebibytesText(more) + " more: make room in " + options_.directory};
  }
  return {};
}

Result<std::shared_ptr<ContentUpload>> ContentStore::Begin(const std::string& owner,
                                                           const std::string& sha256,
                                                           std::uint64_t size,
                                                           std::uint64_t offset) {
  MUSTER_RETURN_IF_ERROR(CheckHash(sha256));
  if (size > options_.object_bytes_max) {
    return Status(StatusCode::kResourceExhausted,
                  "an object of " + std::to_string(size) + " bytes is too large: the most is " +
                      std::to_string(options_.object_bytes_max) + "; split it");
  }
  const auto upload = std::shared_ptr<ContentUpload>(new ContentUpload(*this, sha256, size));
  if (Touch(sha256)) {
    upload->there_ = true;
    if (offset > size) return InvalidArgument("the upload begins after its end");
    upload->have_ = offset;
    return upload;
  }
  upload->path_ = PartialPath(owner, sha256);
  std::shared_ptr<ContentUpload> earlier;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(uploads_, [](const auto& entry) { return entry.second.expired(); });
    std::weak_ptr<ContentUpload>& entry = uploads_[upload->path_];
    earlier = entry.lock();
    entry = upload;
  }
  if (earlier != nullptr) {
    const std::lock_guard lock(earlier->mutex_);
    earlier->replaced_ = true;
    const std::lock_guard store_lock(mutex_);
    reserved_ -= std::exchange(earlier->reserved_, 0);
  }
  const std::lock_guard upload_lock(upload->mutex_);
  {
    const std::lock_guard lock(mutex_);
    const std::uint64_t more = size - std::min(offset, size);
    MUSTER_RETURN_IF_ERROR(CheckRoomLocked(more));
    reserved_ += upload->reserved_ = more;
  }
  MUSTER_RETURN_IF_ERROR(upload->TakeUp(offset));
  return upload;
}

Status ContentStore::Publish(const std::string& partial, const std::string& sha256,
                             std::uint64_t size) {
  const std::string path = ObjectPath(sha256);
  const std::string folder = path.substr(0, path.rfind('/'));
  const std::lock_guard lock(mutex_);
  struct stat info {};
  const bool fresh_folder = ::stat(folder.c_str(), &info) != 0;
  MUSTER_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  const bool there = ::stat(path.c_str(), &info) == 0;  // By another owner meanwhile.
  if (::rename(partial.c_str(), path.c_str()) != 0) {
    return FromErrno("rename " + partial + " to " + path);
  }
  if (!there) bytes_ += size;
  MUSTER_RETURN_IF_ERROR(SyncDirectory(folder));
  return fresh_folder ? SyncDirectory(options_.directory + "/objects") : Status();
}

std::uint64_t ContentStore::Sweep(const std::set<std::string>& roots) {
  std::set<std::string> marked = roots;
  for (const std::string& root : roots) {
    const Result<std::optional<wire::Tree>> tree = ReadTree(root);
    if (!tree.ok() || !tree->has_value()) continue;
    for (const wire::TreeEntry& entry : (*tree)->entries) marked.insert(entry.sha256);
  }
  std::uint64_t freed = 0;
  std::error_code error;
  std::vector<std::string> paths;
  for (std::filesystem::recursive_directory_iterator entry(options_.directory, error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->is_regular_file(error)) paths.push_back(entry->path().string());
  }
  for (const std::string& path : paths) {
    const std::string name = path.substr(path.rfind('/') + 1);
    const bool object = wire::IsSha256(name);
    if (object && marked.count(name) > 0) continue;
    const std::lock_guard lock(mutex_);
    const auto upload = uploads_.find(path);
    if (upload != uploads_.end() && !upload->second.expired()) continue;
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) continue;
    if (AgeSeconds(info) < (object ? options_.grace : options_.partial_grace).count()) continue;
    if (::unlink(path.c_str()) != 0) continue;
    freed += static_cast<std::uint64_t>(info.st_size);
    if (object) bytes_ -= static_cast<std::uint64_t>(info.st_size);
  }
  return freed;
}

std::uint64_t ContentStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace muster::coordinator
