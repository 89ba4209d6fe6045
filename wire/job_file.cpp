#include "wire/job_file.h"

#include <sys/stat.h>

#include <filesystem>

#include "base/check.h"
#include "base/file.h"
#include "wire/data_reference.h"
#include "wire/field_rules.h"
#include "wire/plugin_rules.h"
#include "wire/printable.h"

namespace muster::wire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Only a regular file is opened: opening a pipe would wait for its writer.
Status CheckIsFile(const std::string& path) {
  const std::string shown = Printable(path, 300);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    const Status failed = FromErrno(shown);
    return failed.code() == StatusCode::kInternal ? InvalidArgument(failed.message()) : failed;
  }
  if (S_ISDIR(info.st_mode)) return InvalidArgument(shown + ": is a directory, not a job file");
  if (!S_ISREG(info.st_mode)) return InvalidArgument(shown + ": is not a regular file");
  if (static_cast<std::size_t>(info.st_size) > kTomlBytesMax) {
    return InvalidArgument(shown + ": " + std::to_string(info.st_size) +
                           " bytes are too many for a job file; the most is " +
                           std::to_string(kTomlBytesMax));
  }
  return {};
}

void MakePathsAbsolute(Message& message, const std::string& prefix, const FieldOrigins& origins,
                       const std::string& file_folder) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) continue;
    const std::string path = prefix + field->name();
    if (field->message_type() != nullptr) {
      MakePathsAbsolute(*message.GetReflection()->MutableMessage(&message, field), path + ".",
                        origins, file_folder);
    } else if (RuleOf(*field).path()) {
      const auto origin = origins.find(path);
      const bool overridden = origin != origins.end() && origin->second.starts_with("--set ");
      const std::filesystem::path base =
          overridden ? std::filesystem::absolute(".") : std::filesystem::path(file_folder);
      const std::string given = message.GetReflection()->GetString(message, field);
      if (RuleOf(*field).data_path() && IsDataReference(given)) continue;
      message.GetReflection()->SetString(&message, field,
                                         (base / given).lexically_normal().string());
    }
  }
}

void FillMessage(Message& message) {
  const auto& type = *message.GetDescriptor();
  const auto& reflection = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (field->is_repeated()) continue;
    const bool given = reflection.HasField(message, field);
    if (field->message_type() != nullptr) {
      const bool chosen = field->real_containing_oneof() == nullptr || given;
      if (chosen) FillMessage(*reflection.MutableMessage(&message, field));
    } else if (const std::string& value = RuleOf(*field).default_value();
               !given && !value.empty()) {
      FieldOrigins origins;
      const Status filled = ParseToml(field->name() + " = " + value, "default", message, origins);
      MUSTER_CHECK(filled.ok(), field->full_name() + ": " + filled.message());
    }
  }
}

}  // namespace

Result<v1::JobSpec> LoadJobText(std::string_view text, const std::string& source,
                                const std::string& folder,
                                const std::vector<std::string>& overrides,
                                FieldOrigins* origins_given) {
  v1::JobSpec spec;
  FieldOrigins own;
  FieldOrigins& origins = origins_given == nullptr ? own : *origins_given;
  MUSTER_RETURN_IF_ERROR(ParseToml(text, source, spec, origins));
  for (const std::string& assignment : overrides) {
    MUSTER_RETURN_IF_ERROR(ApplyOverride(assignment, spec, origins));
  }
  MakePathsAbsolute(spec, "", origins, folder);
  TakePlugin(spec, origins, folder);
  const SpecProblem problem = FindSpecProblem(spec);
  if (problem.message.empty()) return spec;
  // An absent field has no place of its own: the file is named, and the field.
  const auto origin = origins.find(problem.field);
  const std::string place = origin == origins.end() ? Printable(source, 300) : origin->second;
  return InvalidArgument(place + ": " + problem.field + " " + problem.message);
}

Result<v1::JobSpec> LoadJobFile(const std::string& path, const std::vector<std::string>& overrides,
                                FieldOrigins* origins) {
  MUSTER_RETURN_IF_ERROR(CheckIsFile(path));
  Result<std::string> text = ReadFile(path, kTomlBytesMax);
  if (!text.ok()) {
    return Status(text.status().code(), Printable(text.status().message(), 300));
  }
  const std::string folder = std::filesystem::absolute(path).parent_path();
  return LoadJobText(*text, path, folder, overrides, origins);
}

namespace {

// The path field below `message` whose file `text` names; of several that with the longest name.
void FindPathField(const Message& message, const std::string& prefix, std::string_view text,
                   std::string& found, std::size_t& bytes) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) continue;
    const std::string path = prefix + field->name();
    if (field->message_type() != nullptr) {
      FindPathField(message.GetReflection()->GetMessage(message, field), path + ".", text, found,
                    bytes);
    } else if (RuleOf(*field).path()) {
      const std::string file = message.GetReflection()->GetString(message, field);
      if (file.size() <= bytes || text.find(file) == std::string_view::npos) continue;
      bytes = file.size();
      found = path;
    }
  }
}

}  // namespace

std::string WithPlace(const std::string& message, const v1::JobSpec& spec,
                      const FieldOrigins& origins, const std::string& source) {
  const std::string name = message.substr(0, message.find_first_of(" :["));
  std::vector<std::string> fields;
  for (const auto& [field, origin] : origins) {
    if (field == name || field.ends_with("." + name)) fields.push_back(field);
  }
  const bool named = fields.size() == 1 && !name.empty();
  if (!named) {
    std::size_t bytes = 0;
    fields.assign(1, "");
    FindPathField(spec, "", message, fields[0], bytes);
  }
  const auto origin = origins.find(fields.front());
  if (origin == origins.end()) return Printable(source, 300) + ": " + message;
  return origin->second + ": " + (named ? fields[0] + message.substr(name.size()) : message);
}

void FillDefaults(v1::JobSpec& spec) { FillMessage(spec); }

Status ValidateSpec(const v1::JobSpec& spec) {
  const SpecProblem problem = FindSpecProblem(spec);
  if (problem.message.empty()) return {};
  return InvalidArgument(problem.field + " " + problem.message);
}

}  // namespace muster::wire
