#include "wire/toml_message.h"

// Deeper nesting than any schema of ours; bounds the parser's recursion.
#define TOML_MAX_NESTED_VALUES 16
// toml++ 3.3 runs into its own "unreachable" for many characters beyond ASCII where white space may
// stand; there it shall say that they are none. Its other uses keep their meaning.
// clang-format off
#include <cstdint>
#include <toml++/impl/forward_declarations.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE return false
#include <toml++/impl/unicode.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE __builtin_unreachable()
#include <toml++/toml.h>
// clang-format on

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "wire/field_rules.h"
#include "wire/printable.h"
#include "wire/toml_guard.h"

namespace muster::wire {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

std::string Dotted(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

std::string NodeText(const toml::node& node) {
  if (const auto* text = node.as_string()) return "the text " + Quoted(text->get());
  if (const auto* integer = node.as_integer()) return std::to_string(integer->get());
  if (const auto* number = node.as_floating_point()) {
    const std::string text = NumberText(number->get());
    return text.find_first_not_of("-0123456789") == std::string::npos ? text + ".0" : text;
  }
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  if (node.is_array()) return "a list";
  if (node.is_table()) return "a table";
  return "a date or time";
}

// Where in the whole schema a key of that name belongs; empty when nowhere.
std::string FindElsewhere(const Descriptor& type, const std::string& name,
                          const std::string& path) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string dotted = Dotted(path, field.name());
    if (field.name() == name) return dotted;
    if (field.message_type() == nullptr || field.is_map()) continue;
    if (std::string inner = FindElsewhere(*field.message_type(), name, dotted); !inner.empty()) {
      return inner;
    }
  }
  return "";
}

// `in_file`: whether the order of sections decides where a key stands.
std::string UnknownKey(const Descriptor& root, const Descriptor& type, const std::string& path,
                       const std::string& name, bool in_file) {
  std::vector<std::string> known;
  std::string all;
  for (int i = 0; i < type.field_count(); ++i) {
    known.push_back(type.field(i)->name());
    all += (all.empty() ? "" : ", ") + known.back();
  }
  const std::string where = path.empty() ? "at the top" : "in [" + path + "]";
  const std::string message = "unknown key " + Quoted(name) + " " + where;
  const FieldDescriptor* top = path.empty() ? nullptr : root.FindFieldByName(name);
  if (top != nullptr && in_file) {
    // What stands behind a [section] is part of it: the usual slip at the end of a file.
    return message + (top->message_type() == nullptr
                          ? "; it belongs at the top, before the first [section]"
                          : "; did you mean the section [" + name + "]?");
  }
  if (top != nullptr) return message + "; did you mean '" + name + "', which is at the top?";
  if (const std::string near = Nearest(name, known); !near.empty()) {
    return message + "; did you mean '" + near + "'?";
  }
  if (const std::string elsewhere = FindElsewhere(root, name, ""); !elsewhere.empty()) {
    return message + "; did you mean '" + elsewhere + "'?";
  }
  return message + "; known are " + all;
}

