// Environments from shared libraries that users wrote against muster_env.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "envs/env.h"
#include "envs/options.h"

namespace muster::envs {

// Whether a name means a plug-in: it ends in ".so".
bool IsPlugin(const std::string& name);

// Loads the library (once; many environments share it) and makes one environment of it; each call
// of it is noted for the crash report (crash_report.h). One clear line where the file is missing,
// is no plug-in or built for another architecture (kInvalidArgument) or speaks another version of
// the interface (kFailedPrecondition), where its constructor refuses the options, or where its spec
// makes no sense.
Result<std::unique_ptr<Env>> LoadPlugin(const std::string& path, const EnvOptions& options);

// What it takes as options, in the order in which it asks for them. Errors as above.
Result<std::vector<OptionText>> PluginOptions(const std::string& path, const EnvOptions& options);

}  // namespace muster::envs
