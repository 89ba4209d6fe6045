#include "wire/schema.h"

#include <algorithm>

#include "muster/v1/job.pb.h"
#include "wire/field_rules.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::wire {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// One [table] of the file.
struct Section {
  std::string path;  // Empty = the top.
  const Descriptor* type = nullptr;
};

void Collect(const Descriptor& type, const std::string& path, std::vector<Section>& sections) {
  sections.push_back({path, &type});
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.message_type() == nullptr || field.is_map()) continue;
    Collect(*field.message_type(), path.empty() ? field.name() : path + "." + field.name(),
            sections);
  }
}

Result<std::vector<Section>> SectionsOf(const std::string& recipe) {
  std::vector<Section> all;
  Collect(*v1::JobSpec::descriptor(), "", all);
  if (recipe.empty()) return all;
  const std::vector<std::string> recipes = Recipes();
  if (std::find(recipes.begin(), recipes.end(), recipe) == recipes.end()) {
    std::string known;
    for (const std::string& name : recipes) known += (known.empty() ? "" : ", ") + name;
    return NotFound("no recipe " + Quoted(recipe) + "; there are " + known);
  }
  std::erase_if(all, [&](const Section& section) {
    return section.path != recipe && !section.path.starts_with(recipe + ".");
  });
  return all;
}

std::string TypeOf(const FieldDescriptor& field) {
  if (RuleOf(field).data_path()) return "data";
  return field.is_repeated() && !field.is_map() ? "list, each " + TypeText(field) : TypeText(field);
}

std::string DefaultOf(const FieldDescriptor& field) {
  const v1::FieldRule& rule = RuleOf(field);
  return rule.required() ? "required" : rule.default_value();
}

std::string RangeOf(const FieldDescriptor& field) {
  const v1::FieldRule& rule = RuleOf(field);
  std::string range = IsInteger(field) ? IntegerRangeText(field) : RangeText(field);
  if (range.empty()) range = rule.unit();
  if (rule.power_of_two()) range += (range.empty() ? "" : ", ") + std::string("a power of two");
  return range;
}

std::string FieldText(const FieldDescriptor& field) {
  std::string text = "  " + field.name();
  if (const std::string value = DefaultOf(field); value == "required") {
    text += " (required)";
  } else if (!value.empty()) {
    text += " = " + value;
  }
  text += "\n      " + TypeOf(field);
  if (const std::string range = RangeOf(field); !range.empty()) text += ", " + range;
  return text + ". " + RuleOf(field).help() + "\n";
}

std::string FieldJson(const std::string& path, const FieldDescriptor& field) {
  const v1::FieldRule& rule = RuleOf(field);
  const bool choice = field.enum_type() != nullptr;
  std::string text =
      "{\"field\":" + JsonText(path.empty() ? field.name() : path + "." + field.name());
  text += ",\"type\":" + JsonText(choice ? "choice" : TypeText(field));
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  text += std::string(",\"list\":") + flag(field.is_repeated() && !field.is_map());
  text += std::string(",\"required\":") + flag(rule.required());
  if (rule.has_minimum()) text += ",\"minimum\":" + NumberText(rule.minimum());
  if (rule.has_maximum()) text += ",\"maximum\":" + NumberText(rule.maximum());
  if (rule.power_of_two()) text += ",\"power_of_two\":true";
  if (rule.path()) text += ",\"path\":true";
  if (rule.data_path()) text += ",\"data_path\":true";
  if (!rule.unit().empty()) text += ",\"unit\":" + JsonText(rule.unit());
  if (!rule.default_value().empty()) text += ",\"default\":" + rule.default_value();
  if (choice) {
    std::string choices;
    for (const std::string& name : ChoicesOf(*field.enum_type())) {
      choices += (choices.empty() ? "" : ",") + JsonText(name);
    }
    text += ",\"choices\":[" + choices + "]";
  }
  return text + ",\"help\":" + JsonText(rule.help()) + "}\n";
}

template <class Visit>
void ForEachValue(const Section& section, Visit visit) {
  for (int i = 0; i < section.type->field_count(); ++i) {
    const FieldDescriptor& field = *section.type->field(i);
    if (field.message_type() == nullptr || field.is_map()) visit(field);
  }
}

}  // namespace

std::vector<std::string> Recipes() {
  std::vector<std::string> names;
  const auto* oneof = v1::JobSpec::descriptor()->FindOneofByName("recipe");
  for (int i = 0; i < oneof->field_count(); ++i) names.push_back(oneof->field(i)->name());
  return names;
}

Result<std::string> SchemaText(const std::string& recipe) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<Section> sections, SectionsOf(recipe));
  std::string text;
  for (const Section& section : sections) {
    if (!text.empty()) text += "\n";
    text += section.path.empty() ? "At the top of the file" : "[" + section.path + "]";
    text += "  " + AboutOf(*section.type) + "\n";
    ForEachValue(section, [&](const FieldDescriptor& field) { text += FieldText(field); });
  }
  return text;
}

Result<std::string> SchemaJson(const std::string& recipe) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<Section> sections, SectionsOf(recipe));
  std::string text;
  for (const Section& section : sections) {
    ForEachValue(section,
                 [&](const FieldDescriptor& field) { text += FieldJson(section.path, field); });
  }
  return text;
}

std::string SchemaMarkdown() {
  std::string text =
      "# The job file\n\n"
      "TOML. Strict: an unknown key, a wrong type or a value out of range is an error that names\n"
      "line and column. File names are relative to the job file. `muster submit JOB.toml --set\n"
      "a.b=VALUE` overrides one field, `--set a.b=` removes it. Where the type is `data`, the "
      "file\n"
      "may also lie in the cluster's store: `store:NAME`, `store:NAME/inner/path`, `sha256:HEX`\n"
      "(docs/guide/data.md).\n\n"
      "Written by `muster schema --markdown`; a test compares.\n";
  std::vector<Section> sections;
  Collect(*v1::JobSpec::descriptor(), "", sections);
  for (const Section& section : sections) {
    text += section.path.empty() ? "\n## At the top\n" : "\n## `[" + section.path + "]`\n";
    if (const std::string about = AboutOf(*section.type); !about.empty())
      text += "\n" + about + "\n";
    std::string rows;
    ForEachValue(section, [&](const FieldDescriptor& field) {
      const std::string value = DefaultOf(field);
      const std::string shown = value.empty() || value == "required" ? value : "`" + value + "`";
      rows += "| `" + field.name() + "` | " + TypeOf(field) + " | " + RangeOf(field) + " | " +
              shown + " | " + RuleOf(field).help() + " |\n";
    });
    if (rows.empty()) continue;
    text += "\n| key | type | range | default | meaning |\n|---|---|---|---|---|\n" + rows;
  }
  return text;
}

}  // namespace muster::wire
