// Completion for shells, made of the command line's own description.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "cli/command_line.h"

namespace muster::cli {

// The shells there are scripts for.
std::vector<std::string> CompletionShells();

// A script to be sourced (bash, zsh, fish). It offers commands, options, and what an argument may
// be: listed choices, files, and the cluster's jobs and workers by asking it for a second at most.
// kNotFound for another shell.
Result<std::string> CompletionScript(const std::string& shell,
                                     const std::vector<CommandDescription>& commands);

}  // namespace muster::cli
