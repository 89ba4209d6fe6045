#include "worker/agent/rank_cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

#include "base/file.h"

namespace muster::agent {
namespace {

// The files of a cgroup say that they are empty; they are read to their end.
std::string Read(const std::string& path) {
  const Result<FileDescriptor> file = FileDescriptor::Open(path, O_RDONLY);
  std::string text;
  std::array<char, 4096> block;
  ssize_t got = 0;
  while (file.ok() && (got = ::read(file->get(), block.data(), block.size())) > 0) {
    text.append(block.data(), static_cast<std::size_t>(got));
  }
  return text;
}

// One write(2), as the kernel wants it; never makes a file.
Status Write(const std::string& path, std::string_view value) {
  MUSTER_ASSIGN_OR_RETURN(const FileDescriptor file, FileDescriptor::Open(path, O_WRONLY));
  if (::write(file.get(), value.data(), value.size()) < 0) return FromErrno("write " + path);
  return {};
}

bool HasWord(const std::string& text, std::string_view word) {
  std::istringstream words(text);
  for (std::string one; words >> one;) {
    if (one == word) return true;
  }
  return false;
}

// The number in the line "KEY NUMBER" of a file of such lines; 0 when there is none.
std::uint64_t ValueOf(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  std::string name;
  for (std::uint64_t value = 0; lines >> name >> value;) {
    if (name == key) return value;
  }
  return 0;
}

std::vector<std::string> FoldersIn(const std::string& path, std::string_view prefix) {
  std::vector<std::string> folders;
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) return folders;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (entry->d_type != DT_DIR || name == "." || name == "..") continue;
    if (name.substr(0, prefix.size()) == prefix) folders.push_back(path + "/" + entry->d_name);
  }
  ::closedir(folder);
  return folders;
}

Status RemoveTree(const std::string& path) {
  for (const std::string& below : FoldersIn(path, "")) MUSTER_RETURN_IF_ERROR(RemoveTree(below));
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return FromErrno("remove " + path);
  return {};
}

bool IsPopulated(const std::string& path) {
  return ValueOf(Read(path + "/cgroup.events"), "populated") != 0;
}

