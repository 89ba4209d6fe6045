#include "wire/field_rules.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "wire/printable.h"

namespace muster::wire {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;

struct Limits {
  WideInteger least = 0;
  WideInteger most = 0;
};

Limits LimitsOf(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
    case FieldDescriptor::CPPTYPE_UINT32:
      return {0, std::numeric_limits<std::uint32_t>::max()};
    case FieldDescriptor::CPPTYPE_UINT64:
      return {0, std::numeric_limits<std::int64_t>::max()};  // TOML's integers end there.
    default:
      return {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()};
  }
}

std::string Decimal(WideInteger value) {
  const bool negative = value < 0;
  std::string digits;
  do {
    const int digit = static_cast<int>(value % 10);
    digits += static_cast<char>('0' + std::abs(digit));
    value /= 10;
  } while (value != 0);
  if (negative) digits += '-';
  return {digits.rbegin(), digits.rend()};
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : ", ") + word;
  return joined;
}

bool OutsideRule(const v1::FieldRule& rule, double value) {
  return (rule.has_minimum() && value < rule.minimum()) ||
         (rule.has_maximum() && value > rule.maximum());
}

}  // namespace

const v1::FieldRule& RuleOf(const FieldDescriptor& field) {
  return field.options().GetExtension(v1::rule);
}

std::string AboutOf(const Descriptor& message) { return message.options().GetExtension(v1::about); }

std::string ShortName(const EnumValueDescriptor& value) {
  constexpr std::string_view kZero = "UNSPECIFIED";
  const std::string zero = value.type()->value(0)->name();
  if (!zero.ends_with(kZero)) return value.name();
  const std::string prefix = zero.substr(0, zero.size() - kZero.size());
  return value.name().starts_with(prefix) ? value.name().substr(prefix.size()) : value.name();
}

std::vector<std::string> ChoicesOf(const EnumDescriptor& choices) {
  std::vector<std::string> names;
  for (int i = 0; i < choices.value_count(); ++i) {
    if (choices.value(i)->number() != 0) names.push_back(Lower(ShortName(*choices.value(i))));
  }
  return names;
}

const EnumValueDescriptor* FindChoice(const EnumDescriptor& choices, const std::string& name) {
  for (int i = 0; i < choices.value_count(); ++i) {
    const EnumValueDescriptor* value = choices.value(i);
    if (value->number() != 0 && Lower(ShortName(*value)) == name) return value;
  }
  return nullptr;
}

std::string TypeText(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return "text";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return "one of " + Joined(ChoicesOf(*field.enum_type()));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return field.is_map() ? "table of text" : "table";
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "number";
    default:
      return "integer";
  }
}

std::string RangeText(const FieldDescriptor& field) {
  const v1::FieldRule& rule = RuleOf(field);
  const std::string unit = rule.unit().empty() ? "" : " " + rule.unit();
  if (rule.has_minimum() && rule.has_maximum()) {
    return NumberText(rule.minimum()) + " to " + NumberText(rule.maximum()) + unit;
  }
  if (rule.has_minimum()) return "at least " + NumberText(rule.minimum()) + unit;
  if (rule.has_maximum()) return "at most " + NumberText(rule.maximum()) + unit;
  return "";
}

std::string IntegerRangeText(const FieldDescriptor& field) {
  const std::string range = RangeText(field);
  const Limits limits = LimitsOf(field);
  return range.empty() ? Decimal(limits.least) + " to " + Decimal(limits.most) : range;
}

bool IsInteger(const FieldDescriptor& field) { return TypeText(field) == "integer"; }

std::string IntegerProblem(const FieldDescriptor& field, WideInteger value) {
  const Limits limits = LimitsOf(field);
  const v1::FieldRule& rule = RuleOf(field);
  // Bounds are far below 2^53, so rounding to double moves no value over one.
  if (value < limits.least || value > limits.most ||
      OutsideRule(rule, static_cast<double>(value))) {
    return "must be " + IntegerRangeText(field) + ", but is " + Decimal(value);
  }
  if (rule.power_of_two() && (value & (value - 1)) != 0) {
    WideInteger above = 1;
    while (above < value) above *= 2;
    const bool fits = !OutsideRule(rule, static_cast<double>(above));
    return "must be a power of two, but is " + Decimal(value) + "; the nearest are " +
           Decimal(above / 2) + (fits ? " and " + Decimal(above) : "");
  }
  return "";
}

std::string NumberProblem(const FieldDescriptor& field, double value) {
  if (!std::isfinite(value)) return "must be a finite number, but is " + NumberText(value);
  if (!OutsideRule(RuleOf(field), value)) return "";
  return "must be " + RangeText(field) + ", but is " + NumberText(value);
}

std::string TextProblem(const FieldDescriptor& field, const std::string& value) {
  const bool lines = RuleOf(field).lines();
  const std::size_t bytes_max = lines ? 65'536 : 4096;
  if (value.size() > bytes_max) {
    return "is text of " + std::to_string(value.size()) + " bytes; the most is " +
           std::to_string(bytes_max);
  }
  const bool control = std::any_of(value.begin(), value.end(), [lines](char c) {
    if (lines && (c == '\n' || c == '\t')) return false;
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  if (control) return "holds a control character: " + Quoted(value);
  if (value.empty() && RuleOf(field).path()) return "is an empty file name";
  return "";
}

}  // namespace muster::wire
