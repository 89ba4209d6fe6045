#include "cli/local_data.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/file.h"
#include "base/sha256.h"
#include "cli/ignore.h"
#include "wire/printable.h"
#include "wire/tree.h"

namespace muster::cli {
namespace {

constexpr const char* kIgnoreFile = ".musterignore";

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

Status NotStorable(const std::string& path, mode_t mode) {
  const char* what = S_ISLNK(mode)    ? "a symbolic link"
                     : S_ISFIFO(mode) ? "a pipe"
                     : S_ISSOCK(mode) ? "a socket"
                                      : "a device";
  return InvalidArgument(wire::Printable(path, 300) + " is " + what +
                         "; the store holds files and folders only: remove it, or name it in " +
                         kIgnoreFile);
}

struct Found {
  std::string path;  // Relative to the folder.
  std::uint64_t size = 0;
  bool executable = false;
};

// Walks a folder in the order of names.
class Walker {
 public:
  explicit Walker(std::string root) : root_(std::move(root)) {}

  Result<std::vector<Found>> Walk() {
    const std::string path = root_ + "/" + kIgnoreFile;
    if (::access(path.c_str(), F_OK) == 0) {
      MUSTER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1U << 20U));
      MUSTER_ASSIGN_OR_RETURN(rules_, IgnoreRules::Parse(text, path));
    }
    MUSTER_RETURN_IF_ERROR(Enter("", 1));
    return std::move(found_);
  }

 private:
  Status Enter(const std::string& prefix, std::size_t depth) {
    const std::string folder = root_ + "/" + prefix;
    const std::unique_ptr<DIR, CloseFolder> open(::opendir(folder.c_str()));
    if (open == nullptr) return FromErrno("open " + folder);
    std::vector<std::string> names;
    for (const dirent* entry = ::readdir(open.get()); entry != nullptr;
         entry = ::readdir(open.get())) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) MUSTER_RETURN_IF_ERROR(Take(prefix + name, depth));
    return {};
  }

  Status Take(const std::string& path, std::size_t depth) {
    struct stat info {};
    const std::string whole = root_ + "/" + path;
    if (::lstat(whole.c_str(), &info) != 0) return FromErrno("stat " + whole);
    if (path == kIgnoreFile || rules_.Ignores(path, S_ISDIR(info.st_mode))) return {};
    if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) return NotStorable(whole, info.st_mode);
    MUSTER_RETURN_IF_ERROR(wire::CheckTreePath(path));
    if (S_ISDIR(info.st_mode)) return Enter(path + "/", depth + 1);
    if (found_.size() == wire::kTreeEntriesMax) {
      return InvalidArgument(root_ + " has more than " + std::to_string(wire::kTreeEntriesMax) +
                             " files; pack them into fewer, or name some in " + kIgnoreFile);
    }
    found_.push_back(
        {path, static_cast<std::uint64_t>(info.st_size), (info.st_mode & S_IXUSR) != 0});
    return {};
  }

  const std::string root_;
  IgnoreRules rules_;
  std::vector<Found> found_;
};

Result<LocalObject> HashFile(const std::string& path,
                             const std::function<void(std::uint64_t)>& read) {
  // O_NONBLOCK: should it be a pipe by now, nothing waits for its writer.
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor file,
                          FileDescriptor::Open(path, O_RDONLY | O_NONBLOCK));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return FromErrno("stat " + path);
  if (!S_ISREG(info.st_mode)) return NotStorable(path, info.st_mode);
  if (static_cast<std::uint64_t>(info.st_size) > wire::kObjectBytesMax) {
    return InvalidArgument(path + ": " + std::to_string(info.st_size) +
                           " bytes are too many: a file in the store may have 16 GiB; split it");
  }
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  LocalObject object;
  object.path = path;
  Sha256 hash;
  std::string block(1U << 20U, '\0');
  while (true) {
    const ssize_t got = ::read(file.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno("read " + path);
    if (got == 0) break;
    hash.Update(block.data(), static_cast<std::size_t>(got));
    object.size += static_cast<std::uint64_t>(got);
    read(static_cast<std::uint64_t>(got));
  }
  object.sha256 = hash.Finish();
  return object;
}

Result<std::vector<Found>> FilesOf(const std::string& path, bool& folder) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return FromErrno(wire::Printable(path, 300));
  folder = S_ISDIR(info.st_mode);
  if (folder) return Walker(path).Walk();
  if (!S_ISREG(info.st_mode)) return NotStorable(path, info.st_mode);
  return std::vector<Found>{{"", static_cast<std::uint64_t>(info.st_size), false}};
}

}  // namespace

Result<LocalData> ReadLocalData(const std::string& path,
                                const std::function<void(std::uint64_t)>& read) {
  LocalData data;
  MUSTER_ASSIGN_OR_RETURN(const std::vector<Found> found, FilesOf(path, data.folder));
  wire::Tree tree;
  for (const Found& file : found) {
    const std::string whole = data.folder ? path + "/" + file.path : path;
    MUSTER_ASSIGN_OR_RETURN(LocalObject object, HashFile(whole, read));
    data.bytes += object.size;
    data.sha256 = object.sha256;
    tree.entries.push_back({file.path, object.size, object.sha256, file.executable});
    data.objects.push_back(std::move(object));
  }
  data.files = found.size();
  if (!data.folder) return data;
  if (found.empty()) return InvalidArgument(path + " holds no files");
  LocalObject list;
  MUSTER_ASSIGN_OR_RETURN(list.text, wire::TreeText(std::move(tree)));
  list.size = list.text.size();
  list.sha256 = data.sha256 = Sha256Of(list.text);
  data.objects.push_back(std::move(list));
  return data;
}

std::uint64_t LocalBytes(const std::string& path) {
  bool folder = false;
  const Result<std::vector<Found>> found = FilesOf(path, folder);
  std::uint64_t bytes = 0;
  if (!found.ok()) return 0;
  for (const Found& file : *found) bytes += file.size;
  return bytes;
}

}  // namespace muster::cli
