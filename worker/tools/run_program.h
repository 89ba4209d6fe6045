// Starting programs from a benchmark, as a person would.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace muster::tools {

// Runs `executable` (looked up in PATH when it has no '/') to its end and returns what it printed
// to stdout. kInternal when it cannot be started or does not exit with 0.
Result<std::string> RunProgram(const std::string& executable,
                               const std::vector<std::string>& arguments);

// The same with this program.
Result<std::string> RunMuster(const std::vector<std::string>& arguments);

}  // namespace muster::tools
