#include "worker/agent/data_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"
#include "wire/tree.h"
#include "worker/agent/log.h"

namespace muster::agent {

DataCache::DataCache(std::string directory, std::uint64_t bytes_max, Source source)
    : directory_(std::move(directory)), bytes_max_(bytes_max), source_(std::move(source)) {
  std::error_code error;
  std::vector<std::pair<std::int64_t, std::string>> by_age;
  for (std::filesystem::recursive_directory_iterator entry(directory_, error), end;
       !error && entry != end; entry.increment(error)) {
    struct stat info {};
    const std::string name = entry->path().filename().string();
    if (!wire::IsSha256(name) || ::lstat(entry->path().c_str(), &info) != 0) continue;
    if (!S_ISREG(info.st_mode)) continue;
    entries_[name].size = static_cast<std::uint64_t>(info.st_size);
    by_age.emplace_back(info.st_mtim.tv_sec, name);
  }
  std::sort(by_age.begin(), by_age.end());
  for (const auto& [time, name] : by_age) entries_[name].used = ++clock_;
  MakeRoom();
}

std::string DataCache::PathOf(const std::string& sha256) const {
  return directory_ + "/" + sha256.substr(0, 2) + "/" + sha256;
}

Result<DataCache::Identity> DataCache::IdentityOf(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return FromErrno("stat " + path);
  return Identity{info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

bool DataCache::Intact(const std::string& sha256, const Entry& entry) const {
  const std::string path = PathOf(sha256);
  const Result<Identity> identity = IdentityOf(path);
  if (!identity.ok()) return false;
  if (*identity == entry.hashed) return true;
  const Result<std::string> digest = Sha256OfFile(path);
  return digest.ok() && *digest == sha256;
}

Result<DataCache::Entry> DataCache::Fetch(const std::string& sha256, const Cancelled& cancelled) {
  const std::string path = PathOf(sha256);
  const std::string partial = path + ".partial";
  MUSTER_RETURN_IF_ERROR(MakeDirectories(directory_ + "/" + sha256.substr(0, 2), 0755));
  ::unlink(partial.c_str());  // An earlier agent's.
  Entry entry;
  {
    MUSTER_ASSIGN_OR_RETURN(
        const FileDescriptor file,
        FileDescriptor::Open(partial, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0444));
    while (true) {
      struct stat info {};
      if (::fstat(file.get(), &info) != 0) return FromErrno("stat " + partial);
      Status fetched =
          source_.fetch(sha256, static_cast<std::uint64_t>(info.st_size), file.get(), cancelled);
      if (fetched.ok()) break;
      if (cancelled()) return Status(StatusCode::kCancelled, "no longer wanted");
      if (!source_.away(fetched) || !source_.pause()) {
        ::unlink(partial.c_str());
        return fetched;
      }
    }
  }
  MUSTER_ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(partial));
  if (digest != sha256) {
    ::unlink(partial.c_str());
    return DataLoss("object " + sha256 + " arrived with SHA-256 " + digest);
  }
  if (::rename(partial.c_str(), path.c_str()) != 0) return FromErrno("rename " + partial);
  MUSTER_ASSIGN_OR_RETURN(entry.hashed, IdentityOf(path));
  entry.size = static_cast<std::uint64_t>(std::get<1>(entry.hashed));
  return entry;
}

Result<DataCache::Entry> DataCache::FindOrFetch(const std::string& sha256, const Entry* known,
                                                const Cancelled& cancelled) {
  if (known == nullptr) return Fetch(sha256, cancelled);
  Entry entry = *known;
  if (Intact(sha256, entry)) {
    MUSTER_ASSIGN_OR_RETURN(entry.hashed, IdentityOf(PathOf(sha256)));
    return entry;
  }
  Log("the cached object " + sha256 + " is damaged: it is fetched again");
  ::unlink(PathOf(sha256).c_str());
  return Fetch(sha256, cancelled);
}

Result<std::string> DataCache::Get(const std::string& sha256, const AttemptKey& attempt,
                                   const Cancelled& cancelled) {
  if (!wire::IsSha256(sha256)) return InvalidArgument("an object's name is a SHA-256");
  std::unique_lock lock(mutex_);
  while (busy_.count(sha256) > 0) {
    ready_.wait_for(lock, std::chrono::milliseconds(100));
    if (cancelled()) return Status(StatusCode::kCancelled, "no longer wanted");
  }
  busy_.insert(sha256);
  const auto found = entries_.find(sha256);
  const bool known = found != entries_.end();
  const Entry before = known ? found->second : Entry();
  lock.unlock();
  Result<Entry> entry = FindOrFetch(sha256, known ? &before : nullptr, cancelled);
  lock.lock();
  busy_.erase(sha256);
  ready_.notify_all();
  if (!entry.ok()) {
    entries_.erase(sha256);
    return entry.status();
  }
  entry->used = ++clock_;
  entries_[sha256] = *entry;
  uses_[attempt].insert(sha256);
  MakeRoom();
  return PathOf(sha256);
}

void DataCache::Release(const AttemptKey& attempt) {
  const std::lock_guard lock(mutex_);
  uses_.erase(attempt);
  MakeRoom();
}

void DataCache::MakeRoom() {
  std::set<std::string> used = busy_;
  for (const auto& [attempt, objects] : uses_) used.insert(objects.begin(), objects.end());
  std::uint64_t bytes = 0;
  std::vector<std::pair<std::uint64_t, std::string>> idle;
  for (const auto& [sha256, entry] : entries_) {
    bytes += entry.size;
    if (used.count(sha256) == 0) idle.emplace_back(entry.used, sha256);
  }
  std::sort(idle.begin(), idle.end());
  for (const auto& [time, sha256] : idle) {
    if (bytes <= bytes_max_) return;
    bytes -= entries_[sha256].size;
    ::unlink(PathOf(sha256).c_str());
    entries_.erase(sha256);
  }
}

}  // namespace muster::agent
