// Behind `muster env`: looks at, tries out and times environments; makes plug-ins.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "base/status.h"
#include "worker/tools/env_gif.h"

namespace muster::tools {

struct EnvToolOptions {
  std::string action;  // "list", "show", "play", "trace", "check", "bench", "new", "build"
  std::string name;
  std::vector<std::string> settings;  // "key=value"
  std::uint64_t seed = 0;
  std::string actions;  // trace, and play with a GIF: a file, or "-".
  std::uint64_t steps = 1'000;
  std::uint64_t envs = 1'024;
  std::string agent;  // check: a job file, whose agent is probed.
  std::string output;
  EnvGifOptions gif;  // play: where it has a path.
  bool json = false;
  bool peers = true;
};

// Reads from `in` what a player types. kInvalidArgument and kNotFound for what the user gave wrong;
// kInternal where a check has failed. A plug-in that hangs or crashes ends the process with a line
// that names it and its last action.
Status RunEnvTool(const EnvToolOptions& options, std::istream& in, std::ostream& out);

}  // namespace muster::tools
