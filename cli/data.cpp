// `muster data list|rm|get`: what lies in the cluster's store.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <memory>

#include "base/file.h"
#include "base/sha256.h"
#include "cli/commands.h"
#include "cli/data_transfer.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "wire/data_reference.h"
#include "wire/json.h"
#include "wire/printable.h"
#include "wire/tree.h"

namespace muster::cli {
namespace {

struct DataArgs {
  ClusterOptions cluster;
  std::string what;
  std::vector<std::string> rest;
  bool json = false;
};

int List(Session& session, bool json) {
  const Result<v1::ListDataResponse> list = ListData(session);
  if (!list.ok()) return Report(list.status());
  std::vector<std::vector<std::string>> rows;
  for (const v1::DataInfo& data : list->data()) {
    if (json) std::cout << wire::ToJson(data) << "\n";
    rows.push_back({wire::Printable(data.name()), wire::Printable(data.owner()),
                    data.folder() ? GroupedText(data.files()) + " files" : "file",
                    BytesText(data.bytes()), AgoText(data.named_ms(), NowMs()),
                    data.sha256().substr(0, 12)});
  }
  if (json) return kExitOk;
  if (!rows.empty()) {
    std::cout << FormatTable({"NAME", "OWNER", "WHAT", "SIZE", "NAMED", "SHA-256"}, rows,
                             TerminalColumns(STDOUT_FILENO));
  }
  std::cerr << "the store holds " << BytesText(list->store_bytes()) << " of at most "
            << BytesText(list->store_bytes_max()) << std::endl;
  return kExitOk;
}

Result<std::string> HashOf(Session& session, const wire::DataReference& reference) {
  if (!reference.sha256.empty()) return reference.sha256;
  MUSTER_ASSIGN_OR_RETURN(const v1::ListDataResponse list, ListData(session));
  std::vector<std::string> known;
  for (const v1::DataInfo& data : list.data()) {
    if (data.name() == reference.name) return data.sha256();
    known.push_back(data.name());
  }
  const std::string near = wire::Nearest(reference.name, known);
  return NotFound("no data are named " + wire::Quoted(reference.name) +
                  (near.empty() ? "" : "; did you mean '" + near + "'?"));
}

// The list of files when the object in `path` is one.
std::optional<wire::Tree> TreeIn(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  if (static_cast<std::size_t>(info.st_size) > wire::kTreeBytesMax) return std::nullopt;
  const Result<std::string> text = ReadFile(path, wire::kTreeBytesMax);
  if (!text.ok()) return std::nullopt;
  Result<wire::Tree> tree = wire::ParseTree(*text);
  if (!tree.ok()) return std::nullopt;
  return std::move(*tree);
}

// Fetches a folder's files beside their final place, which then appears whole. What an earlier try
// fetched is kept.
Status GetFolder(Session& session, const wire::Tree& tree, const std::string& target,
                 std::chrono::milliseconds patience) {
  const std::string staging = target + ".files";
  for (const wire::TreeEntry& entry : tree.entries) {
    const std::string path = staging + "/" + entry.path;
    MUSTER_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(path).parent_path().string()));
    const Result<std::string> there = Sha256OfFile(path);
    if (!there.ok() || *there != entry.sha256) {
      MUSTER_RETURN_IF_ERROR(GetObject(session, entry.sha256, path, entry.path, patience));
    }
    if (entry.executable && ::chmod(path.c_str(), 0755) != 0) return FromErrno("chmod " + path);
  }
  if (::rename(staging.c_str(), target.c_str()) != 0) return FromErrno("rename " + staging);
  return {};
}

Status Get(Session& session, const std::string& what, std::string target,
           std::chrono::milliseconds patience) {
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  std::error_code error;
  if (std::filesystem::exists(target, error)) {
    return InvalidArgument(target + " exists; give a place that is new");
  }
  const std::string text = wire::IsDataReference(what) ? what : "store:" + what;
  const Result<wire::DataReference> reference = wire::ParseDataReference(text);
  if (!reference.ok()) return InvalidArgument("what to get " + reference.status().message());
  MUSTER_ASSIGN_OR_RETURN(std::string sha256, HashOf(session, *reference));
  MUSTER_RETURN_IF_ERROR(GetObject(session, sha256, target, "data", patience));
  const std::optional<wire::Tree> tree = TreeIn(target);
  if (!tree.has_value()) {
    if (reference->inner.empty()) return {};
    ::unlink(target.c_str());
    return InvalidArgument(wire::Quoted(what) + ": what is stored is a file, no folder");
  }
  ::unlink(target.c_str());
  if (reference->inner.empty()) return GetFolder(session, *tree, target, patience);
  const wire::TreeEntry* entry = tree->Find(reference->inner);
  if (entry == nullptr) return NotFound(wire::Quoted(what) + ": the folder has no such file");
  return GetObject(session, entry->sha256, target, "data", patience);
}

int Data(const DataArgs& args) {
  const std::size_t wanted = args.what == "list" ? 0 : args.what == "rm" ? 1 : 2;
  if (args.what != "list" && args.what != "rm" && args.what != "get") {
    return Report(InvalidArgument("data " + wire::Quoted(args.what) + ": say list, rm or get"));
  }
  if (args.rest.size() != wanted) {
    return Report(InvalidArgument(wanted == 0   ? "`muster data list` takes no more words"
                                  : wanted == 1 ? "say `muster data rm NAME`"
                                                : "say `muster data get NAME PATH`"));
  }
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  if (args.what == "list") return List(**session, args.json);
  if (args.what == "rm") {
    const Status removed = RemoveData(**session, args.rest[0]);
    if (removed.ok()) {
      std::cerr << "the name " << wire::Quoted(args.rest[0])
                << " is removed; its data go once no job needs them and no other name has them"
                << std::endl;
    }
    return Report(removed);
  }
  return Report(Get(**session, args.rest[0], args.rest[1], args.cluster.patience));
}

}  // namespace

void AddData(CommandLine& line) {
  const auto args = std::make_shared<DataArgs>();
  Command command = line.Add("data", "List, remove and fetch data of the cluster's store");
  command.Value("WHAT", args->what, "list, rm or get").Required().OneOf({"list", "rm", "get"});
  command.Values("ARGUMENTS", args->rest,
                 "rm: NAME; get: NAME, NAME/inner/path or sha256:HEX, then where to");
  command.Flag("--json", args->json, "list: one object a line")
      .Example("muster data get fashion fashion-mnist/")
      .Runs([args] { return Data(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