// mountinfo writes blanks as \040 and the like (proc(5)).
std::string Unescape(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>(std::strtol(text.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// `path` as seen below `root`, "" for itself; nothing when it lies elsewhere. "/" is the top.
std::optional<std::string> Below(const std::string& root, const std::string& path) {
  const std::string top = root == "/" ? "" : root, whole = path == "/" ? "" : path;
  if (whole.compare(0, top.size(), top) != 0) return std::nullopt;
  if (whole.size() > top.size() && whole[top.size()] != '/') return std::nullopt;
  return whole.substr(top.size());
}

}  // namespace

Status StepDown(const std::string& path) {
  const std::string self = std::to_string(::getpid()), members = Read(path + "/cgroup.procs");
  if (members != self + "\n") {
    return FailedPrecondition(path + " holds other processes than this one");
  }
  const std::string leaf = path + "/muster-agent";
  if (::mkdir(leaf.c_str(), 0755) != 0 && errno != EEXIST) return FromErrno("make " + leaf);
  return Write(leaf + "/cgroup.procs", self);
}

namespace {

// Makes the memory controller that `path` has one of its children's too; else tells why not.
std::string PassMemoryOn(const std::string& path) {
  if (!HasWord(Read(path + "/cgroup.controllers"), "memory")) {
    return "there is no memory controller at " + path;
  }
  if (HasWord(Read(path + "/cgroup.subtree_control"), "memory")) return {};
  const std::string control = path + "/cgroup.subtree_control";
  Status passed = Write(control, "+memory");
  // A cgroup with processes of its own has no controllers for its children, but for the top.
  if (!passed.ok() && StepDown(path).ok()) passed = Write(control, "+memory");
  return passed.message();
}

}  // namespace

Result<std::string> FindOwnCgroup(const std::string& mountinfo, const std::string& cgroup) {
  std::string own;
  std::istringstream memberships(cgroup);
  for (std::string line; std::getline(memberships, line);) {
    if (line.rfind("0::", 0) == 0) own = line.substr(3);
  }
  if (own.empty()) return FailedPrecondition("this process is in no cgroup of version 2");
  bool mounted = false;
  std::istringstream mounts(mountinfo);
  for (std::string line; std::getline(mounts, line);) {
    // "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS...] - TYPE SOURCE OPTIONS"
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos || line.compare(dash + 3, 8, "cgroup2 ") != 0) continue;
    mounted = true;
    std::istringstream fields(line);
    std::string skipped, root, point;
    fields >> skipped >> skipped >> skipped >> root >> point;
    const std::optional<std::string> below = Below(Unescape(root), own);
    // A path that starts with ".." is outside what this process's namespace shows.
    if (below && below->rfind("/..", 0) != 0) return Unescape(point) + *below;
  }
  return FailedPrecondition(mounted ? "no cgroup2 mount shows this process's cgroup " + own
                                    : "no cgroup2 file system is mounted");
}

MemoryEvents ParseMemoryEvents(const std::string& text) {
  return {ValueOf(text, "oom"), ValueOf(text, "oom_kill")};
}

int EndCgroups(const std::string& parent, const std::string& prefix,
               std::chrono::milliseconds patience) {
  struct statfs system {};
  if (::statfs(parent.c_str(), &system) != 0 || system.f_type != CGROUP2_SUPER_MAGIC) return 0;
  const Result<std::string> own =
      FindOwnCgroup(Read("/proc/self/mountinfo"), Read("/proc/self/cgroup"));
  int removed = 0;
  for (const std::string& path : FoldersIn(parent, prefix)) {
    if (own.ok() && Below(path, *own)) continue;
    const auto end = std::chrono::steady_clock::now() + patience;
    do {
      [[maybe_unused]] const Status killed = Write(path + "/cgroup.kill", "1");
      if (!IsPopulated(path)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    } while (std::chrono::steady_clock::now() < end);
    removed += RemoveTree(path).ok() ? 1 : 0;
  }
  return removed;
}

MemoryEvents RankCgroup::memory_events() const {
  return limits_memory_ ? ParseMemoryEvents(Read(path_ + "/memory.events")) : MemoryEvents();
}

void RankCgroup::Kill() const {
  if (!exists()) return;
  // That it worked is seen from Populated.
  [[maybe_unused]] const Status killed = Write(path_ + "/cgroup.kill", "1");
}

bool RankCgroup::Populated() const { return exists() && IsPopulated(path_); }

Status RankCgroup::Remove() {
  if (!exists()) return {};
  MUSTER_RETURN_IF_ERROR(RemoveTree(path_));
  *this = RankCgroup();
  return {};
}

Result<RankCgroups> RankCgroups::Detect(const std::string& tag) {
  RankCgroups cgroups;
  MUSTER_ASSIGN_OR_RETURN(cgroups.parent_,
                          FindOwnCgroup(Read("/proc/self/mountinfo"), Read("/proc/self/cgroup")));
  cgroups.prefix_ = Prefix(tag);
  // A process moves from one cgroup to another only where it may write to the one above both.
  const std::string members = cgroups.parent_ + "/cgroup.procs";
  MUSTER_RETURN_IF_ERROR(FileDescriptor::Open(members, O_WRONLY).status());
  const std::string trial = cgroups.parent_ + "/" + cgroups.prefix_ + "trial";
  if (::mkdir(trial.c_str(), 0755) != 0 && errno != EEXIST) return FromErrno("make " + trial);
  Status usable = FileDescriptor::Open(trial + "/cgroup.procs", O_WRONLY).status();
  if (usable.ok()) usable = Write(trial + "/cgroup.kill", "1");  // Since Linux 5.14.
  if (usable.ok() && Read(trial + "/cgroup.type") != "domain\n") {
    usable = FailedPrecondition(cgroups.parent_ + " is of threads, not of processes");
  }
  ::rmdir(trial.c_str());
  MUSTER_RETURN_IF_ERROR(usable);
  cgroups.no_memory_limit_ = PassMemoryOn(cgroups.parent_);
  return cgroups;
}

Result<RankCgroup> RankCgroups::Make(const RankKey& rank, std::uint64_t memory_mib_max) const {
  RankCgroup made;
  if (parent_.empty()) return made;
  const std::string path = parent_ + "/" + prefix_ + rank.Folder();
  if (::mkdir(path.c_str(), 0755) != 0) return FromErrno("make " + path);
  made.path_ = path;
  if (memory_mib_max == 0 || !no_memory_limit_.empty()) return made;
  made.limits_memory_ = Write(path + "/memory.max", std::to_string(memory_mib_max << 20U)).ok();
  if (!made.limits_memory_) return made;
  // Half a rank is of no use. Swap is no way around the limit; not every kernel counts it.
  [[maybe_unused]] Status tuned = Write(path + "/memory.oom.group", "1");
  tuned = Write(path + "/memory.swap.max", "0");
  return made;
}

}  // namespace muster::agent
