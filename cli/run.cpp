// `muster run FILE`: one job from its file to its model, with a cluster of its own where there is
// none.
#include <filesystem>
#include <iostream>
#include <memory>

#include "base/uuid.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/follow.h"
#include "cli/interrupt.h"
#include "cli/local_cluster.h"
#include "cli/pull_checkpoint.h"
#include "cli/submit_job.h"
#include "wire/job_file.h"

namespace muster::cli {
namespace {

struct RunArgs {
  ClusterOptions cluster;
  std::string file;
  std::vector<std::string> overrides;
  std::string output;
};

// Whether Ctrl-C may come in at any time: what it ends changes on the way.
struct Interruption {
  std::atomic<bool> came = false;
  std::mutex mutex;
  Session* session = nullptr;

  void Signal() {
    came = true;
    const std::lock_guard lock(mutex);
    if (session != nullptr) session->Interrupt();
  }
  void Use(Session* used) {
    const std::lock_guard lock(mutex);
    session = used;
  }
};

bool Reachable(const ClusterOptions& options) {
  Result<std::unique_ptr<Session>> session = Session::Open(options);
  return session.ok() && (*session)->Info().ok();
}

void TellModel(Session& session, const v1::JobInfo& job, const std::string& output) {
  if (job.checkpoints().empty()) return;
  const Result<PulledCheckpoint> pulled = PullCheckpoint(session, job.id(), std::nullopt, output);
  if (pulled.ok()) {
    std::cout << "model: " << output << std::endl;
  } else {
    static_cast<void>(Report(pulled.status()));
  }
}

std::string OutputOf(const RunArgs& args, const v1::JobSpec& spec,
                     const wire::ClusterFiles& files) {
  if (!args.output.empty()) return args.output;
  return files.state + "/results/" + spec.name() + "-" + NewUuid().substr(0, 8);
}

// Submits, follows, fetches the model. A private job ends with Ctrl-C, another one goes on.
int RunOn(const ClusterOptions& options, const v1::JobSpec& spec, const std::string& output,
          bool is_private, Interruption& interruption) {
  Result<std::unique_ptr<Session>> session = Session::Open(options);
  if (!session.ok()) return Report(session.status());
  interruption.Use(session->get());
  Result<std::uint64_t> id = (*session)->Submit(spec, "");
  Result<v1::JobInfo> job = id.ok() ? FollowJob(**session, *id) : id.status();
  interruption.Use(nullptr);
  if (!id.ok()) return Report(id.status());
  if (job.ok()) {
    TellModel(**session, *job, output);
    return VerdictOf(*job);
  }
  if (job.status().code() != StatusCode::kCancelled) return Report(job.status());
  if (is_private) {
    std::cerr << "muster: interrupted; the job is cancelled" << std::endl;
  } else {
    std::cerr << "muster: detached; job " << *id << " goes on (end it with `muster cancel " << *id
              << "`)" << std::endl;
  }
  return kExitInterrupted;
}

int Run(const RunArgs& args, const Hooks& hooks) {
  const wire::ClusterFiles files = wire::FilesOf(args.cluster.state);
  Result<v1::JobSpec> spec = LoadAndCheckJob(args.file, args.overrides, hooks, files.cache());
  if (!spec.ok()) return Report(InvalidArgument(spec.status().message()));
  Interruption interruption;
  const InterruptGuard guard([&] { interruption.Signal(); });
  const std::string output = OutputOf(args, *spec, files);
  if (Reachable(args.cluster)) {
    return RunOn(args.cluster, *spec, output, /*is_private=*/false, interruption);
  }
  LocalClusterOptions options;
  options.files = wire::FilesOf(files.state + "/run-" + NewUuid().substr(0, 8));
  options.workers = 1;
  v1::JobSpec filled = *spec;
  wire::FillDefaults(filled);
  options.slots = filled.resources().ranks();
  options.end_with_me = true;
  const wire::ClusterFiles own = options.files;
  // The data cache of the usual state directory serves this cluster as well.
  std::error_code ignored;
  if (MakeDirectories(files.cache(), 0700).ok() && MakeDirectories(own.state, 0700).ok()) {
    std::filesystem::create_directory_symlink(files.cache(), own.cache(), ignored);
  }
  std::cerr << "muster: no cluster is running; starting one for this job in " << own.state
            << std::endl;
  Result<std::unique_ptr<LocalCluster>> cluster = LocalCluster::Start(std::move(options));
  if (!cluster.ok()) return Report(cluster.status());
  int code = kExitInterrupted;
  const Status ready =
      WaitUntilReady(own, filled.resources().ranks(), std::chrono::milliseconds(30'000),
                     [&] { return interruption.came.load(); });
  if (ready.ok()) {
    ClusterOptions connection;
    connection.state = own.state;
    connection.own_cluster = true;
    code = RunOn(connection, *spec, output, /*is_private=*/true, interruption);
  } else if (ready.code() != StatusCode::kCancelled) {
    static_cast<void>(Report(ready));
    code = kExitInfrastructure;
  }
  (*cluster)->Stop();
  return code;
}

}  // namespace

void AddRun(CommandLine& line, const Hooks& hooks) {
  const auto args = std::make_shared<RunArgs>();
  Command command = line.Add("run", "Run one job to its end, on a cluster or on one of its own");
  command.Value("FILE", args->file, "Job file (TOML; see `muster schema`)").Required();
  command.Values("--set", args->overrides, "KEY=VALUE: override a field, as in resources.ranks=4")
      .Value("-o,--output", args->output,
             "Folder for the model; otherwise results/ in the state directory")
      .Example("muster run examples/jobs/fashion_cnn.toml --set supervised.epochs=1")
      .Runs([args, &hooks] { return Run(*args, hooks); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
