// `muster put FILE|DIR`: puts data into the cluster's store.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/data_transfer.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "wire/data_reference.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

struct PutArgs {
  ClusterOptions cluster;
  std::string path;
  std::string name;
  bool json = false;
};

Result<LocalData> Read(const std::string& path) {
  TransferBar bar("reading", LocalBytes(path));
  return ReadLocalData(path, [&bar](std::uint64_t bytes) { bar.Add(bytes); });
}

void Print(const PutArgs& args, const LocalData& data, std::uint64_t sent) {
  if (args.json) {
    std::cout << "{\"sha256\":" << wire::JsonText(data.sha256)
              << ",\"name\":" << wire::JsonText(args.name)
              << ",\"folder\":" << (data.folder ? "true" : "false") << ",\"bytes\":" << data.bytes
              << ",\"files\":" << data.files << ",\"sent_bytes\":" << sent << "}" << std::endl;
    return;
  }
  std::cout << data.sha256 << std::endl;
  std::cerr << (data.folder ? std::to_string(data.files) + " files, " : std::string())
            << BytesText(data.bytes) << ", of which " << BytesText(sent) << " had to be sent; ";
  if (args.name.empty()) {
    std::cerr << "without a name they stay for a day after they were last put or used (--name)";
  } else {
    std::cerr << "name them in a job file as store:" << args.name << (data.folder ? "/FILE" : "");
  }
  std::cerr << std::endl;
}

int Put(const PutArgs& args) {
  if (!args.name.empty() && !wire::IsDataName(args.name)) {
    return Report(
        InvalidArgument("--name must be 1 to 100 letters, digits, '-', '_' and '.', the "
                        "first a letter or digit, but is " +
                        wire::Quoted(args.name)));
  }
  std::string path = args.path;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  (*session)->on_word = [](const std::string& word) {
    std::cerr << "muster: " << word << std::endl;
  };
  const Result<LocalData> data = Read(path);
  // What is on this disk is the user's to mend, whatever is wrong with it.
  if (!data.ok()) return Report(InvalidArgument(data.status().message()));
  const Result<std::uint64_t> sent = PutObjects(**session, data->objects, args.cluster.patience);
  if (!sent.ok()) return Report(sent.status());
  if (!args.name.empty()) {
    v1::NameDataRequest request;
    request.set_name(args.name);
    request.set_sha256(data->sha256);
    const Result<v1::DataInfo> named = NameData(**session, request);
    if (!named.ok()) return Report(named.status());
  }
  Print(args, *data, *sent);
  return kExitOk;
}

}  // namespace

void AddPut(CommandLine& line) {
  const auto args = std::make_shared<PutArgs>();
  Command command = line.Add("put", "Put a file or folder into the cluster's store of data");
  command.Value("PATH", args->path, "File or folder; what .musterignore names is left out")
      .Required();
  command.Value("--name", args->name, "So that job files can say store:NAME")
      .Flag("--json", args->json, "Print sha256, name, folder, bytes, files, sent_bytes")
      .Example("muster put /usr/share/datasets/fashion-mnist --name fashion")
      .Runs([args] { return Put(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
