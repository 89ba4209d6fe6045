// `muster wait ID`: returns when the job has ended, with its verdict as exit code.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_view.h"
#include "cli/session_interrupt.h"
#include "wire/json.h"

namespace muster::cli {
namespace {

struct WaitArgs {
  ClusterOptions cluster;
  std::uint64_t job_id = 0;
  bool json = false;
};

int Wait(const WaitArgs& args) {
  std::unique_ptr<Session> session;
  SessionInterrupt interrupt;
  Result<std::unique_ptr<Session>> opened = Session::Open(args.cluster);
  if (!opened.ok()) return Report(opened.status());
  session = std::move(*opened);
  interrupt.Use(session.get());
  v1::JobInfo last;
  const Status ended = session->Watch(args.job_id, [&](const v1::JobInfo& job) { last = job; });
  if (ended.code() == StatusCode::kCancelled) return kExitInterrupted;
  if (!ended.ok()) return Report(ended);
  if (args.json) {
    std::cout << wire::ToJson(last) << std::endl;
  } else {
    std::cerr << ResultText(last) << std::endl;
  }
  return VerdictOf(last);
}

}  // namespace

void AddWait(CommandLine& line) {
  const auto args = std::make_shared<WaitArgs>();
  Command command = line.Add("wait", "Wait until a job has ended; exit with its verdict");
  command.Value("ID", args->job_id, "The job's number").Required();
  command.Flag("--json", args->json, "Print the job as one object when it has ended")
      .Example("muster wait 3 && muster pull 3 model/")
      .Runs([args] { return Wait(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
