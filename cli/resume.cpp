// `muster resume WORKER` ends a drain. `muster resume ID --allow-new-numerics`: a job whose
// numerics class has gone (its workers were upgraded) goes on in another one. A number is always a
// job.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_view.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

struct ResumeArgs {
  ClusterOptions cluster;
  std::string what;
  bool allow_new_numerics = false;
  bool json = false;
};

int ResumeWorker(const ResumeArgs& args) {
  if (args.allow_new_numerics) {
    return Report(InvalidArgument("--allow-new-numerics is for jobs, and '" + args.what +
                                  "' is no job's number"));
  }
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  const Result<v1::NodeInfo> node = (*session)->ResumeWorker(args.what);
  if (!node.ok()) return Report(node.status());
  if (args.json) {
    std::cout << wire::ToJson(*node) << std::endl;
  } else {
    std::cerr << wire::Printable(node->worker()) << " is back in service" << std::endl;
  }
  return kExitOk;
}

int ResumeJob(const ResumeArgs& args, std::uint64_t job_id) {
  if (!args.allow_new_numerics) {
    std::cerr
        << "muster: resume: name what to allow: --allow-new-numerics. The result then depends "
           "on both numerics classes."
        << std::endl;
    return kExitUsage;
  }
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  const Result<v1::JobState> state = (*session)->ResumeJob(job_id);
  if (!state.ok()) return Report(state.status());
  if (args.json) {
    v1::JobInfo job;
    job.set_state(*state);
    std::cout << "{\"id\":" << job_id << ",\"state\":\"" << StateText(job) << "\"}" << std::endl;
  } else {
    std::cerr << "job " << job_id
              << " goes on where there is room; in another numerics class its bits are not those "
                 "of a run in one"
              << std::endl;
  }
  return kExitOk;
}

int Resume(const ResumeArgs& args) {
  constexpr std::size_t kDigitsMax = 18;
  const bool job = !args.what.empty() && args.what.size() <= kDigitsMax &&
                   args.what.find_first_not_of("0123456789") == std::string::npos;
  return job ? ResumeJob(args, std::stoull(args.what)) : ResumeWorker(args);
}

}  // namespace

void AddResume(CommandLine& line) {
  const auto args = std::make_shared<ResumeArgs>();
  Command command = line.Add("resume", "Take a drained worker, or a job, up again");
  command
      .Value("WHAT", args->what,
             "A drained worker's name, or the number of a job whose numerics class has gone")
      .Required();
  command
      .Flag("--allow-new-numerics", args->allow_new_numerics,
            "Of a job: on workers of another build, CPU or library version than it began on")
      .Flag("--json", args->json, "Print the worker, or the job's id and state, as one object")
      .Example("muster resume node-2-0")
      .Example("muster resume 3 --allow-new-numerics")
      .Runs([args] { return Resume(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