bool IsWholeNumber(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Writes one value into a field, or adds it to a repeated one.
class Setter {
 public:
  Setter(Message& message, const FieldDescriptor& field)
      : message_(message), field_(field), reflection_(*message.GetReflection()) {}

  void Integer(WideInteger value) {
    switch (field_.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return Put(&Reflection::SetInt32, &Reflection::AddInt32, static_cast<std::int32_t>(value));
      case FieldDescriptor::CPPTYPE_INT64:
        return Put(&Reflection::SetInt64, &Reflection::AddInt64, static_cast<std::int64_t>(value));
      case FieldDescriptor::CPPTYPE_UINT32:
        return Put(&Reflection::SetUInt32, &Reflection::AddUInt32,
                   static_cast<std::uint32_t>(value));
      default:
        return Put(&Reflection::SetUInt64, &Reflection::AddUInt64,
                   static_cast<std::uint64_t>(value));
    }
  }
  void Number(double value) {
    if (field_.cpp_type() == FieldDescriptor::CPPTYPE_FLOAT) {
      Put(&Reflection::SetFloat, &Reflection::AddFloat, static_cast<float>(value));
    } else {
      Put(&Reflection::SetDouble, &Reflection::AddDouble, value);
    }
  }
  void Boolean(bool value) { Put(&Reflection::SetBool, &Reflection::AddBool, value); }
  void Text(std::string value) {
    Put(&Reflection::SetString, &Reflection::AddString, std::move(value));
  }
  void Choice(const EnumValueDescriptor* value) {
    Put(&Reflection::SetEnum, &Reflection::AddEnum, value);
  }

 private:
  template <class Set, class Add, class Value>
  void Put(Set set, Add add, Value value) {
    if (field_.is_repeated()) {
      (reflection_.*add)(&message_, &field_, std::move(value));
    } else {
      (reflection_.*set)(&message_, &field_, std::move(value));
    }
  }

  Message& message_;
  const FieldDescriptor& field_;
  const Reflection& reflection_;
};

class Walker {
 public:
  // `assignment`: the override being applied; empty when a file is read.
  Walker(const Descriptor& root, std::string source, std::string assignment, FieldOrigins& origins)
      : root_(root),
        source_(std::move(source)),
        assignment_(std::move(assignment)),
        origins_(origins) {}

  // Fills `message`, which stands at `path`, from a table.
  Status Table(const toml::table& table, Message& message, const std::string& path) {
    for (const auto& [key, node] : InFileOrder(table)) {
      const std::string name(key->str());
      const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
      if (field == nullptr) {
        return Mistake(key->source(), UnknownKey(root_, *message.GetDescriptor(), path, name,
                                                 assignment_.empty()));
      }
      MUSTER_RETURN_IF_ERROR(OnlyMember(message, *field, path, key->source()));
      origins_[Dotted(path, name)] = Place(node->source());
      MUSTER_RETURN_IF_ERROR(Field(*node, message, *field, Dotted(path, name)));
    }
    return {};
  }

  // Fills one field, whole: a list for a repeated one.
  Status Field(const toml::node& node, Message& message, const FieldDescriptor& field,
               const std::string& path) {
    if (!field.is_repeated()) return Element(node, message, field, path);
    if (field.is_map()) return Map(node, message, field, path);
    const toml::array* list = node.as_array();
    if (list == nullptr) {
      const std::string kind = field.message_type() == nullptr ? TypeText(field) : "table";
      return Mistake(node.source(), path + " must be a list ([...]; each: " + kind + "), but is " +
                                        NodeText(node));
    }
    constexpr std::size_t kElementsMax = 1024;
    if (list->size() > kElementsMax) {
      return Mistake(node.source(), path + " has " + std::to_string(list->size()) +
                                        " elements; the most is " + std::to_string(kElementsMax));
    }
    if (list->empty() && !RuleOf(field).if_empty().empty()) {
      return Mistake(node.source(), path + " " + RuleOf(field).if_empty());
    }
    message.GetReflection()->ClearField(&message, &field);
    std::size_t index = 0;
    for (const toml::node& element : *list) {
      const std::string name = path + "[" + std::to_string(index++) + "]";
      MUSTER_RETURN_IF_ERROR(Element(element, message, field, name));
    }
    return {};
  }

  // Refuses a second member of a oneof, naming both. (protobuf would quietly drop the first.)
  Status OnlyMember(const Message& message, const FieldDescriptor& field, const std::string& path,
                    const toml::source_region& at) const {
    const OneofDescriptor* oneof = field.real_containing_oneof();
    if (oneof == nullptr) return {};
    const FieldDescriptor* other = message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
    if (other == nullptr || other == &field) return {};
    const auto first = origins_.find(Dotted(path, other->name()));
    std::string text = "two " + oneof->name() + "s: [" + Dotted(path, other->name()) + "]";
    if (first != origins_.end()) text += " (" + first->second + ")";
    text += " and [" + Dotted(path, field.name()) + "]";
    if (at.begin.line > 0) text += " (" + Place(at) + ")";
    return Mistake(at, text + "; give exactly one");
  }

  Status Mistake(const toml::source_region& at, const std::string& message) const {
    return InvalidArgument(Place(at) + ": " + message);
  }

  std::string Place(const toml::source_region& at) const {
    if (!assignment_.empty()) return assignment_;
    return source_ + ":" + std::to_string(at.begin.line) + ":" + std::to_string(at.begin.column);
  }

 private:
  using Entry = std::pair<const toml::key*, const toml::node*>;

  // A table whose keys the user chooses. The rule of the map's field is that of its values.
  Status Map(const toml::node& node, Message& message, const FieldDescriptor& field,
             const std::string& path) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return WrongType(node, field, path);
    message.GetReflection()->ClearField(&message, &field);
    for (const auto& [key, value] : InFileOrder(*table)) {
      const std::string name(key->str());
      const std::string entry_path = Dotted(path, name);
      origins_[entry_path] = Place(value->source());
      if (!value->is_string()) {
        return Mistake(value->source(),
                       Printable(entry_path) + " must be text, but is " + NodeText(*value));
      }
      const std::string& text = value->as_string()->get();
      for (const std::string& part : {name, text}) {
        MUSTER_RETURN_IF_ERROR(Rule(*value, Printable(entry_path), TextProblem(field, part)));
      }
      Message& entry = *message.GetReflection()->AddMessage(&message, &field);
      const auto& type = *entry.GetDescriptor();
      entry.GetReflection()->SetString(&entry, type.map_key(), name);
      entry.GetReflection()->SetString(&entry, type.map_value(), text);
    }
    return {};
  }

  static std::vector<Entry> InFileOrder(const toml::table& table) {
    std::vector<Entry> entries;
    for (auto&& [key, node] : table) entries.emplace_back(&key, &node);
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return a.first->source().begin < b.first->source().begin;
    });
    return entries;
  }

  Status WrongType(const toml::node& node, const FieldDescriptor& field,
                   const std::string& path) const {
    std::string kind = TypeText(field);
    if (kind == "integer") kind = "an integer";
    if (kind == "number" || kind.starts_with("table")) kind.insert(0, "a ");
    return Mistake(node.source(), path + " must be " + kind + ", but is " + NodeText(node));
  }

  Status Element(const toml::node& node, Message& message, const FieldDescriptor& field,
                 const std::string& path) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      const toml::table* table = node.as_table();
      if (table == nullptr) return WrongType(node, field, path);
      const Reflection& reflection = *message.GetReflection();
      Message& inner = field.is_repeated() ? *reflection.AddMessage(&message, &field)
                                           : *reflection.MutableMessage(&message, &field);
      return Table(*table, inner, path);
    }
    if (IsInteger(field)) return Integer(node, message, field, path);
    Setter setter(message, field);
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        if (!node.is_boolean()) return WrongType(node, field, path);
        setter.Boolean(node.as_boolean()->get());
        return {};
      case FieldDescriptor::CPPTYPE_STRING:
      case FieldDescriptor::CPPTYPE_ENUM:
        if (!node.is_string()) return WrongType(node, field, path);
        return Text(node, message, field, path);
      default:
        if (!node.is_number()) return WrongType(node, field, path);
        const double value = node.is_integer() ? static_cast<double>(node.as_integer()->get())
                                               : node.as_floating_point()->get();
        MUSTER_RETURN_IF_ERROR(Rule(node, path, NumberProblem(field, value)));
        setter.Number(value);
        return {};
    }
  }

  Status Integer(const toml::node& node, Message& message, const FieldDescriptor& field,
                 const std::string& path) const {
    if (!node.is_integer()) {
      // An override's integer beyond 64 bits is no TOML, and comes as text.
      const auto* text = node.as_string();
      if (!assignment_.empty() && text != nullptr && IsWholeNumber(text->get())) {
        return Mistake(node.source(), path + " must be " + IntegerRangeText(field) + ", but is " +
                                          Printable(text->get()));
      }
      return WrongType(node, field, path);
    }
    const std::int64_t value = node.as_integer()->get();
    MUSTER_RETURN_IF_ERROR(Rule(node, path, IntegerProblem(field, value)));
    Setter(message, field).Integer(value);
    return {};
  }

  Status Text(const toml::node& node, Message& message, const FieldDescriptor& field,
              const std::string& path) const {
    const std::string& text = node.as_string()->get();
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      MUSTER_RETURN_IF_ERROR(Rule(node, path, TextProblem(field, text)));
      Setter(message, field).Text(text);
      return {};
    }
    const EnumValueDescriptor* choice = FindChoice(*field.enum_type(), text);
    if (choice == nullptr) {
      const std::string near = Nearest(text, ChoicesOf(*field.enum_type()));
      return Mistake(node.source(), path + " must be " + TypeText(field) + ", but is " +
                                        Quoted(text) +
                                        (near.empty() ? "" : "; did you mean '" + near + "'?"));
    }
    Setter(message, field).Choice(choice);
    return {};
  }

  Status Rule(const toml::node& node, const std::string& path, const std::string& problem) const {
    return problem.empty() ? Status() : Mistake(node.source(), path + " " + problem);
  }

  const Descriptor& root_;
  const std::string source_;
  const std::string assignment_;
  FieldOrigins& origins_;
};

