// `muster up` and `muster down`: a cluster on this machine.
#include <stdio.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <thread>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/job_view.h"
#include "cli/local_cluster.h"
#include "cli/terminal.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kReadyTimeout{30'000};

struct UpArgs {
  std::string state;
  unsigned workers = 2;
  unsigned slots = 1;
  bool detach = false;
  bool json = false;
};

std::string FirstLine(const std::string& path) {
  const Result<std::string> text = ReadFile(path, 4096);
  return text.ok() ? text->substr(0, text->find('\n')) : "";
}

void Announce(const UpArgs& args, const wire::ClusterFiles& files) {
  if (args.json) {
    std::cout << "{\"address\":" << wire::JsonText(FirstLine(files.address()))
              << ",\"http_address\":" << wire::JsonText(FirstLine(files.http_address()))
              << ",\"state\":" << wire::JsonText(files.state) << ",\"workers\":" << args.workers
              << ",\"slots\":" << args.workers * args.slots << "}" << std::endl;
    return;
  }
  const unsigned slots = args.workers * args.slots;
  if (const std::uint64_t left = FreeDiskBytes(files.state); left < wire::kJournalReserveBytes) {
    std::cerr << "muster: the disk of " << files.state << " has " << MebibytesText(left)
              << " left: no job is taken below " << MebibytesText(wire::kJournalReserveBytes)
              << std::endl;
  }
  std::cerr << "cluster is up: " << args.workers << (args.workers == 1 ? " worker, " : " workers, ")
            << slots << (slots == 1 ? " slot, gRPC " : " slots, gRPC ")
            << FirstLine(files.address()) << ", HTTP " << FirstLine(files.http_address())
            << ", state in " << files.state << std::endl;
}

// What runs, in one line that fits the terminal.
std::string StatusText(Session& session, StepRate& rate, unsigned columns) {
  const auto nodes = session.ListNodes();
  const auto jobs = session.ListJobs(false);
  if (!nodes.ok() || !jobs.ok()) return "the coordinator does not answer";
  unsigned ready = 0, slots = 0, used = 0;
  for (const v1::NodeInfo& node : *nodes) {
    if (node.state() != "ready") continue;
    ++ready;
    slots += node.slots();
    used += node.slots_used();
  }
  std::string text = std::to_string(ready) + " workers, " + std::to_string(used) + "/" +
                     std::to_string(slots) + " slots";
  if (jobs->empty()) return text + ", no jobs; Ctrl-C ends the cluster";
  if (jobs->size() > 1) text += ", " + std::to_string(jobs->size()) + " jobs";
  const v1::JobInfo& first = jobs->front();
  rate.Add(first.steps_done(), NowMs());
  const auto left =
      columns > text.size() + 12 ? columns - static_cast<unsigned>(text.size()) - 2 : 0U;
  return left == 0 ? text : text + "  " + ProgressText(first, rate.steps_per_second(), left);
}

int RunForeground(const UpArgs& args, const wire::ClusterFiles& files) {
  std::atomic<bool> stop = false;
  const InterruptGuard guard([&] { stop = true; });
  LocalClusterOptions options;
  options.files = files;
  options.workers = args.workers;
  options.slots = args.slots;
  StatusLine line(STDERR_FILENO);
  std::mutex mutex;  // Of the line: the watching thread prints as well.
  options.say = [&](const std::string& word) {
    const std::lock_guard lock(mutex);
    line.Print("muster: " + word);
  };
  Result<std::unique_ptr<LocalCluster>> cluster = LocalCluster::Start(std::move(options));
  if (!cluster.ok()) return Report(cluster.status());
  const auto stopped = [&] { return stop.load(); };
  if (Status ready = WaitUntilReady(files, args.workers * args.slots, kReadyTimeout, stopped);
      !ready.ok()) {
    (*cluster)->Stop();
    if (ready.code() == StatusCode::kCancelled) return kExitOk;
    static_cast<void>(Report(ready));
    return kExitInfrastructure;
  }
  Announce(args, files);
  StepRate rate;
  for (int turn = 0; !stop; ++turn) {
    if (line.live() && turn % 5 == 0) {
      Result<std::unique_ptr<Session>> session = Session::Open(ClusterOptions{{}, {}, files.state});
      const std::string text =
          session.ok() ? StatusText(**session, rate, line.columns()) : "starting";
      const std::lock_guard lock(mutex);
      line.Draw(text);
    }
    std::this_thread::sleep_for(milliseconds(100));
  }
  {
    const std::lock_guard lock(mutex);
    line.Print("muster: ending the cluster; its jobs go on with the next `muster up`");
  }
  (*cluster)->Stop();
  return kExitOk;
}

