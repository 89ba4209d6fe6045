#include "coordinator/content.h"

#include <cstdio>
#include <utility>

#include "wire/data_reference.h"
#include "wire/plugin_rules.h"
#include "wire/printable.h"

namespace muster::coordinator {
namespace {

constexpr int kObjectsMax = 10'000;
constexpr const char* kByHash = "sha256:";

std::string DidYouMean(const std::string& given, const std::vector<std::string>& known) {
  const std::string near = wire::Nearest(given, known);
  return near.empty() ? "" : "; did you mean '" + near + "'?";
}

}  // namespace

Result<std::unique_ptr<Content>> Content::Open(ContentStoreOptions options,
                                               std::vector<v1::DataInfo> names) {
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<ContentStore> store,
                          ContentStore::Open(std::move(options)));
  std::unique_ptr<Content> content(new Content(std::move(store)));
  for (const v1::DataInfo& data : names) content->Set(data);
  return content;
}

Result<v1::FindMissingResponse> Content::FindMissing(const std::string& owner,
                                                     const v1::FindMissingRequest& request) {
  if (request.objects_size() > kObjectsMax) {
    return InvalidArgument("more than " + std::to_string(kObjectsMax) + " objects at once");
  }
  v1::FindMissingResponse response;
  std::set<std::string> seen;
  std::uint64_t more = 0;
  for (const v1::ObjectSize& object : request.objects()) {
    if (!wire::IsSha256(object.sha256())) {
      return InvalidArgument("an object's name is 64 lower-case hexadecimal digits");
    }
    if (object.size() > wire::kObjectBytesMax) {
      return Status(StatusCode::kResourceExhausted,
                    "an object of " + std::to_string(object.size()) +
                        " bytes is too large: the most is 16 GiB; split it");
    }
    if (!seen.insert(object.sha256()).second || store_->Touch(object.sha256())) continue;
    v1::MissingObject& missing = *response.add_missing();
    missing.set_sha256(object.sha256());
    missing.set_have(std::min(store_->PartialBytes(owner, object.sha256()), object.size()));
    more += object.size() - missing.have();
  }
  if (more > 0) MUSTER_RETURN_IF_ERROR(store_->CheckRoom(more));
  return response;
}

Result<v1::DataInfo> Content::Inspect(const std::string& sha256) {
  if (!wire::IsSha256(sha256)) return InvalidArgument("give a SHA-256: 64 hexadecimal digits");
  if (!store_->Touch(sha256)) return NotFound("the store has no object " + sha256);
  MUSTER_ASSIGN_OR_RETURN(const std::optional<wire::Tree> tree, store_->ReadTree(sha256));
  v1::DataInfo data;
  data.set_sha256(sha256);
  data.set_folder(tree.has_value());
  if (!tree.has_value()) {
    MUSTER_ASSIGN_OR_RETURN(const std::uint64_t size, store_->SizeOf(sha256));
    data.set_bytes(size);
    data.set_files(1);
    return data;
  }
  for (const wire::TreeEntry& entry : tree->entries) {
    const Result<std::uint64_t> size = store_->SizeOf(entry.sha256);
    if (!store_->Touch(entry.sha256) || !size.ok() || *size != entry.size) {
      return NotFound("file " + wire::Quoted(entry.path) +
                      " of the folder is not in the store; "
                      "put the folder again");
    }
  }
  data.set_bytes(tree->bytes());
  data.set_files(tree->entries.size());
  return data;
}

v1::ListDataResponse Content::List() const {
  v1::ListDataResponse response;
  response.set_store_bytes(store_->bytes());
  response.set_store_bytes_max(store_->bytes_max());
  const std::lock_guard lock(mutex_);
  for (const auto& [name, data] : names_) *response.add_data() = data;
  return response;
}

Status Content::CheckOwner(const std::string& owner, const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(name);
  if (found == names_.end() || found->second.owner() == owner) return {};
  return {StatusCode::kPermissionDenied,
          "the name " + wire::Quoted(name) + " belongs to " + found->second.owner()};
}

Result<v1::DataInfo> Content::Find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(name);
  if (found != names_.end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [other, data] : names_) known.push_back(other);
  return NotFound("no data are named " + wire::Quoted(name) + DidYouMean(name, known));
}

void Content::Set(const v1::DataInfo& data) {
  const std::lock_guard lock(mutex_);
  names_[data.name()] = data;
}

void Content::Remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  names_.erase(name);
}

