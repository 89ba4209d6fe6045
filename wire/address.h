// Network addresses as people write them: "HOST:PORT", "[IPV6]:PORT".
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace muster::wire {

struct Address {
  std::string host;  // A name, an IPv4 address, or an IPv6 address without its brackets.
  std::uint16_t port = 0;

  // Back to "HOST:PORT".
  std::string Text() const;
};

// kInvalidArgument for anything else; `port_least` is 0 where a port may be left to the system.
Result<Address> ParseAddress(const std::string& text, std::uint16_t port_least = 1);

// True for "localhost" and for loopback addresses: what leaves by one never leaves this machine.
// Names are not looked up.
bool IsLoopback(const std::string& host);

// By what processes of this machine reach a listener on `host`.
std::string LocalHost(const std::string& host);

}  // namespace muster::wire
