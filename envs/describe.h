// What `muster env list` and `muster env show` print.
#pragma once

#include <string>

#include "base/status.h"
#include "envs/options.h"

namespace muster::envs {

// A line for each environment that is built in: name, group, summary.
std::string ListText();

// Spaces, rewards, time limit, meanings of actions and the options with their defaults; of a
// plug-in too. Errors as MakeEnv.
Result<std::string> ShowText(const std::string& name, const EnvOptions& options = {});

}  // namespace muster::envs
