// What the descriptors of the job file say about a field: its rule, its names, its range. The
// walker over TOML, the validation, `muster schema` and the documentation all ask here.
#pragma once

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "muster/v1/options.pb.h"

namespace muster::wire {

const v1::FieldRule& RuleOf(const google::protobuf::FieldDescriptor& field);

// The (about) sentence of a message; may be empty.
std::string AboutOf(const google::protobuf::Descriptor& message);

// "JOB_STATE_RUNNING" -> "RUNNING": the name without the prefix of its enum.
std::string ShortName(const google::protobuf::EnumValueDescriptor& value);

// What a job file may say for the enum: short names in lower case, without UNSPECIFIED.
std::vector<std::string> ChoicesOf(const google::protobuf::EnumDescriptor& choices);

// The value of that name, nullptr when there is none.
const google::protobuf::EnumValueDescriptor* FindChoice(
    const google::protobuf::EnumDescriptor& choices, const std::string& name);

// "integer", "number", "text", "true or false", "one of relu, tanh, gelu", "table"; of a list's
// elements when the field is repeated.
std::string TypeText(const google::protobuf::FieldDescriptor& field);

// "1 to 4096 threads"; empty when the rule gives no bounds.
std::string RangeText(const google::protobuf::FieldDescriptor& field);

// The same, or what the field's type can hold: of 64 bits up to 2^63 - 1, as TOML has no more.
std::string IntegerRangeText(const google::protobuf::FieldDescriptor& field);

bool IsInteger(const google::protobuf::FieldDescriptor& field);

__extension__ using WideInteger = __int128;

// Why the value may not stand in the field ("must be 1 to 4096, but is 0"); empty when it may.
std::string IntegerProblem(const google::protobuf::FieldDescriptor& field, WideInteger value);
std::string NumberProblem(const google::protobuf::FieldDescriptor& field, double value);
std::string TextProblem(const google::protobuf::FieldDescriptor& field, const std::string& value);

}  // namespace muster::wire
