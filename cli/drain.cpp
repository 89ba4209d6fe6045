// `muster drain WORKER`: takes a worker out of service.
#include <chrono>
#include <iostream>
#include <memory>
#include <thread>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/session_interrupt.h"
#include "cli/terminal.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

struct DrainArgs {
  ClusterOptions cluster;
  std::string worker;
  std::string reason;
  std::string deadline;
  bool wait = false;
  bool json = false;
};

std::string Slots(const v1::NodeInfo& node) {
  return std::to_string(node.slots_used()) + (node.slots_used() == 1 ? " slot" : " slots");
}

// Until nothing runs there, or Ctrl-C; the worker stays drained either way.
Result<v1::NodeInfo> WaitUntilEmpty(Session& session, const SessionInterrupt& interrupt,
                                    v1::NodeInfo node) {
  StatusLine line(STDERR_FILENO);
  while (node.slots_used() > 0 && node.state() != "lost" && !interrupt.came()) {
    if (line.live()) {
      line.Draw(wire::Printable(node.worker()) + " is draining: " + Slots(node) + " in use");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    // A drain outlives the coordinator's restart.
    const Result<std::vector<v1::NodeInfo>> nodes = session.ListNodes(/*patient=*/true);
    if (interrupt.came()) break;
    if (!nodes.ok()) return nodes.status();
    for (const v1::NodeInfo& one : *nodes) {
      if (one.worker() == node.worker()) node = one;
    }
  }
  if (interrupt.came()) {
    return Status(StatusCode::kCancelled, "interrupted; the worker stays drained");
  }
  return node;
}

int Drain(const DrainArgs& args) {
  v1::DrainWorkerRequest request;
  request.set_worker(args.worker);
  request.set_reason(args.reason);
  if (!args.deadline.empty()) {
    const bool number = args.deadline.size() <= 7 &&
                        args.deadline.find_first_not_of("0123456789") == std::string::npos;
    if (!number) {
      return Report(
          InvalidArgument("--deadline: seconds, 0 = at once, but is '" + args.deadline + "'"));
    }
    request.set_deadline_seconds(std::stoull(args.deadline));
  }
  std::unique_ptr<Session> session;
  SessionInterrupt interrupt;
  Result<std::unique_ptr<Session>> opened = Session::Open(args.cluster);
  if (!opened.ok()) return Report(opened.status());
  session = std::move(*opened);
  interrupt.Use(session.get());
  Result<v1::NodeInfo> node = session->DrainWorker(request);
  if (node.ok() && args.wait) node = WaitUntilEmpty(*session, interrupt, *node);
  interrupt.Use(nullptr);
  if (!node.ok()) return Report(node.status());
  if (args.json) {
    std::cout << wire::ToJson(*node) << std::endl;
    return kExitOk;
  }
  const std::string name = wire::Printable(node->worker());
  std::cerr << name << " takes no more ranks"
            << (node->slots_used() == 0 || node->state() == "lost"
                    ? "; nothing runs there"
                    : "; still in use: " + Slots(*node))
            << ". `muster resume " << name << "` takes it back into service" << std::endl;
  return kExitOk;
}

}  // namespace

void AddDrain(CommandLine& line) {
  const auto args = std::make_shared<DrainArgs>();
  Command command = line.Add("drain", "Take a worker out of service");
  command.Value("WORKER", args->worker, "Its name, as `muster nodes` lists it").Required();
  command.Value("--reason", args->reason, "For people: shown in nodes, and with the jobs it moves")
      .Value("--deadline", args->deadline,
             "Seconds, after which what still runs there is ended; otherwise it may run on");
  command.Flag("--wait", args->wait, "Return once nothing runs there any more")
      .Flag("--json", args->json, "Print the worker as one object")
      .Example("muster drain node-2-0 --reason 'new kernel' --wait")
      .Runs([args] { return Drain(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
