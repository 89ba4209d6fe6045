#include "worker/agent/rank_usage.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "worker/agent/memory_use.h"

namespace muster::agent {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// User and system time of the process and of those it has waited for (proc(5), stat).
double CpuSeconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(')');  // The name before it may hold anything.
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  constexpr int kFieldsBeforeTimes = 11;  // State to cmajflt.
  std::string skipped;
  for (int i = 0; i < kFieldsBeforeTimes; ++i) fields >> skipped;
  std::uint64_t ticks = 0;
  for (int i = 0; i < 4; ++i) {
    std::uint64_t value = 0;
    fields >> value;
    ticks += value;
  }
  return static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

RankUsage MeasureRanks() {
  RankUsage usage;
  // First those that have been reaped: one that is reaped between the two is then in neither.
  rusage reaped{};
  ::getrusage(RUSAGE_CHILDREN, &reaped);
  usage.cpu_seconds = Seconds(reaped.ru_utime) + Seconds(reaped.ru_stime);
  const pid_t self = ::getpid();
  for (const pid_t pid : FamilyOf(self)) {
    if (pid == self) continue;
    usage.resident_bytes += ResidentBytes(pid);
    usage.cpu_seconds += CpuSeconds(pid);
  }
  return usage;
}

}  // namespace muster::agent
