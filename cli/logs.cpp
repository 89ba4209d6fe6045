// `muster logs ID`: what the ranks of a job have printed.
#include <unistd.h>

#include <iostream>
#include <map>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/session_interrupt.h"
#include "wire/json.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

struct LogsArgs {
  ClusterOptions cluster;
  std::uint64_t job_id = 0;
  std::optional<std::uint64_t> rank;
  bool follow = false;
  bool json = false;
};

// Raw, for files and other programs; on a terminal nothing of it that would be obeyed.
std::string Shown(std::string_view line) {
  return ::isatty(STDOUT_FILENO) != 0 ? wire::TerminalLine(line) : std::string(line);
}

// Whole lines, each with its rank in front where several speak.
void PrintChunk(const v1::LogChunk& chunk, const LogsArgs& args) {
  std::string_view rest = chunk.text();
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (args.json) {
      std::cout << "{\"attempt\":" << chunk.attempt() << ",\"rank\":" << chunk.rank()
                << ",\"line\":" << wire::JsonText(line) << "}\n";
    } else if (args.rank.has_value()) {
      std::cout << Shown(line) << "\n";
    } else {
      std::cout << "[rank " << chunk.rank() << "] " << Shown(line) << "\n";
    }
  }
  std::cout.flush();
}

int Logs(const LogsArgs& args) {
  std::unique_ptr<Session> session;
  SessionInterrupt interrupt;
  Result<std::unique_ptr<Session>> opened = Session::Open(args.cluster);
  if (!opened.ok()) return Report(opened.status());
  session = std::move(*opened);
  interrupt.Use(session.get());
  session->on_word = [](const std::string& word) { std::cerr << "muster: " << word << std::endl; };
  v1::LogsRequest request;
  request.set_job_id(args.job_id);
  request.set_follow(args.follow);
  if (args.rank.has_value()) {
    const Result<v1::JobInfo> job = session->GetJob(args.job_id);
    if (!job.ok()) return Report(job.status());
    const std::uint32_t ranks = job->spec().resources().ranks();
    // Rollout workers have numbers beyond, each its own.
    const bool beyond = job->spec().resources().rollout_workers() > 0 && *args.rank <= UINT32_MAX;
    if (*args.rank >= ranks && !beyond) {
      return Report(InvalidArgument("--rank " + std::to_string(*args.rank) + ": job " +
                                    std::to_string(args.job_id) + " has ranks 0 to " +
                                    std::to_string(ranks - 1)));
    }
    request.set_rank(static_cast<std::uint32_t>(*args.rank));
  }
  const Status ended =
      session->Logs(request, [&](const v1::LogChunk& chunk) { PrintChunk(chunk, args); });
  if (ended.code() == StatusCode::kCancelled) return kExitInterrupted;
  return Report(ended);
}

}  // namespace

void AddLogs(CommandLine& line) {
  const auto args = std::make_shared<LogsArgs>();
  Command command = line.Add("logs", "Print what a job's ranks have printed");
  command.Value("ID", args->job_id, "The job's number").Required();
  command.Flag("-f,--follow", args->follow, "Go on until the job has ended")
      .Value("--rank", args->rank, "Of this rank only, without its number in front")
      .Flag("--json", args->json, "One object a line: attempt, rank, line")
      .Example("muster logs 3 --follow --rank 0")
      .Runs([args] { return Logs(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
