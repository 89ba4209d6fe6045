// The job file's schema, printed from its descriptors: for people, for programs, for the docs.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace muster::wire {

// The recipes a job file can hold: "supervised", "collective".
std::vector<std::string> Recipes();

// Every table with its fields, types, ranges, defaults and meaning. `recipe` empty = all of them;
// otherwise that recipe's tables only. kNotFound, naming the nearest, for no recipe.
Result<std::string> SchemaText(const std::string& recipe);

// One JSON object a line and field: field (dotted), type, list, required, minimum, maximum, unit,
// default (as in TOML), choices, power_of_two, path, help; without those that do not apply.
Result<std::string> SchemaJson(const std::string& recipe);

// docs/job-file.md.
std::string SchemaMarkdown();

}  // namespace muster::wire
