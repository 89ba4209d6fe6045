// `muster ps`: the jobs of the cluster.
#include <unistd.h>

#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_view.h"
#include "cli/terminal.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

struct PsArgs {
  ClusterOptions cluster;
  bool all = false;
  bool json = false;
};

// Of another user's job a student sees neither name nor owner.
std::string Known(const std::string& text) { return text.empty() ? "-" : wire::Printable(text); }

std::string Steps(const v1::JobInfo& job) {
  if (job.spec().has_command()) return "-";
  if (job.steps_done() == 0 && job.steps_total() == 0) return "-";
  const std::string done = std::to_string(job.steps_done());
  return job.steps_total() == 0 ? done : done + "/" + std::to_string(job.steps_total());
}

// "4", or "4+2" with two rollout workers.
std::string Ranks(const v1::JobInfo& job) {
  const int workers = job.rollout_workers_size();
  return std::to_string(job.spec().resources().ranks()) +
         (workers == 0 ? "" : "+" + std::to_string(workers));
}

int Ps(const PsArgs& args) {
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  const Result<std::vector<v1::JobInfo>> jobs = (*session)->ListJobs(args.all);
  if (!jobs.ok()) return Report(jobs.status());
  std::vector<std::vector<std::string>> rows;
  for (const v1::JobInfo& job : *jobs) {
    if (args.json) {
      std::cout << wire::ToJson(job) << "\n";
      continue;
    }
    rows.push_back({std::to_string(job.id()), Known(job.name()), Known(job.owner()), StateText(job),
                    Ranks(job), Steps(job),
                    job.submitted_ms() == 0 ? "-" : AgoText(job.submitted_ms(), NowMs()),
                    job.reason().empty() ? "-" : wire::Printable(job.reason(), 500)});
  }
  if (args.json) return kExitOk;
  if (rows.empty()) {
    std::cerr << (args.all ? "no jobs yet" : "no jobs; `muster ps -a` shows those that have ended")
              << std::endl;
    return kExitOk;
  }
  std::cout << FormatTable(
      {"ID", "NAME", "OWNER", "STATE", "RANKS", "STEPS", "SUBMITTED", "REASON"}, rows,
      TerminalColumns(STDOUT_FILENO));
  return kExitOk;
}

}  // namespace

void AddPs(CommandLine& line) {
  const auto args = std::make_shared<PsArgs>();
  Command command = line.Add("ps", "List jobs that wait or run");
  command.Flag("-a,--all", args->all, "Also jobs that have ended")
      .Flag("--json", args->json, "One object a line")
      .Example("muster ps -a")
      .Runs([args] { return Ps(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
