// `muster run FILE`: submits to the cluster that answers, or to a private one made for this job;
// follows, and exits with the job's verdict.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <thread>

#include "base/uuid.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/follow.h"
#include "cli/local_cluster.h"
#include "cli/pull_checkpoint.h"
#include "cli/session_interrupt.h"
#include "cli/submit_job.h"
#include "cli/terminal.h"
#include "wire/job_file.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

using std::chrono::milliseconds;

struct RunArgs {
  ClusterOptions cluster;
  std::string file;
  std::vector<std::string> overrides;
  std::string output;
  bool private_cluster = false;
  bool json = false;
};

void PrintResult(const v1::JobInfo& job, bool json) {
  if (json) std::cout << wire::ToJson(job) << std::endl;
}

// Fetches the newest checkpoint, if any, and says where it lies.
Status KeepModel(Session& session, const v1::JobInfo& job, const std::string& directory,
                 bool json) {
  if (job.checkpoints().empty()) return {};
  MUSTER_RETURN_IF_ERROR(MakeDirectories(std::filesystem::path(directory).parent_path()));
  const Result<PulledCheckpoint> pulled =
      PullCheckpoint(session, job.id(), std::nullopt, directory);
  if (!pulled.ok()) return pulled.status();
  (json ? std::cerr : std::cout) << "model: " << directory << std::endl;
  return {};
}

// Who gave a folder is told when nothing comes there.
void TellIfNoModel(const RunArgs& args, const v1::JobInfo& job) {
  if (args.output.empty() || !job.checkpoints().empty()) return;
  std::cerr << "muster: job " << job.id() << " has no checkpoint: nothing was written to "
            << args.output << std::endl;
}

// Of a job whose model could not be fetched: never "usage", whatever the disk or the cluster said.
int WithoutModel(const v1::JobInfo& job, const Status& why) {
  if (why.code() == StatusCode::kCancelled) return kExitInterrupted;
  const int verdict = VerdictOf(job);
  return verdict == kExitOk ? static_cast<int>(kExitInfrastructure) : verdict;
}

// On a cluster that others share: Ctrl-C only detaches.
int RunShared(const RunArgs& args, Session& session, const LoadedJob& loaded,
              const std::string& output) {
  const Result<std::uint64_t> id = ShipAndSubmit(session, loaded.spec, "", args.cluster.patience);
  if (!id.ok()) return Report(loaded.Located(id.status()));
  std::cerr << "job " << *id << " on the running cluster" << std::endl;
  const Result<v1::JobInfo> job = FollowJob(session, *id);
  if (!job.ok()) {
    if (job.status().code() != StatusCode::kCancelled) return Report(job.status());
    std::cerr << "muster: detached; job " << *id << " goes on (end it with `muster cancel " << *id
              << "`)" << std::endl;
    return kExitInterrupted;
  }
  PrintResult(*job, args.json);
  TellIfNoModel(args, *job);
  const Status kept = KeepModel(session, *job, output, args.json);
  if (kept.ok()) return VerdictOf(*job);
  std::cerr << "muster: the model could not be fetched: " << kept.message()
            << "; the cluster keeps it: `muster pull " << *id << " DIR`" << std::endl;
  return WithoutModel(*job, kept);
}

// Cancels and waits for the end, so that no process of the job is left, and fetches what it has
// reached. False: that is in the cluster only.
bool KeepInterrupted(const ClusterOptions& options, std::uint64_t job_id,
                     const std::string& directory, bool json) {
  Result<std::unique_ptr<Session>> session = Session::Open(options);
  if (!session.ok() || !(*session)->CancelJob(job_id).ok()) return true;
  const auto deadline = std::chrono::steady_clock::now() + milliseconds(10'000);
  Result<v1::JobInfo> job = (*session)->GetJob(job_id);
  while (job.ok() && !HasEnded(*job) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(50));
    job = (*session)->GetJob(job_id);
  }
  if (!job.ok()) return true;
  if (job->checkpoints().empty()) {
    std::cerr
        << "muster: nothing was kept: the job had no checkpoint yet (checkpoint.every_steps or "
        << "every_seconds says how often there is one)" << std::endl;
    return true;
  }
  std::cerr << "muster: its last checkpoint is of step " << job->checkpoints().rbegin()->step()
            << std::endl;
  return KeepModel(**session, *job, directory, json).ok();
}

