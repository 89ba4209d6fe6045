// Which way other hosts reach this one.
#pragma once

#include <string>

#include "base/status.h"

namespace muster::agent {

// The interface over which this host reaches `host` ("HOST:PORT" or a bare host), by the kernel's
// routes; nothing is sent. With `beyond` an answer of "lo" is replaced by the first other interface
// that is up and has an address, if there is one: the coordinator is here, other workers are not.
// kUnavailable when the name does not resolve or no route leads there.
Result<std::string> InterfaceTowards(const std::string& address, bool beyond);

// The interface's first address as other hosts write it, IPv4 before IPv6; empty = it has none.
std::string AddressOf(const std::string& interface);

}  // namespace muster::agent