Result<toml::table> Parse(std::string_view text, const std::string& source) {
  if (text.size() > kTomlBytesMax) {
    return InvalidArgument(source + ": " + std::to_string(text.size()) +
                           " bytes are too many for a job file; the most is " +
                           std::to_string(kTomlBytesMax));
  }
  if (text.find('\0') != std::string_view::npos) {
    return InvalidArgument(source + ": holds binary data, not TOML text");
  }
  constexpr std::size_t kDotsMax = 16;
  const TomlScan scan = ScanToml(text);
  if (scan.longest_dotted_run > kDotsMax) {
    return InvalidArgument(source + ": a key has more than " + std::to_string(kDotsMax) + " dots");
  }
  if (scan.first_foreign != std::string_view::npos) {
    const std::string_view before = text.substr(0, scan.first_foreign);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    // npos + 1 = 0: a first line has its columns from the beginning of the text.
    const std::string_view in_line = before.substr(before.rfind('\n') + 1);
    const auto column = 1 + std::count_if(in_line.begin(), in_line.end(), [](char c) {
                          return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
                        });
    return InvalidArgument(source + ":" + std::to_string(line) + ":" + std::to_string(column) +
                           ": " + Quoted(text.substr(scan.first_foreign).substr(0, 4)) +
                           " outside of a string; TOML is ASCII there");
  }
  try {
    return toml::parse(text, std::string_view());
  } catch (const toml::parse_error& error) {
    std::string_view description = error.description();
    // The parser names the macro that set the limit.
    description = description.substr(0, description.find(" (TOML_MAX"));
    return InvalidArgument(
        source + ":" + std::to_string(error.source().begin.line) + ":" +
        std::to_string(error.source().begin.column) + ": " + Printable(description, 300) +
        (description.ends_with("not representable in 64 bits") ? "; the most is 9223372036854775807"
                                                               : ""));
  }
}