void PrintLastLogLines(Session& session, std::uint64_t job_id) {
  std::string log;
  v1::LogsRequest request;
  request.set_job_id(job_id);
  constexpr std::size_t kBytesMax = 4096;
  const Status read = session.Logs(request, [&](const v1::LogChunk& chunk) {
    log += chunk.text();
    if (log.size() > 2 * kBytesMax) log.erase(0, log.size() - kBytesMax);
  });
  if (!read.ok() || log.empty()) return;
  if (log.size() > kBytesMax) log.erase(0, log.find('\n', log.size() - kBytesMax) + 1);
  std::cerr << "the last it wrote:\n";
  const bool terminal = TerminalColumns(STDERR_FILENO) > 0;
  for (std::istringstream lines(log); std::getline(lines, log);) {
    std::cerr << (terminal ? wire::TerminalLine(log) : log) << "\n";
  }
  std::cerr << std::flush;
}

std::string ResultFolder(const std::string& state, const v1::JobSpec& spec) {
  return state + "/results/" + spec.name() + "-" + NewUuid().substr(0, 8);
}

// `model_left`: the job's model is in the cluster only, which must not be thrown away.
int FollowPrivate(const RunArgs& args, const ClusterOptions& options, Session& session,
                  const LoadedJob& loaded, const std::string& output, bool& model_left) {
  const Result<std::uint64_t> id = ShipAndSubmit(session, loaded.spec, "", args.cluster.patience);
  if (!id.ok()) return Report(loaded.Located(id.status()));
  const Result<v1::JobInfo> job = FollowJob(session, *id);
  if (!job.ok()) {
    if (job.status().code() != StatusCode::kCancelled) return Report(job.status());
    std::cerr << "muster: interrupted; cancelling the job" << std::endl;
    model_left = !KeepInterrupted(options, *id, output, args.json);
    return kExitInterrupted;
  }
  if (job->state() == v1::JOB_STATE_FAILED) PrintLastLogLines(session, *id);
  PrintResult(*job, args.json);
  TellIfNoModel(args, *job);
  const Status kept = KeepModel(session, *job, output, args.json);
  if (kept.ok()) return VerdictOf(*job);
  std::cerr << "muster: the model could not be fetched: " << kept.message() << std::endl;
  const std::string state = wire::FilesOf(args.cluster.state).state;
  model_left = args.output.empty() || kept.code() == StatusCode::kCancelled ||
               !KeepModel(session, *job, ResultFolder(state, loaded.spec), args.json).ok();
  return WithoutModel(*job, kept);
}

// Out of the way of SweepDeadRuns.
void KeepCluster(const wire::ClusterFiles& files) {
  const std::filesystem::path from = files.state;
  const std::string name = from.filename().string();
  const std::string kept = from.parent_path() / ("kept-" + name.substr(name.find('-') + 1));
  std::error_code error;
  std::filesystem::rename(from, kept, error);
  const std::string& where = error ? files.state : kept;
  std::cerr << "muster: its cluster is kept in " << where << "; to fetch the model: `muster up "
            << "--detach --state " << where << "`, `muster pull 1 DIR --state " << where
            << "`, `muster down --state " << where << "`; then remove that folder" << std::endl;
}

bool HasCheckpoint(const std::filesystem::path& job) {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(job, none)) {
    if (entry.path().filename().string().starts_with("step-")) return true;
  }
  return false;
}

// Clusters of runs that were killed: nothing of them runs any more. Their files may go, but for
// those of a job that had a checkpoint.
void SweepDeadRuns(const std::string& state) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(state, ignored)) {
    if (!entry.path().filename().string().starts_with("run-")) continue;
    const wire::ClusterFiles files{entry.path()};
    const bool started = std::filesystem::exists(files.up_lock(), ignored);
    if (!started || LockFile::Holder(files.up_lock()) > 0) continue;
    if (!StopCluster(files).ok()) continue;
    if (HasCheckpoint(files.coordinator() + "/checkpoints/1")) {
      std::cerr << "muster: an earlier run was killed, and had a checkpoint" << std::endl;
      KeepCluster(files);
    } else {
      std::filesystem::remove_all(files.state, ignored);
    }
  }
}

// Also for rollout workers, unless a slot must have the memory that the job asks for: the more
// there are, the smaller they become.
std::uint32_t PrivateSlots(const v1::Resources& resources) {
  const std::uint32_t processors = std::max(std::thread::hardware_concurrency(), 1U);
  return resources.ranks() + (resources.has_memory_mib_per_rank()
                                  ? 0
                                  : std::min(resources.rollout_workers(), processors));
}

