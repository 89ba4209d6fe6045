// `muster resume ID --allow-new-numerics`: a job whose numerics class has gone (its workers were
// upgraded) goes on in another one.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_view.h"

namespace muster::cli {
namespace {

struct ResumeArgs {
  ClusterOptions cluster;
  std::uint64_t job_id = 0;
  bool allow_new_numerics = false;
  bool json = false;
};

int Resume(const ResumeArgs& args) {
  if (!args.allow_new_numerics) {
    std::cerr
        << "muster: resume: name what to allow: --allow-new-numerics. The result then depends "
           "on both numerics classes."
        << std::endl;
    return kExitUsage;
  }
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  const Result<v1::JobState> state = (*session)->ResumeJob(args.job_id);
  if (!state.ok()) return Report(state.status());
  if (args.json) {
    v1::JobInfo job;
    job.set_state(*state);
    std::cout << "{\"id\":" << args.job_id << ",\"state\":\"" << StateText(job) << "\"}"
              << std::endl;
  } else {
    std::cerr << "job " << args.job_id
              << " goes on where there is room; in another numerics class its bits are not those "
                 "of a run in one"
              << std::endl;
  }
  return kExitOk;
}

}  // namespace

void AddResume(CommandLine& line) {
  const auto args = std::make_shared<ResumeArgs>();
  Command command = line.Add("resume", "Let a job go on whose numerics class has gone");
  command.Value("ID", args->job_id, "The job's number").Required();
  command
      .Flag("--allow-new-numerics", args->allow_new_numerics,
            "On workers of another build, CPU or library version than it began on")
      .Flag("--json", args->json, "Print id and state as one object")
      .Example("muster resume 3 --allow-new-numerics")
      .Runs([args] { return Resume(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