Result<std::string> Content::ResolveValue(const std::string& value, bool folder) {
  MUSTER_ASSIGN_OR_RETURN(const wire::DataReference reference, wire::ParseDataReference(value));
  std::string sha256 = reference.sha256;
  if (sha256.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const v1::DataInfo data, Find(reference.name));
    sha256 = data.sha256();
  }
  if (!store_->Touch(sha256)) return NotFound("the store has no object " + sha256);
  MUSTER_ASSIGN_OR_RETURN(const std::optional<wire::Tree> tree, store_->ReadTree(sha256));
  const std::string shown = wire::Quoted(value);
  if (folder) {
    if (!tree.has_value() || !reference.inner.empty()) {
      return InvalidArgument(shown + " is no folder; give a whole one, as it was put");
    }
    if (tree->bytes() > wire::kShippedBytesMax || tree->entries.size() > wire::kShippedFilesMax) {
      return InvalidArgument(shown + " has " + std::to_string(tree->entries.size()) + " files, " +
                             std::to_string(tree->bytes()) + " bytes; at most " +
                             std::to_string(wire::kShippedFilesMax) + " and " +
                             std::to_string(wire::kShippedBytesMax) + " are sent with a job");
    }
    MUSTER_RETURN_IF_ERROR(Inspect(sha256).status());  // That its files are here.
    return kByHash + sha256;
  }
  if (reference.inner.empty()) {
    if (!tree.has_value()) return kByHash + sha256;
    const std::string first = tree->entries.empty() ? "FILE" : tree->entries.front().path;
    return InvalidArgument(shown + " is a folder; name a file in it, as " +
                           wire::Quoted(value + "/" + first));
  }
  if (!tree.has_value()) return InvalidArgument(shown + ": what is stored is a file, no folder");
  const wire::TreeEntry* entry = tree->Find(reference.inner);
  if (entry == nullptr) {
    std::vector<std::string> paths;
    for (const wire::TreeEntry& other : tree->entries) paths.push_back(other.path);
    return NotFound(shown + ": the folder has no such file" + DidYouMean(reference.inner, paths));
  }
  if (!store_->Touch(entry->sha256)) {
    return NotFound(shown + ": the file has gone from the store; put the folder again");
  }
  return kByHash + entry->sha256;
}

Status Content::CheckPluginSize(const std::string& resolved) const {
  MUSTER_ASSIGN_OR_RETURN(const std::uint64_t bytes,
                          store_->SizeOf(resolved.substr(std::string_view(kByHash).size())));
  if (bytes <= wire::kPluginBytesMax) return {};
  return InvalidArgument("the plug-in has " + std::to_string(bytes) + " bytes; at most " +
                         std::to_string(wire::kPluginBytesMax) + " are sent with a job");
}

Result<v1::JobSpec> Content::Resolve(const v1::JobSpec& spec) {
  v1::JobSpec resolved = spec;
  MUSTER_RETURN_IF_ERROR(wire::MapDataFields(
      resolved, [this](const std::string& field, const std::string& value) -> Result<std::string> {
        const bool folder = field == wire::kShippedField;
        if (!wire::IsDataReference(value)) {
          if (!folder) return value;
          return InvalidArgument(field +
                                 ": is a path of the sender's machine; `muster submit` and `run` "
                                 "put it into the store first");
        }
        Result<std::string> found = ResolveValue(value, folder);
        if (found.ok() && wire::IsPluginField(field)) {
          const Status small = CheckPluginSize(*found);
          if (!small.ok()) found = small;
        }
        if (found.ok()) return found;
        return InvalidArgument(field + ": " + found.status().message());
      }));
  return resolved;
}

void Content::AddRoots(const v1::JobSpec& spec, std::set<std::string>& roots) {
  v1::JobSpec copy = spec;
  static_cast<void>(wire::MapDataFields(
      copy, [&roots](const std::string&, const std::string& value) -> Result<std::string> {
        if (wire::IsDataReference(value)) {
          const Result<wire::DataReference> reference = wire::ParseDataReference(value);
          if (reference.ok()) roots.insert(reference->sha256);
        }
        return value;
      }));
}

void Content::Sweep(std::set<std::string> roots) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, data] : names_) roots.insert(data.sha256());
  }
  const std::uint64_t freed = store_->Sweep(roots);
  if (freed == 0) return;
  std::fprintf(stderr, "coordinator: the store freed %llu bytes that nothing refers to\n",
               static_cast<unsigned long long>(freed));
}

v1::JobSpec WithReferencesOf(const v1::JobSpec& journaled, v1::JobSpec spec) {
  std::map<std::string, std::string> values;
  v1::JobSpec copy = journaled;
  static_cast<void>(wire::MapDataFields(
      copy, [&values](const std::string& field, const std::string& value) -> Result<std::string> {
        return values[field] = value;
      }));
  static_cast<void>(wire::MapDataFields(
      spec, [&values](const std::string& field, const std::string& value) -> Result<std::string> {
        const auto found = values.find(field);
        return wire::IsDataReference(value) && found != values.end() ? found->second : value;
      }));
  return spec;
}

}  // namespace muster::coordinator
