#include "worker/agent/network.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <memory>

#include "base/file.h"
#include "wire/address.h"

namespace muster::agent {
namespace {

// The address part alone, as comparable text.
std::string HostText(const sockaddr* address) {
  const socklen_t size = address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  std::array<char, NI_MAXHOST> text{};
  if (::getnameinfo(address, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return "";
  }
  return text.data();
}

// The local address that the kernel would send from.
Result<std::string> LocalAddressTowards(const wire::Address& target) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(target.host.c_str(), std::to_string(target.port).c_str(), &hints, &found);
  if (error != 0) return Unavailable(target.host + ": " + ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, ::freeaddrinfo);
  Status last = Unavailable("no route to " + target.host);
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    const FileDescriptor socket(::socket(entry->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    // Connecting a datagram socket only chooses a route.
    if (socket.valid() && ::connect(socket.get(), entry->ai_addr, entry->ai_addrlen) == 0 &&
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0) {
      return HostText(reinterpret_cast<const sockaddr*>(&own));
    }
    last = Unavailable("no route to " + target.host + ": " + std::strerror(errno));
  }
  return last;
}

}  // namespace

std::string AddressOf(const std::string& interface) {
  ifaddrs* found = nullptr;
  if (::getifaddrs(&found) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> list(found, ::freeifaddrs);
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
      if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != family) continue;
      if (interface == entry->ifa_name) return HostText(entry->ifa_addr);
    }
  }
  return {};
}

Result<std::string> InterfaceTowards(const std::string& text, bool beyond) {
  MUSTER_ASSIGN_OR_RETURN(const wire::Address target, wire::ParseAddress(text));
  MUSTER_ASSIGN_OR_RETURN(const std::string own, LocalAddressTowards(target));
  ifaddrs* found = nullptr;
  if (::getifaddrs(&found) != 0) return FromErrno("list the network's interfaces");
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> list(found, ::freeifaddrs);
  std::string chosen, other;
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const bool up = (entry->ifa_flags & IFF_UP) != 0;
    const bool loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
    if (chosen.empty() && HostText(entry->ifa_addr) == own) chosen = entry->ifa_name;
    if (other.empty() && up && !loopback && family == AF_INET) other = entry->ifa_name;
  }
  // The host's own address on a real interface is reached over that one by others.
  if (chosen.empty()) return Unavailable("no interface has the address " + own);
  if (beyond && wire::IsLoopback(own) && !other.empty()) return other;
  return chosen;
}

}  // namespace muster::agent
