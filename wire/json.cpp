#include "wire/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "wire/field_rules.h"

namespace muster::wire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string EnumText(const FieldDescriptor& field, int number) {
  const auto* value = field.enum_type()->FindValueByNumber(number);
  return value == nullptr ? std::to_string(number) : JsonText(ShortName(*value));
}

// `index` < 0: the field is singular.
std::string ValueText(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection& r = *message.GetReflection();
  const bool one = index < 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(one ? r.GetInt32(message, field)
                                : r.GetRepeatedInt32(message, field, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(one ? r.GetInt64(message, field)
                                : r.GetRepeatedInt64(message, field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(one ? r.GetUInt32(message, field)
                                : r.GetRepeatedUInt32(message, field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(one ? r.GetUInt64(message, field)
                                : r.GetRepeatedUInt64(message, field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return JsonNumber(one ? r.GetFloat(message, field)
                            : r.GetRepeatedFloat(message, field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return JsonNumber(one ? r.GetDouble(message, field)
                            : r.GetRepeatedDouble(message, field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (one ? r.GetBool(message, field) : r.GetRepeatedBool(message, field, index)) ? "true"
                                                                                          : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumText(*field, one ? r.GetEnumValue(message, field)
                                  : r.GetRepeatedEnumValue(message, field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(one ? r.GetMessage(message, field)
                        : r.GetRepeatedMessage(message, field, index));
    default:
      return JsonText(one ? r.GetString(message, field)
                          : r.GetRepeatedString(message, field, index));
  }
}

std::string MapText(const Message& message, const FieldDescriptor* field) {
  std::map<std::string, std::string> entries;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, field, i);
    const std::string key = ValueText(entry, entry.GetDescriptor()->map_key(), -1);
    entries[key.starts_with('"') ? key : JsonText(key)] =
        ValueText(entry, entry.GetDescriptor()->map_value(), -1);
  }
  std::string text;
  for (const auto& [key, value] : entries) text += (text.empty() ? "" : ",") + key + ":" + value;
  return "{" + text + "}";
}

std::string FieldText(const Message& message, const FieldDescriptor* field) {
  if (field->is_map()) return MapText(message, field);
  if (!field->is_repeated()) return ValueText(message, field, -1);
  std::string text;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
    if (i > 0) text += ",";
    text += ValueText(message, field, i);
  }
  return "[" + text + "]";
}

// The bytes of the UTF-8 character that `text` starts with; 0 when it is none.
std::size_t CharacterBytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return 1;
  const std::size_t bytes = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : 2;
  if (byte(0) < 0xC2 || byte(0) > 0xF4 || text.size() < bytes) return 0;
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  const bool overlong = (byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xF0 && byte(1) < 0x90);
  const bool surrogate = byte(0) == 0xED && byte(1) > 0x9F;
  const bool too_large = byte(0) == 0xF4 && byte(1) > 0x8F;
  return overlong || surrogate || too_large ? 0 : bytes;
}

}  // namespace

std::string JsonText(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string quoted = "\"";
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text[0]);
    const std::size_t bytes = CharacterBytes(text);
    if (c == '"' || c == '\\') {
      quoted += {'\\', text[0]};
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c < 0x20 || c == 0x7F) {
      quoted += std::string("\\u00") + kHex[c >> 4U] + kHex[c & 0xFU];
    } else if (bytes == 0) {
      quoted += "\xEF\xBF\xBD";
    } else {
      quoted += text.substr(0, bytes);
    }
    text.remove_prefix(bytes == 0 ? 1 : bytes);
  }
  return quoted + "\"";
}

std::string JsonNumber(double number) {
  if (!std::isfinite(number)) return "null";
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
  return {buffer.data(), end.ptr};
}

std::string ToJson(const Message& message) {
  const auto& type = *message.GetDescriptor();
  std::string text;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (field->has_presence() && !message.GetReflection()->HasField(message, field)) continue;
    text += (text.empty() ? "" : ",") + JsonText(field->name()) + ":" + FieldText(message, field);
  }
  return "{" + text + "}";
}

}  // namespace muster::wire
