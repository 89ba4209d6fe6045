// Job files: what a user writes, checked and completed into what the cluster runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "muster/v1/job.pb.h"
#include "wire/toml_message.h"

namespace muster::wire {

// Reads a job file, applies `overrides` ("a.b=VALUE", in order) and validates the result. Relative
// file names in the file become absolute against the file's folder, those in overrides against the
// current one; the library of a plug-in, `environment = "./walk.so"`, becomes
// environment_library (plugin_rules.h). Absent fields stay absent. Every error is one line that
// names the file, and line and column where there is one: kInvalidArgument, kNotFound (no such
// file), kPermissionDenied. `origins`, if given, is where each field came from.
Result<v1::JobSpec> LoadJobFile(const std::string& path, const std::vector<std::string>& overrides,
                                FieldOrigins* origins = nullptr);

// The same from text; `folder` (absolute) stands for the file's. What the fuzzer drives.
Result<v1::JobSpec> LoadJobText(std::string_view text, const std::string& source,
                                const std::string& folder,
                                const std::vector<std::string>& overrides,
                                FieldOrigins* origins = nullptr);

// A refusal by somebody who does not know the file, with the place in it: "job.toml:33:16:
// supervised.optimizer.warmup_steps 100 is more than ...". The message begins with a field's name,
// dotted or its last part, or it names the file of a path field; otherwise, or when the file does
// not give the field, `source` is named alone.
std::string WithPlace(const std::string& message, const v1::JobSpec& spec,
                      const FieldOrigins& origins, const std::string& source);

// Gives every absent field its default and creates absent tables; of a oneof only the chosen
// member. Idempotent. What is journaled.
void FillDefaults(v1::JobSpec& spec);

// Whether the cluster can accept the job: every rule of every field, and what fields demand of
// each other. Safe on any message, filled in or not; file names must be absolute. kInvalidArgument
// begins with the field's dotted name: "resources.ranks must be ...".
Status ValidateSpec(const v1::JobSpec& spec);

// What ValidateSpec finds, with the field's name apart; ok = an empty `message`.
struct SpecProblem {
  std::string field;
  std::string message;  // Goes on after the name: "must be ...".
};
SpecProblem FindSpecProblem(const v1::JobSpec& spec);

}  // namespace muster::wire
