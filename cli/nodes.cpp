// `muster nodes`: the workers of the cluster.
#include <unistd.h>

#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

struct NodesArgs {
  ClusterOptions cluster;
  bool json = false;
};

int Nodes(const NodesArgs& args) {
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  const Result<std::vector<v1::NodeInfo>> nodes = (*session)->ListNodes();
  if (!nodes.ok()) return Report(nodes.status());
  std::vector<std::vector<std::string>> rows;
  for (const v1::NodeInfo& node : *nodes) {
    if (args.json) {
      std::cout << wire::ToJson(node) << "\n";
      continue;
    }
    rows.push_back({wire::Printable(node.worker()), wire::Printable(node.state()),
                    wire::Printable(node.host()), wire::Printable(node.address()),
                    std::to_string(node.slots_used()) + "/" + std::to_string(node.slots()),
                    std::to_string(node.gpus_size()), std::to_string(node.cores_per_slot()),
                    BytesText(node.memory_mib_per_slot() << 20U),
                    DurationText(node.last_contact_ms()) + " ago",
                    wire::Printable(node.version())});
  }
  if (args.json) return kExitOk;
  if (rows.empty()) {
    std::cerr << "no workers have registered" << std::endl;
    return kExitOk;
  }
  std::cout << FormatTable({"WORKER", "STATE", "HOST", "ADDRESS", "SLOTS USED", "GPUS",
                            "CORES/SLOT", "MEMORY/SLOT", "LAST CONTACT", "VERSION"},
                           rows, TerminalColumns(STDOUT_FILENO));
  return kExitOk;
}

}  // namespace

void AddNodes(CommandLine& line) {
  const auto args = std::make_shared<NodesArgs>();
  Command command = line.Add("nodes", "List workers and their slots");
  command.Flag("--json", args->json, "One object a line")
      .Example("muster nodes --json")
      .Runs([args] { return Nodes(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
