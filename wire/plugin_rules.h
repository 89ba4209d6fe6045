// Environments of a user's own in job files: `environment = "./walk.so"` names a library of the
// sender's machine, which goes to the cluster's store with the job.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "muster/v1/job.pb.h"
#include "wire/job_file.h"
#include "wire/toml_message.h"

namespace muster::wire {

inline constexpr std::uint64_t kPluginBytesMax = std::uint64_t{64} << 20U;

// What a job trains in, where that is a plug-in.
struct JobPlugin {
  std::string recipe;  // "ppo"
  std::string name;    // "walk.so"
  std::string source;  // A path of this machine, or a data reference.

  std::string field() const { return recipe + ".environment"; }
};

// Nothing where the environment is built in, or the recipe has none.
std::optional<JobPlugin> PluginOf(const v1::JobSpec& spec);

// Replaces the library of a job that has a plug-in.
void SetPluginLibrary(v1::JobSpec& spec, const std::string& library);

// Whether the dotted field holds the library of a plug-in.
bool IsPluginField(std::string_view field);

// Takes `environment = "PATH.so"` of a job file apart into the library, absolute against `folder`
// (where it came from --set: against the current one), and its name. A data reference stays one.
void TakePlugin(v1::JobSpec& spec, FieldOrigins& origins, const std::string& folder);

// A plug-in without its library, one whose name is no plain file name, a library without one.
SpecProblem PluginProblem(const v1::JobSpec& spec);

}  // namespace muster::wire
