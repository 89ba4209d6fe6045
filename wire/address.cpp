#include "wire/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "wire/printable.h"

namespace muster::wire {
namespace {

constexpr std::size_t kHostBytesMax = 253;  // RFC 1035.

bool IsHostName(const std::string& host) {
  return !host.empty() && host.size() <= kHostBytesMax &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.' || c == '_';
         });
}

bool IsIpv6(const std::string& host) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

}  // namespace

std::string Address::Text() const {
  const bool brackets = host.find(':') != std::string::npos;
  return (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Address> ParseAddress(const std::string& text, std::uint16_t port_least) {
  const auto refuse = [&](const std::string& why) {
    return InvalidArgument("address " + Quoted(text) + ": " + why);
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
    return refuse("give HOST:PORT");
  }
  Address address;
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data() + colon + 1, end, address.port);
  if (error != std::errc() || last != end || address.port < port_least) {
    return refuse("the port is a number from " + std::to_string(port_least) + " to 65535");
  }
  address.host = text.substr(0, colon);
  if (address.host.front() == '[' && address.host.back() == ']') {
    address.host = address.host.substr(1, address.host.size() - 2);
    if (!IsIpv6(address.host)) return refuse("what stands in brackets is no IPv6 address");
  } else if (!IsHostName(address.host)) {
    return refuse("the host is a name, an IPv4 address, or an IPv6 address in brackets");
  }
  return address;
}

bool IsLoopback(const std::string& host) {
  if (host == "localhost") return true;
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) {
    return (ntohl(four.s_addr) >> 24U) == 127;
  }
  in6_addr six{};
  return ::inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

std::string LocalHost(const std::string& host) {
  if (host == "0.0.0.0") return "127.0.0.1";
  return host == "::" ? "::1" : host;
}

}  // namespace muster::wire
