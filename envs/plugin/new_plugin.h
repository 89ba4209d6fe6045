// What `muster env new` and `muster env build` do.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace muster::envs {

// The text of muster_env.h, which the program carries with it.
std::string_view PluginHeader();

// A small environment of this name that works, to start from. kInvalidArgument unless the name is
// one of a file and, with capitals ("my_env" -> MyEnv), of a class: letters, digits and '_'.
Result<std::string> PluginTemplate(const std::string& name);

// Writes DIRECTORY/NAME.cpp and muster_env.h beside it. kAlreadyExists where NAME.cpp is there.
Status NewPlugin(const std::string& name, const std::string& directory);

// Compiles SOURCE to `library` ("my_env.so") with the compiler that CXX names, else c++. The error
// has what the compiler said.
Status BuildPlugin(const std::string& source, const std::string& library);

}  // namespace muster::envs
