// The agent's own log: one short line to stderr.
#pragma once

#include <string>

namespace muster::agent {

// "03:14:15.926 agent: MESSAGE", in UTC, written at once. Thread-safe.
void Log(const std::string& message);

}  // namespace muster::agent
