// Protobuf message -> one line of JSON, as `--json` prints it.
//
// Keys are the proto's field names. Numbers are numbers, 64-bit ones too; NaN and infinities are
// null. Enum values are their names without prefix ("RUNNING"). Fields without presence are always
// there, with their default; absent `optional` fields and messages are left out. Lists and maps are
// always there; a map's keys are sorted. Bytes appear as text.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

namespace muster::wire {

// Without a line break. Bytes that are not UTF-8 appear as U+FFFD.
std::string ToJson(const google::protobuf::Message& message);

// `text` in double quotes, escaped.
std::string JsonText(std::string_view text);

// The shortest text that reads back as the same number; "null" when not finite.
std::string JsonNumber(double number);

}  // namespace muster::wire
