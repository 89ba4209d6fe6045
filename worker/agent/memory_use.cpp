#include "worker/agent/memory_use.h"

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace muster::agent {
std::vector<pid_t> FamilyOf(pid_t root) {
  std::vector<pid_t> family = {root};
  for (std::size_t i = 0; i < family.size() && family.size() < 10'000; ++i) {
    const std::string tasks = "/proc/" + std::to_string(family[i]) + "/task";
    DIR* folder = ::opendir(tasks.c_str());
    if (folder == nullptr) continue;
    while (const dirent* entry = ::readdir(folder)) {
      if (entry->d_name[0] == '.') continue;
      std::ifstream children(tasks + "/" + entry->d_name + "/children");
      for (pid_t child = 0; children >> child;) family.push_back(child);
    }
    ::closedir(folder);
  }
  return family;
}

std::uint64_t ResidentBytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

namespace {

std::uint64_t ProportionalBytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("Pss:", 0) == 0) return std::strtoull(line.c_str() + 4, nullptr, 10) << 10U;
  }
  return 0;
}

}  // namespace

std::uint64_t MemoryBeyond(pid_t root, std::uint64_t limit_mib) {
  const std::vector<pid_t> family = FamilyOf(root);
  std::uint64_t resident = 0;
  for (const pid_t pid : family) resident += ResidentBytes(pid);
  if (resident <= limit_mib << 20U) return 0;
  std::uint64_t held = 0;
  for (const pid_t pid : family) held += ProportionalBytes(pid);
  return held <= limit_mib << 20U ? 0 : (held + (1U << 20U) - 1) >> 20U;
}

}  // namespace muster::agent
