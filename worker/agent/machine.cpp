#include "worker/agent/machine.h"

#include <sched.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/file.h"
#include "base/sha256.h"

namespace muster::agent {
namespace {

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The limit in `file` of the cgroup `path` below `root` and of every cgroup above it.
std::uint64_t SmallestLimit(const std::string& root, std::string path, const std::string& file) {
  std::uint64_t smallest = UINT64_MAX;
  while (true) {
    const std::string text = FirstLine(root + path + "/" + file);
    if (!text.empty() && text != "max") {
      smallest = std::min<std::uint64_t>(smallest, std::strtoull(text.c_str(), nullptr, 10));
    }
    if (path.empty()) return smallest;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

}  // namespace

std::vector<int> AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return {0};
  for (std::size_t core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(static_cast<int>(core));
  }
  return cores;
}

std::vector<std::vector<int>> DealCores(const std::vector<int>& cores, std::size_t slots) {
  std::vector<std::vector<int>> dealt(slots);
  if (cores.empty()) return dealt;
  const std::size_t share =
      std::max<std::size_t>(cores.size() / std::max<std::size_t>(slots, 1), 1);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    for (std::size_t i = 0; i < share; ++i) {
      dealt[slot].push_back(cores[(slot * share + i) % cores.size()]);
    }
  }
  return dealt;
}

std::uint64_t AvailableMemoryMib() {
  struct sysinfo info {};
  ::sysinfo(&info);
  std::uint64_t bytes = static_cast<std::uint64_t>(info.totalram) * info.mem_unit;
  // Lines are "ID:CONTROLLERS:PATH"; version 2 has ID 0 and no controllers (cgroups(7)).
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    if (controllers.empty()) {
      bytes = std::min(bytes, SmallestLimit("/sys/fs/cgroup", path, "memory.max"));
    } else if (controllers == "memory") {
      bytes =
          std::min(bytes, SmallestLimit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"));
    }
  }
  return bytes >> 20U;
}

std::string HostId() {
  struct stat shm {};
  ::stat("/dev/shm", &shm);
  const auto space = [](const char* path) {
    std::string name(256, '\0');
    const ssize_t length = ::readlink(path, name.data(), name.size());
    name.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    return "/" + name;
  };
  return Sha256Of(FirstLine("/proc/sys/kernel/random/boot_id") + space("/proc/self/ns/ipc") +
                  space("/proc/self/ns/net") + "/" + std::to_string(shm.st_dev))
      .substr(0, 32);
}

std::string HostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

bool DiskIsFull(const std::string& folder) {
  constexpr std::uint64_t kLeastBytes = 1U << 20U;
  return FreeDiskBytes(folder) < kLeastBytes;
}

std::vector<v1::GpuInfo> Gpus(const std::string& directory) {
  std::vector<v1::GpuInfo> gpus;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    std::ifstream file(entry->path() / "information");
    if (!file) continue;
    v1::GpuInfo& gpu = gpus.emplace_back();
    for (std::string line; std::getline(file, line);) {
      const std::size_t colon = line.find(':');
      const std::size_t value = line.find_first_not_of(" \t", colon + 1);
      if (colon == std::string::npos || value == std::string::npos) continue;
      const std::string name = line.substr(0, colon);
      if (name == "Model") gpu.set_model(line.substr(value));
      if (name == "GPU UUID") gpu.set_uuid(line.substr(value));
      if (name == "Device Minor") {
        gpu.set_index(static_cast<std::uint32_t>(std::strtoul(&line[value], nullptr, 10)));
      }
    }
  }
  std::sort(gpus.begin(), gpus.end(),
            [](const auto& a, const auto& b) { return a.index() < b.index(); });
  return gpus;
}

}  // namespace muster::agent