int RunPrivate(const RunArgs& args, SessionInterrupt& interrupt, const LoadedJob& loaded,
               const std::string& output) {
  const std::string state = wire::FilesOf(args.cluster.state).state;
  SweepDeadRuns(state);
  v1::JobSpec filled = loaded.spec;
  wire::FillDefaults(filled);
  LocalClusterOptions cluster_options;
  cluster_options.files.state = state + "/run-" + NewUuid().substr(0, 8);
  cluster_options.workers = 1;
  const std::uint32_t slots = PrivateSlots(filled.resources());
  cluster_options.slots = slots;
  cluster_options.end_with_me = true;
  cluster_options.say = [](const std::string& word) {
    std::cerr << "muster: " << word << std::endl;
  };
  const wire::ClusterFiles files = cluster_options.files;
  // The data cache of the usual state directory serves this cluster as well.
  std::error_code ignored;
  const std::string cache = wire::FilesOf(state).cache();
  if (MakeDirectories(cache, 0700).ok() && MakeDirectories(files.state, 0700).ok()) {
    std::filesystem::create_directory_symlink(cache, files.cache(), ignored);
  }
  std::cerr << "muster: no cluster is used; starting one for this job in " << files.state
            << std::endl;
  Result<std::unique_ptr<LocalCluster>> cluster = LocalCluster::Start(std::move(cluster_options));
  if (!cluster.ok()) return Report(cluster.status());
  ClusterOptions options;
  options.state = files.state;
  options.own_cluster = true;
  int exit_code = kExitInterrupted;
  bool model_left = false;
  const Status ready =
      WaitUntilReady(files, slots, milliseconds(30'000), [&] { return interrupt.came(); });
  Result<std::unique_ptr<Session>> session =
      ready.ok() ? Session::Open(options) : Result<std::unique_ptr<Session>>(ready);
  if (session.ok()) {
    interrupt.Use(session->get());
    exit_code = FollowPrivate(args, options, **session, loaded, output, model_left);
    interrupt.Use(nullptr);
  } else if (!interrupt.came()) {
    static_cast<void>(Report(session.status()));
    exit_code = kExitInfrastructure;
  }
  (*cluster)->Stop();
  cluster->reset();  // Its lock.
  if (model_left) {
    KeepCluster(files);
  } else {
    std::filesystem::remove_all(files.state, ignored);
  }
  return exit_code;
}

int Run(const RunArgs& args, const Hooks& hooks) {
  const wire::ClusterFiles files = wire::FilesOf(args.cluster.state);
  if (const Status readable = ReadFile(files.address(), 4096).status();
      readable.code() == StatusCode::kPermissionDenied) {
    return Report(NotYours(files.state, readable));
  }
  const Result<LoadedJob> loaded = LoadAndCheckJob(args.file, args.overrides, hooks, files.cache());
  if (!loaded.ok()) return Report(InvalidArgument(loaded.status().message()));
  const std::string output =
      args.output.empty() ? ResultFolder(files.state, loaded->spec) : args.output;
  // Not after hours of training.
  if (const Status target = CheckPullTarget(output); !target.ok()) {
    return Report(InvalidArgument((args.output.empty() ? "" : "-o: ") + target.message()));
  }
  SessionInterrupt interrupt;
  if (args.private_cluster) return RunPrivate(args, interrupt, *loaded, output);
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  const Status found = session.ok() ? (*session)->Info().status() : session.status();
  if (found.ok()) {
    interrupt.Use(session->get());
    const int exit_code = RunShared(args, **session, *loaded, output);
    interrupt.Use(nullptr);
    return exit_code;
  }
  // A cluster that was named must be that one; and one that refuses us is not absent.
  const bool named = !args.cluster.address.empty() ||
                     (args.cluster.state.empty() && std::getenv("MUSTER_ADDRESS") != nullptr);
  if (named || ExitCodeOf(found) != kExitUnreachable) return Report(found);
  return RunPrivate(args, interrupt, *loaded, output);
}

}  // namespace

void AddRun(CommandLine& line, const Hooks& hooks) {
  const auto args = std::make_shared<RunArgs>();
  Command command = line.Add("run", "Run a job file to its end, starting a cluster if need be");
  command.Value("FILE", args->file, "Job file (TOML; see `muster schema`)").Required();
  command
      .Values("--set", args->overrides,
              "KEY=VALUE: override a field, as in resources.ranks=4; KEY= takes it out")
      .Value("-o,--output", args->output,
             "Folder for the model; otherwise results/NAME-... in the state directory")
      .Flag("--private", args->private_cluster, "A cluster for this job even if one runs")
      .Flag("--json", args->json, "Print the job at its end as one object")
      .Example("muster run examples/jobs/fashion_cnn.toml --set resources.ranks=1")
      .Runs([args, &hooks] { return Run(*args, hooks); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
