// Steps a second of every environment, many at once on one core, beside other libraries.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>

#include "base/status.h"

namespace muster {

struct EnvBenchmarkOptions {
  std::string name;         // Of one environment, or the path of a plug-in; empty = all of them.
  std::size_t envs = 1024;  // That step together.
  std::size_t rounds = 7;   // Of 50 ms each, all environments in turn.
  bool peers = true;        // Gymnasium's vector environments, EnvPool, PufferLib.
  bool json = false;
};

// Random actions, drawn beforehand; same-step autoreset; one thread. Millions of environment steps
// a second, median (least .. most) of the rounds, and those of each peer that the Python which
// MUSTER_PYTHON names can import, measured in the same run. kNotFound for an unknown name.
Status RunEnvBenchmark(const EnvBenchmarkOptions& options, std::ostream& out);

}  // namespace muster
