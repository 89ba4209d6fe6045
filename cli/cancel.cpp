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
};

int Cancel(const CancelArgs& args) {
  std::unique_ptr<Session> session;
  SessionInterrupt interrupt;
  Result<std::unique_ptr<Session>> opened = Session::Open(args.cluster);
  if (!opened.ok()) return Report(opened.status());
  session = std::move(*opened);
  interrupt.Use(session.get());
  const Result<v1::JobState> state = session->CancelJob(args.job_id);
  if (!state.ok()) return Report(state.status());
  if (*state == v1::JOB_STATE_SUCCEEDED || *state == v1::JOB_STATE_FAILED) {
    std::cerr << "muster: job " << args.job_id << " has ended already" << std::endl;
    return kExitOk;
  }
  if (!args.wait) return kExitOk;
  v1::JobInfo last;
  const Status ended = session->Watch(args.job_id, [&](const v1::JobInfo& job) { last = job; });
  if (ended.code() == StatusCode::kCancelled) return kExitInterrupted;
  if (ended.ok()) std::cerr << ResultText(last) << std::endl;
  return Report(ended);
}

}  // namespace

void AddCancel(CommandLine& line) {
  const auto args = std::make_shared<CancelArgs>();
  Command command = line.Add("cancel", "End a job");
  command.Value("ID", args->job_id, "The job's number").Required();
  command.Flag("--wait", args->wait, "Return when nothing of it runs any more")
      .Example("muster cancel 3 --wait")
      .Runs([args] { return Cancel(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
