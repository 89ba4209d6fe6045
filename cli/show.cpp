// `muster show ID`: everything about one job.
#include <unistd.h>

#include <iostream>
#include <map>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_view.h"
#include "cli/terminal.h"
#include "wire/json.h"
#include "wire/plugin_rules.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

struct ShowArgs {
  ClusterOptions cluster;
  std::uint64_t job_id = 0;
  bool json = false;
};

std::string LanesText(const v1::RankInfo& rank) {
  if (rank.lanes().empty()) return "-";
  const std::uint32_t first = rank.lanes(0);
  const std::uint32_t last = rank.lanes(rank.lanes_size() - 1);
  return first == last ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(last);
}

void PrintHead(const v1::JobInfo& job) {
  const std::int64_t now_ms = NowMs();
  const auto line = [](const char* name, const std::string& value) {
    if (!value.empty()) std::cout << name << value << "\n";
  };
  line("job        ", std::to_string(job.id()) + "  " + wire::Printable(job.name()));
  line("owner      ", wire::Printable(job.owner()));
  line("state      ", StateText(job));
  line("reason     ", wire::Printable(job.reason(), 1000));
  line("attempt    ", job.attempt() == 0 ? "none yet" : std::to_string(job.attempt()));
  if (job.failures() > 0) line("failures   ", std::to_string(job.failures()));
  if (job.has_exit_code()) line("exit code  ", std::to_string(job.exit_code()));
  if (const auto plugin = wire::PluginOf(job.spec())) {
    line("plug-in    ", wire::Printable(plugin->name + "  " + plugin->source, 300));
  }
  if (!job.spec().has_command()) {
    line("steps      ",
         GroupedText(job.steps_done()) +
             (job.steps_total() == 0 ? "" : " of " + GroupedText(job.steps_total())));
  }
  if (const std::uint32_t asked = job.spec().resources().rollout_workers(); asked > 0) {
    line("rollouts   ", "by " + std::to_string(job.rollout_workers_size()) + " of up to " +
                            std::to_string(asked) + " workers beside the ranks");
  }
  line("submitted  ", AgoText(job.submitted_ms(), now_ms));
  line("started    ", AgoText(job.started_ms(), now_ms));
  line("ended      ", AgoText(job.ended_ms(), now_ms));
  std::string classes;
  for (const std::string& one : job.numerics_classes()) {
    classes += (classes.empty() ? "" : ", then ") + wire::Printable(one);
  }
  if (job.numerics_classes_size() > 1) classes += ": its bits are not those of a run in one";
  line("numerics   ", classes);
  if (!job.not_repeatable().empty()) {
    line("bits       ", "no two runs have the same: " + wire::Printable(job.not_repeatable(), 300));
  }
}

void PrintDetails(const v1::JobInfo& job) {
  const unsigned columns = TerminalColumns(STDOUT_FILENO);
  std::vector<std::vector<std::string>> rows;
  for (const v1::RankInfo& rank : job.ranks()) {
    rows.push_back({std::to_string(rank.rank()), wire::Printable(rank.worker()),
                    rank.pid() == 0 ? "-" : std::to_string(rank.pid()), LanesText(rank)});
  }
  if (!rows.empty()) {
    std::cout << "\n" << FormatTable({"RANK", "WORKER", "PID", "LANES"}, rows, columns);
  }
  rows.clear();
  for (const v1::RankInfo& worker : job.rollout_workers()) {
    rows.push_back({std::to_string(worker.rank()), wire::Printable(worker.worker()),
                    worker.pid() == 0 ? "-" : std::to_string(worker.pid())});
  }
  if (!rows.empty()) {
    std::cout << "\n" << FormatTable({"ROLLOUT WORKER", "WORKER", "PID"}, rows, columns);
  }
  rows.clear();
  for (const v1::AttemptInfo& attempt : job.attempts()) {
    const std::int64_t end_ms = attempt.ended_ms() == 0 ? NowMs() : attempt.ended_ms();
    rows.push_back({std::to_string(attempt.attempt()), GroupedText(attempt.resume_step()),
                    DurationText(std::max<std::int64_t>(end_ms - attempt.started_ms(), 0)),
                    attempt.ended_ms() == 0 ? "-" : wire::Printable(attempt.reason(), 300)});
  }
  // One that needed no other is told by the lines above.
  if (rows.size() > 1) {
    std::cout << "\n"
              << FormatTable({"ATTEMPT", "FROM STEP", "FOR", "ENDED BECAUSE"}, rows, columns);
  }
  rows.clear();
  for (const v1::CheckpointInfo& checkpoint : job.checkpoints()) {
    rows.push_back({std::to_string(checkpoint.step()), std::to_string(checkpoint.attempt()),
                    BytesText(checkpoint.bytes()), wire::Printable(checkpoint.sha256())});
  }
  if (!rows.empty()) {
    std::cout << "\n" << FormatTable({"CHECKPOINT", "ATTEMPT", "SIZE", "SHA256"}, rows, columns);
  }
  rows.clear();
  for (const auto& [name, value] :
       std::map<std::string, double>(job.last_metrics().begin(), job.last_metrics().end())) {
    rows.push_back({wire::Printable(name), MetricText(value)});
  }
  if (!rows.empty()) std::cout << "\n" << FormatTable({"METRIC", "LAST"}, rows, columns);
}

int Show(const ShowArgs& args) {
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  const Result<v1::JobInfo> job = (*session)->GetJob(args.job_id);
  if (!job.ok()) return Report(job.status());
  if (args.json) {
    std::cout << wire::ToJson(*job) << "\n";
    return kExitOk;
  }
  PrintHead(*job);
  PrintDetails(*job);
  return kExitOk;
}

}  // namespace

void AddShow(CommandLine& line) {
  const auto args = std::make_shared<ShowArgs>();
  Command command = line.Add("show", "Show one job: state, ranks, checkpoints, last metrics");
  command.Value("ID", args->job_id, "The job's number").Required();
  command.Flag("--json", args->json, "One object").Example("muster show 3 --json").Runs([args] {
    return Show(*args);
  });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
