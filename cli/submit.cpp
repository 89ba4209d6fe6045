// `muster submit FILE`: sends a job file to the cluster and prints the job's id.
#include <cstdlib>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/follow.h"
#include "cli/session_interrupt.h"
#include "cli/submit_job.h"
#include "wire/address.h"
#include "wire/cluster_files.h"
#include "wire/data_reference.h"
#include "wire/job_file.h"

namespace muster::cli {

Status LoadedJob::Located(const Status& status) const {
  if (status.code() != StatusCode::kInvalidArgument) return status;
  return InvalidArgument(wire::WithPlace(status.message(), spec, origins, path));
}

Result<LoadedJob> LoadAndCheckJob(const std::string& path,
                                  const std::vector<std::string>& overrides, const Hooks& hooks,
                                  const std::string& cache_directory, bool elsewhere) {
  LoadedJob job;
  job.path = path;
  MUSTER_ASSIGN_OR_RETURN(job.spec, wire::LoadJobFile(path, overrides, &job.origins));
  // Data in the cluster's store are the coordinator's to check.
  bool by_path = true;
  v1::JobSpec copy = job.spec;
  static_cast<void>(wire::MapDataFields(
      copy, [&by_path](const std::string&, const std::string& value) -> Result<std::string> {
        by_path = by_path && !wire::IsDataReference(value);
        return value;
      }));
  if (hooks.check_job != nullptr && by_path) {
    v1::JobSpec filled = job.spec;
    wire::FillDefaults(filled);
    const Status checked = hooks.check_job(filled, cache_directory, elsewhere);
    // What the data are like is the job's fault, whichever way it was found.
    if (!checked.ok()) return job.Located(InvalidArgument(checked.message()));
  }
  return job;
}

namespace {

struct SubmitArgs {
  ClusterOptions cluster;
  std::string file;
  std::vector<std::string> overrides;
  std::string request_id;
  bool follow = false;
  bool json = false;
};

// Whether the workers may see other files than this machine: each then looks for itself.
bool IsElsewhere(const ClusterOptions& cluster) {
  std::string address = cluster.address;
  if (const char* given = std::getenv("MUSTER_ADDRESS");
      address.empty() && cluster.state.empty() && given != nullptr) {
    address = given;
  }
  const Result<wire::Address> parsed = wire::ParseAddress(address);
  return parsed.ok() && !wire::IsLoopback(parsed->host);
}

int Submit(const SubmitArgs& args, const Hooks& hooks) {
  const Result<LoadedJob> loaded =
      LoadAndCheckJob(args.file, args.overrides, hooks, wire::FilesOf(args.cluster.state).cache(),
                      IsElsewhere(args.cluster));
  if (!loaded.ok()) return Report(InvalidArgument(loaded.status().message()));
  std::unique_ptr<Session> session;
  // Without following, Ctrl-C ends the command as any other.
  const auto interrupt = args.follow ? std::make_unique<SessionInterrupt>() : nullptr;
  Result<std::unique_ptr<Session>> opened = Session::Open(args.cluster);
  if (!opened.ok()) return Report(opened.status());
  session = std::move(*opened);
  if (interrupt != nullptr) interrupt->Use(session.get());
  session->on_word = [](const std::string& word) { std::cerr << "muster: " << word << std::endl; };
  const Result<std::uint64_t> id =
      ShipAndSubmit(*session, loaded->spec, args.request_id, args.cluster.patience);
  if (!id.ok()) return Report(loaded->Located(id.status()));
  if (args.json) {
    std::cout << "{\"id\":" << *id << "}" << std::endl;
  } else {
    std::cout << *id << std::endl;
  }
  if (!std::cout.good()) {  // The number is all that leads back to the job.
    std::cerr << "muster: submitted as job " << *id << std::endl;
  }
  if (!args.follow) return kExitOk;
  const Result<v1::JobInfo> job = FollowJob(*session, *id);
  if (job.ok()) return VerdictOf(*job);
  if (job.status().code() != StatusCode::kCancelled) return Report(job.status());
  std::cerr << "muster: detached; job " << *id << " goes on (see `muster show " << *id
            << "`, end it with `muster cancel " << *id << "`)" << std::endl;
  return kExitInterrupted;
}

}  // namespace

void AddSubmit(CommandLine& line, const Hooks& hooks) {
  const auto args = std::make_shared<SubmitArgs>();
  Command command = line.Add("submit", "Submit a job file and print the job's id");
  command.Value("FILE", args->file, "Job file (TOML; see `muster schema`)").Required();
  command
      .Values("--set", args->overrides,
              "KEY=VALUE: override a field, as in resources.ranks=4; KEY= takes it out")
      .Flag("-f,--follow", args->follow, "Follow the job and exit with its verdict")
      .Flag("--json", args->json, "Print {\"id\":N}")
      .Example("muster submit examples/jobs/fashion_cnn.toml --set supervised.epochs=2 --follow")
      .Runs([args, &hooks] { return Submit(*args, hooks); });
  command.Value("--request-id", args->request_id,
                "Names this submission: the same again is the same job, not another");
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
