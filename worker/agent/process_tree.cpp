#include "worker/agent/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>
#include <thread>

namespace muster::agent {
namespace {

// Reads a file of /proc, which may vanish at any time; empty then.
std::string ReadProc(const char* path) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::string text;
  std::array<char, 4096> block;
  ssize_t got = 0;
  while ((got = ::read(file, block.data(), block.size())) > 0) {
    text.append(block.data(), static_cast<std::size_t>(got));
  }
  ::close(file);
  return text;
}

bool ReadStat(pid_t pid, ProcessInfo& process) {
  std::array<char, 64> path;
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", pid);
  const std::string text = ReadProc(path.data());
  // The name stands in parentheses and may hold some itself.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return false;
  process.pid = pid;
  // After the name: state ppid pgrp session tty tpgid flags, 4 fault counts, 4 times, priority,
  // nice, threads (proc(5)).
  return std::sscanf(text.c_str() + name_end + 1,
                     " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d",
                     &process.state, &process.parent, &process.group, &process.session,
                     &process.threads) == 5;
}

bool WritesBelow(pid_t pid, const std::string& prefix) {
  const std::string process = "/proc/" + std::to_string(pid);
  DIR* folder = ::opendir((process + "/fd").c_str());
  if (folder == nullptr) return false;
  bool found = false;
  while (const dirent* entry = found ? nullptr : ::readdir(folder)) {
    std::array<char, 4096> target;
    const std::string link = process + "/fd/" + entry->d_name;
    const ssize_t length = ::readlink(link.c_str(), target.data(), target.size());
    if (length <= 0) continue;
    const std::string_view path(target.data(), static_cast<std::size_t>(length));
    if (path.substr(0, prefix.size()) != prefix) continue;
    // "flags:\t0102001", octal, in the second line. Somebody who only reads is left in peace.
    const std::string info = ReadProc((process + "/fdinfo/" + entry->d_name).c_str());
    const std::size_t flags = info.find("flags:");
    if (flags == std::string::npos) continue;
    found = (std::strtol(info.c_str() + flags + 6, nullptr, 8) & O_ACCMODE) != O_RDONLY;
  }
  ::closedir(folder);
  return found;
}

enum class Owner { kUnknown, kMine, kOther };

}  // namespace

std::vector<ProcessInfo> ListProcesses() {
  std::vector<ProcessInfo> processes;
  DIR* folder = ::opendir("/proc");
  if (folder == nullptr) return processes;
  while (const dirent* entry = ::readdir(folder)) {
    const pid_t pid = std::atoi(entry->d_name);
    ProcessInfo process;
    if (pid > 0 && ReadStat(pid, process)) processes.push_back(process);
  }
  ::closedir(folder);
  return processes;
}

std::string EnvironmentOf(pid_t pid, const std::string& name) {
  std::array<char, 64> path;
  std::snprintf(path.data(), path.size(), "/proc/%d/environ", pid);
  const std::string text = ReadProc(path.data());
  const std::string start = name + "=";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    if (text.compare(at, start.size(), start) == 0) {
      return text.substr(at + start.size(), end - at - start.size());
    }
    at = end + 1;
  }
  return {};
}

std::vector<ProcessInfo> DescendantsOf(const std::vector<ProcessInfo>& processes, pid_t ancestor) {
  std::multimap<pid_t, const ProcessInfo*> children;
  for (const ProcessInfo& process : processes) children.emplace(process.parent, &process);
  std::vector<ProcessInfo> found;
  std::vector<pid_t> open = {ancestor};
  while (!open.empty()) {
    const auto [begin, end] = children.equal_range(open.back());
    open.pop_back();
    for (auto child = begin; child != end; ++child) {
      found.push_back(*child->second);
      open.push_back(child->second->pid);
    }
  }
  return found;
}

std::vector<ProcessInfo> ProcessesOf(const RankTree& tree,
                                     const std::vector<ProcessInfo>& processes) {
  // Parents come before their children, so that a child can take after its parent.
  const std::vector<ProcessInfo> below = DescendantsOf(processes, tree.agent);
  std::set<std::string> live_tags;
  for (const auto& [pid, tag] : tree.live) live_tags.insert(tag);
  std::map<pid_t, Owner> owners;
  std::vector<ProcessInfo> mine;
  for (const ProcessInfo& process : below) {
    Owner owner = Owner::kUnknown;
    const auto belongs = [&process](pid_t root) {
      return process.pid == root || process.session == root || process.group == root;
    };
    if (belongs(tree.root)) owner = Owner::kMine;
    for (const auto& [root, tag] : tree.live) {
      if (belongs(root)) owner = Owner::kOther;
    }
    if (owner == Owner::kUnknown) {
      const auto parent = owners.find(process.parent);
      if (parent != owners.end()) owner = parent->second;
    }
    if (owner == Owner::kUnknown) {
      const std::string tag = EnvironmentOf(process.pid, kAttemptVariable);
      owner = live_tags.contains(tag) ? Owner::kOther : Owner::kMine;
    }
    owners[process.pid] = owner;
    if (owner == Owner::kMine && process.alive()) mine.push_back(process);
  }
  return mine;
}

int EndTagged(const std::string& tag, const std::string& files) {
  std::set<pid_t> ended;
  const pid_t self = ::getpid();
  for (int clean_scans = 0; clean_scans < 2;) {
    const std::vector<ProcessInfo> processes = ListProcesses();
    std::set<pid_t> found;
    for (const ProcessInfo& process : processes) {
      if (process.pid == self || !process.alive()) continue;
      const bool tagged = EnvironmentOf(process.pid, kAttemptVariable).rfind(tag, 0) == 0;
      if (!tagged && !WritesBelow(process.pid, files)) continue;
      found.insert(process.pid);
      for (const ProcessInfo& child : DescendantsOf(processes, process.pid)) {
        if (child.alive() && child.pid != self) found.insert(child.pid);
      }
    }
    clean_scans = found.empty() ? clean_scans + 1 : 0;
    // Stopped first, so that none forks while the others are killed.
    for (const pid_t pid : found) ::kill(pid, SIGSTOP);
    for (const pid_t pid : found) ::kill(pid, SIGKILL);
    ended.insert(found.begin(), found.end());
    if (!found.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return static_cast<int>(ended.size());
}

int RemoveSharedMemory(const std::string& prefix) {
  if (prefix.empty()) return 0;
  DIR* folder = ::opendir("/dev/shm");
  if (folder == nullptr) return 0;
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder)) {
    if (std::string_view(entry->d_name).substr(0, prefix.size()) == prefix) {
      names.emplace_back(entry->d_name);
    }
  }
  ::closedir(folder);
  int removed = 0;
  for (const std::string& name : names) {
    if (::shm_unlink(("/" + name).c_str()) == 0) ++removed;
  }
  return removed;
}

}  // namespace muster::agent
