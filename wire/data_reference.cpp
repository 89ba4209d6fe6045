#include "wire/data_reference.h"

#include <algorithm>
#include <vector>

#include "wire/field_rules.h"
#include "wire/printable.h"
#include "wire/tree.h"

namespace muster::wire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr std::string_view kStore = "store:";
constexpr std::string_view kSha256 = "sha256:";

Status MapBelow(Message& message, const std::string& prefix, const MapDataField& map) {
  const auto& reflection = *message.GetReflection();
  const auto& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (field->is_repeated() || !reflection.HasField(message, field)) continue;
    const std::string name = prefix + field->name();
    if (field->message_type() != nullptr) {
      MUSTER_RETURN_IF_ERROR(
          MapBelow(*reflection.MutableMessage(&message, field), name + ".", map));
    } else if (RuleOf(*field).data_path()) {
      MUSTER_ASSIGN_OR_RETURN(std::string mapped, map(name, reflection.GetString(message, field)));
      reflection.SetString(&message, field, std::move(mapped));
    }
  }
  return {};
}

}  // namespace

bool IsDataReference(std::string_view text) {
  return text.starts_with(kStore) || text.starts_with(kSha256);
}

bool IsDataName(std::string_view name) {
  constexpr std::size_t kBytesMax = 100;
  const auto letter_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= kBytesMax && letter_or_digit(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return letter_or_digit(c) || c == '-' || c == '_' || c == '.';
         });
}

Result<DataReference> ParseDataReference(std::string_view text) {
  const bool by_name = text.starts_with(kStore);
  std::string_view rest = text.substr(by_name ? kStore.size() : kSha256.size());
  const std::size_t slash = rest.find('/');
  const std::string head(rest.substr(0, slash));
  DataReference reference;
  (by_name ? reference.name : reference.sha256) = head;
  if (by_name && !IsDataName(head)) {
    return InvalidArgument(
        "must be store:NAME or store:NAME/inner/path, the name of letters, digits, '-', '_' and "
        "'.', but is " +
        Quoted(text));
  }
  if (!by_name && !IsSha256(head)) {
    return InvalidArgument("must be sha256: and 64 lower-case hexadecimal digits, but is " +
                           Quoted(text));
  }
  if (slash == rest.npos) return reference;
  reference.inner = rest.substr(slash + 1);
  if (const Status path = CheckTreePath(reference.inner); !path.ok()) {
    return InvalidArgument("is " + Quoted(text) + ", but " + path.message());
  }
  return reference;
}

Status MapDataFields(Message& message, const MapDataField& map) {
  return MapBelow(message, "", map);
}

}  // namespace muster::wire
