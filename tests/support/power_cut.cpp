#include "tests/support/power_cut.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <compare>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>

namespace muster {
namespace {

// A file whatever it is called: its inode, and when that was made, since numbers come again.
struct Identity {
  std::uint64_t inode = 0;
  std::int64_t made_s = 0;
  std::uint32_t made_ns = 0;
  auto operator<=>(const Identity&) const = default;
};

struct Entry {
  Identity identity;
  bool folder = false;
};

struct Disk {
  std::mutex mutex;
  std::map<Identity, std::string> files;
  std::map<Identity, std::map<std::string, Entry>> folders;
  std::function<void()> before;
};
Disk& TheDisk() {
  static Disk* const disk = new Disk();  // Outlives threads that synchronise at the end.
  return *disk;
}

std::string BytesOf(int file, std::size_t size) {
  std::string bytes(size, '\0');
  const ssize_t got = ::pread(file, bytes.data(), size, 0);
  if (got >= 0) return bytes.substr(0, static_cast<std::size_t>(got));
  // Opened for writing alone. (Others must not be opened again: closing would release locks.)
  std::ifstream again("/proc/self/fd/" + std::to_string(file), std::ios::binary);
  return {std::istreambuf_iterator<char>(again), {}};
}

// Of an open file, or of what `name` is in an open folder.
Entry Look(int file, const std::string& name = {}) {
  struct statx info {};
  const int flags = name.empty() ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
  if (::statx(file, name.c_str(), flags, STATX_INO | STATX_TYPE | STATX_BTIME, &info) != 0)
    return {};
  return {{info.stx_ino, info.stx_btime.tv_sec, info.stx_btime.tv_nsec}, S_ISDIR(info.stx_mode)};
}

std::map<std::string, Entry> EntriesOf(int folder) {
  std::map<std::string, Entry> entries;
  const std::string path = "/proc/self/fd/" + std::to_string(folder);
  DIR* const open = ::opendir(path.c_str());
  if (open == nullptr) std::abort();
  while (const dirent* entry = ::readdir(open)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") entries[name] = Look(folder, name);
  }
  ::closedir(open);
  return entries;
}

int Synchronise(int file) {
  thread_local bool inside = false;
  Disk& disk = TheDisk();
  std::function<void()> before;
  {
    const std::lock_guard lock(disk.mutex);
    before = disk.before;
  }
  if (before && !inside) {
    inside = true;
    before();
    inside = false;
  }
  struct stat info {};
  if (::fstat(file, &info) != 0) return -1;
  const std::lock_guard lock(disk.mutex);
  if (S_ISDIR(info.st_mode)) {
    disk.folders[Look(file).identity] = EntriesOf(file);
  } else {
    disk.files[Look(file).identity] = BytesOf(file, static_cast<std::size_t>(info.st_size));
  }
  return 0;
}

void Materialise(const Disk& disk, const Identity& folder, const std::string& copy) {
  std::filesystem::create_directory(copy);
  const auto entries = disk.folders.find(folder);
  if (entries == disk.folders.end()) return;
  for (const auto& [name, entry] : entries->second) {
    if (entry.folder) {
      Materialise(disk, entry.identity, copy + "/" + name);
      continue;
    }
    const auto bytes = disk.files.find(entry.identity);
    std::ofstream(copy + "/" + name, std::ios::binary)
        << (bytes == disk.files.end() ? std::string() : bytes->second);
  }
}

}  // namespace

void CutPower(const std::string& folder, const std::string& copy) {
  const int open = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (open < 0) std::abort();
  const Entry root = Look(open);
  ::close(open);
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  Materialise(disk, root.identity, copy);
}

void BeforeEachSync(std::function<void()> call) {
  Disk& disk = TheDisk();
  const std::lock_guard lock(disk.mutex);
  disk.before = std::move(call);
}

}  // namespace muster

// In place of the C library's, for the whole program. Nothing needs to reach the real disk.
extern "C" {
int fsync(int file) { return muster::Synchronise(file); }
int fdatasync(int file) { return muster::Synchronise(file); }
}