Status AlreadyRuns(const wire::ClusterFiles& files, int holder) {
  return {StatusCode::kAlreadyExists,
          "a cluster already runs on " + files.state + " (process " + std::to_string(holder) +
              "); use it, end it with `muster down`, or choose another --state"};
}

int RunDetached(const UpArgs& args, const wire::ClusterFiles& files) {
  if (const int holder = LockFile::Holder(files.up_lock()); holder > 0) {
    return Report(AlreadyRuns(files, holder));
  }
  if (Status made = MakeDirectories(files.state, 0700); !made.ok()) {
    return Report(made.code() == StatusCode::kPermissionDenied ? NotYours(files.state, made)
                                                               : made);
  }
  if (Status room = CheckRoomToStart(files); !room.ok()) return Report(room);
  const std::string log = files.state + "/up.log";
  // Only this start's words.
  static_cast<void>(::rename(log.c_str(), (log + ".1").c_str()));
  Result<Process> supervisor =
      Process::Start({"up", "--state", files.state, "--workers", std::to_string(args.workers),
                      "--slots", std::to_string(args.slots)},
                     log);
  if (!supervisor.ok()) return Report(supervisor.status());
  bool gone = false;
  // Processes that an earlier cluster left may answer before the supervisor watches over them.
  while (!gone && LockFile::Holder(files.up_lock()) != supervisor->pid()) {
    gone = supervisor->WaitForEnd(milliseconds(10));
  }
  const Status ready = WaitUntilReady(files, args.workers * args.slots, kReadyTimeout, [&] {
    return gone = gone || supervisor->WaitForEnd(milliseconds(0));
  });
  // Another one that was started at the same moment was faster.
  if (const int holder = gone ? LockFile::Holder(files.up_lock()) : 0; holder > 0) {
    return Report(AlreadyRuns(files, holder));
  }
  if (!ready.ok()) {
    if (!gone) supervisor->Stop(milliseconds(15'000));
    static_cast<void>(
        Report(gone ? Internal("the cluster did not start:\n" + LastLines(log, 3)) : ready));
    return kExitInfrastructure;
  }
  Announce(args, files);
  return kExitOk;
}

int Up(const UpArgs& args) {
  const wire::ClusterFiles files = wire::FilesOf(args.state);
  return args.detach ? RunDetached(args, files) : RunForeground(args, files);
}

int Down(const std::string& state) {
  const wire::ClusterFiles files = wire::FilesOf(state);
  const Result<unsigned> ended = StopCluster(files);
  if (!ended.ok()) return Report(ended.status());
  std::cerr << (*ended == 0 ? "nothing runs on " : "the cluster is down; its jobs are kept in ")
            << files.state << std::endl;
  return kExitOk;
}

}  // namespace

void AddUp(CommandLine& line) {
  const auto args = std::make_shared<UpArgs>();
  Command command = line.Add("up", "Start a cluster on this machine");
  command.Value("--workers", args->workers, "Worker agents; the cores are divided over them")
      .Between(1, 256)
      .Value("--slots", args->slots, "Ranks each worker holds at once")
      .Between(1, 256)
      .Value("--state", args->state, "State directory (or MUSTER_STATE)");
  command.Flag("-d,--detach", args->detach, "Return once it is up; it goes on in the background")
      .Flag("--json", args->json, "Print address, http_address, state, workers, slots")
      .Example("muster up --workers 2 --detach")
      .Runs([args] { return Up(*args); });
}

void AddDown(CommandLine& line) {
  const auto state = std::make_shared<std::string>();
  Command command = line.Add("down", "End the cluster on this machine; its jobs are kept");
  command.Value("--state", *state, "State directory (or MUSTER_STATE)")
      .Example("muster down")
      .Runs([state] { return Down(*state); });
}

}  // namespace muster::cli
