// TOML text -> protobuf message, by the message's descriptor: the .proto is the only schema.
// Strict: keys are exactly the field names, integers are no text, text is no number; the first
// mistake in the file is told in one line, with its place and what would be right.
#pragma once

#include <google/protobuf/message.h>

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace muster::wire {

// The longest TOML text that is read, in bytes.
inline constexpr std::size_t kTomlBytesMax = std::size_t{1} << 20U;

// Where each given field came from, by dotted name: "job.toml:7:3" or "--set lanes=4".
using FieldOrigins = std::map<std::string, std::string>;

// Fills `message` from TOML `text`; `source` names it in errors. Enum values are written in lower
// case without their prefix. kInvalidArgument with one line, e.g. "job.toml:7:3: unknown key
// 'learning_rat' in [supervised.optimizer]; did you mean 'learning_rate'?", on bad TOML, more than
// kTomlBytesMax, unknown keys, wrong types, values outside the field's rule, two members of a
// oneof. Safe on any bytes; throws nothing.
Status ParseToml(std::string_view text, const std::string& source,
                 google::protobuf::Message& message, FieldOrigins& origins);

// Applies "a.b=VALUE". VALUE is TOML; what is no TOML value, or stands for a text field, is taken
// as it is; an empty one removes the field. kInvalidArgument names the override.
Status ApplyOverride(const std::string& assignment, google::protobuf::Message& message,
                     FieldOrigins& origins);

}  // namespace muster::wire