// The value of an override, as the field wants it.
toml::table OverrideValue(const std::string& text, const FieldDescriptor& field) {
  const bool wants_text = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING ||
                          field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM;
  Result<toml::table> parsed = Parse("value = " + text, "");
  const toml::node* value = parsed.ok() && parsed->size() == 1 ? parsed->get("value") : nullptr;
  const bool usable = value != nullptr && (!wants_text || value->is_string() || value->is_array());
  return usable ? std::move(*parsed) : toml::table{{"value", text}};
}

// Of a map of text to text; an empty value removes the entry.
void SetMapEntry(Message& message, const FieldDescriptor& field, const std::string& key,
                 const std::string& value) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    if (entry.GetReflection()->GetString(entry, entry.GetDescriptor()->map_key()) != key) continue;
    reflection.SwapElements(&message, &field, i, reflection.FieldSize(message, &field) - 1);
    reflection.RemoveLast(&message, &field);
    break;
  }
  if (value.empty()) return;
  const toml::table table = OverrideValue(value, *field.message_type()->map_value());
  const toml::node* node = table.get("value");
  Message& entry = *reflection.AddMessage(&message, &field);
  const auto& type = *entry.GetDescriptor();
  entry.GetReflection()->SetString(&entry, type.map_key(), key);
  entry.GetReflection()->SetString(&entry, type.map_value(),
                                   node->is_string() ? node->as_string()->get() : value);
}

}  // namespace

Status ParseToml(std::string_view text, const std::string& source, Message& message,
                 FieldOrigins& origins) {
  const std::string name = Printable(source, 300);
  MUSTER_ASSIGN_OR_RETURN(const toml::table table, Parse(text, name));
  return Walker(*message.GetDescriptor(), name, "", origins).Table(table, message, "");
}

Status ApplyOverride(const std::string& assignment, Message& message, FieldOrigins& origins) {
  const std::string shown = "--set " + Printable(assignment);
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    return InvalidArgument(shown + ": must be KEY=VALUE, as in --set supervised.epochs=2");
  }
  Walker walker(*message.GetDescriptor(), "", shown, origins);
  const toml::source_region nowhere{};
  const std::string keys = assignment.substr(0, equals);
  Message* at = &message;
  std::string path;
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(keys.find('.', begin), keys.size());
    const std::string name = keys.substr(begin, end - begin);
    const FieldDescriptor* field = at->GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) {
      return walker.Mistake(nowhere,
                            UnknownKey(*message.GetDescriptor(), *at->GetDescriptor(), path, name,
                                       /*in_file=*/false));
    }
    MUSTER_RETURN_IF_ERROR(walker.OnlyMember(*at, *field, path, nowhere));
    path = Dotted(path, name);
    if (end == keys.size()) {
      at->GetReflection()->ClearField(at, field);
      origins[path] = shown;
      const std::string value = assignment.substr(equals + 1);
      if (value.empty()) return {};
      const toml::table table = OverrideValue(value, *field);
      return walker.Field(*table.get("value"), *at, *field, path);
    }
    if (field->is_map()) {
      const std::string value = assignment.substr(equals + 1);
      SetMapEntry(*at, *field, keys.substr(end + 1), value);
      origins[path + "." + keys.substr(end + 1)] = shown;
      return {};
    }
    if (field->message_type() == nullptr || field->is_repeated()) {
      return walker.Mistake(nowhere,
                            path + " is no table: it has no key " + Quoted(keys.substr(end + 1)));
    }
    at = at->GetReflection()->MutableMessage(at, field);
    begin = end + 1;
  }
}

}  // namespace muster::wire
