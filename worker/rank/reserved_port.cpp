#include "worker/rank/reserved_port.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace muster::rank {
namespace {

struct Range {
  int first = 0;
  int count = 0;
};

// The larger gap beside the ports that the kernel gives to who asks for any.
Range PortsNotDealt() {
  constexpr int kLowest = 10'000, kHighest = 65'535;
  int first = 32'768, last = 60'999;
  const Result<FileDescriptor> file =
      FileDescriptor::Open("/proc/sys/net/ipv4/ip_local_port_range", O_RDONLY);
  char text[64] = {};
  if (file.ok() && ::read(file->get(), text, sizeof(text) - 1) > 0) {
    std::sscanf(text, "%d %d", &first, &last);
  }
  const Range below{kLowest, std::max(first - kLowest, 0)};
  const Range above{last + 1, std::max(kHighest - last, 0)};
  const Range best = below.count >= above.count ? below : above;
  return best.count > 0 ? best : Range{kLowest, kHighest - kLowest + 1};
}

// That a program could bind it in any way: without SO_REUSEADDR, which only weakens the question.
bool IsFree(int port) {
  const FileDescriptor v4(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in any4{};
  any4.sin_family = AF_INET;
  any4.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::bind(v4.get(), reinterpret_cast<const sockaddr*>(&any4), sizeof(any4)) != 0) return false;
  const FileDescriptor v6(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!v6.valid()) return true;  // A host without IPv6.
  const int only = 1;
  ::setsockopt(v6.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
  sockaddr_in6 any6{};
  any6.sin6_family = AF_INET6;
  any6.sin6_port = any4.sin_port;
  return ::bind(v6.get(), reinterpret_cast<const sockaddr*>(&any6), sizeof(any6)) == 0 ||
         errno != EADDRINUSE;
}

// Invalid when somebody holds it.
FileDescriptor TryLock(const std::string& path) {
  // Without O_CREAT first: in a sticky folder the kernel refuses it for another user's file.
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) {
    file = ::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  }
  FileDescriptor lock(file);
  if (file < 0 || ::flock(file, LOCK_EX | LOCK_NB) != 0) return {};
  return lock;
}

}  // namespace

Result<ReservedPort> ReservedPort::Acquire(const std::string& folder, std::uint64_t seed) {
  if (::mkdir(folder.c_str(), 0700) == 0) ::chmod(folder.c_str(), 01777);
  const Range range = PortsNotDealt();
  for (int i = 0; i < range.count; ++i) {
    const auto step = static_cast<int>(seed % static_cast<std::uint64_t>(range.count));
    const int port = range.first + (step + i) % range.count;
    FileDescriptor lock = TryLock(folder + "/" + std::to_string(port));
    if (lock.valid() && IsFree(port)) return ReservedPort(port, std::move(lock));
  }
  return Unavailable("no free port for MASTER_PORT from " + std::to_string(range.first) + " to " +
                     std::to_string(range.first + range.count - 1) + "; their locks are in " +
                     folder);
}

}  // namespace muster::rank
