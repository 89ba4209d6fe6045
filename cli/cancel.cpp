// `muster cancel ID`: ends a job. Acknowledged is durable; the ranks are gone when it is CANCELLED.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_view.h"
#include "cli/session_interrupt.h"

namespace muster::cli {
namespace {

struct CancelArgs {
  ClusterOptions cluster;
  std::uint64_t job_id = 0;
  bool wait = false;
  bool json = false;
};

// Prints {"id":..,"state":..} where asked to.
void PrintState(const CancelArgs& args, const v1::JobInfo& job) {
  if (!args.json) return;
  std::cout << "{\"id\":" << job.id() << ",\"state\":\"" << StateText(job) << "\"}" << std::endl;
}

int Cancel(const CancelArgs& args) {
  std::unique_ptr<Session> session;
  SessionInterrupt interrupt;
  Result<std::unique_ptr<Session>> opened = Session::Open(args.cluster);
  if (!opened.ok()) return Report(opened.status());
  session = std::move(*opened);
  interrupt.Use(session.get());
  const Result<v1::JobState> state = session->CancelJob(args.job_id);
  if (!state.ok()) return Report(state.status());
  v1::JobInfo last;
  last.set_id(args.job_id);
  last.set_state(*state);
  const bool too_late = *state == v1::JOB_STATE_SUCCEEDED || *state == v1::JOB_STATE_FAILED;
  if (too_late) std::cerr << "muster: job " << args.job_id << " has ended already" << std::endl;
  if (!too_late && !args.wait) {
    std::cerr << "job " << args.job_id
              << (*state == v1::JOB_STATE_CANCELLED ? " is cancelled" : " is being cancelled")
              << std::endl;
  }
  if (too_late || !args.wait) {
    PrintState(args, last);
    return kExitOk;
  }
  const Status ended = session->Watch(args.job_id, [&](const v1::JobInfo& job) { last = job; });
  if (ended.code() == StatusCode::kCancelled) return kExitInterrupted;
  if (ended.ok()) {
    std::cerr << ResultText(last) << std::endl;
    PrintState(args, last);
  }
  return Report(ended);
}

}  // namespace

void AddCancel(CommandLine& line) {
  const auto args = std::make_shared<CancelArgs>();
  Command command = line.Add("cancel", "End a job");
  command.Value("ID", args->job_id, "The job's number").Required();
  command
      .Flag("--wait", args->wait,
            "Return when it has ended: nothing of it runs on any worker in touch")
      .Flag("--json", args->json, "Print id and state as one object")
      .Example("muster cancel 3 --wait")
      .Runs([args] { return Cancel(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
