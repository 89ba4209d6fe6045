// `muster metrics ID`: a job's numbers, step by step.
#include <algorithm>
#include <iostream>
#include <memory>
#include <string_view>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/metric_rows.h"

namespace muster::cli {
namespace {

struct MetricsArgs {
  ClusterOptions cluster;
  std::uint64_t job_id = 0;
  bool follow = false;
  bool csv = false;
  bool json = false;
};

// As it comes: rewinds are told, since what was printed cannot be taken back.
void PrintChunk(const v1::MetricsChunk& chunk, bool json) {
  if (chunk.has_rewind_to_step()) {
    if (json) {
      std::cout << "{\"rewind_to_step\":" << chunk.rewind_to_step() << "}\n";
    } else {
      std::cout << "back to step " << chunk.rewind_to_step()
                << ": a new attempt repeats the steps after it\n";
    }
  }
  ForEachLine(chunk.rows(), [&](std::string_view line) {
    MetricRow row;
    if (json) {
      std::cout << line << "\n";
    } else if (ParseMetricRow(line, row)) {
      std::cout << MetricRowText(row) << "\n";
    }
  });
  std::cout.flush();
}

void Gather(const v1::MetricsChunk& chunk, MetricTable& table) {
  if (chunk.has_rewind_to_step()) table.Rewind(chunk.rewind_to_step());
  ForEachLine(chunk.rows(), [&](std::string_view line) {
    MetricRow row;
    if (ParseMetricRow(line, row)) table.Add(std::move(row));
  });
}

// The columns are those of the rows there are at the start. Later rows cannot add any: a value of
// another name is left out, and that is said once.
int FollowCsv(Session& session, v1::MetricsRequest request, const MetricTable& table) {
  std::vector<std::string> columns = table.Columns();
  bool header = !table.rows().empty();
  bool told = false;
  const Status status = session.Metrics(request, [&](const v1::MetricsChunk& chunk) {
    MetricTable fresh;
    if (chunk.has_rewind_to_step()) {
      std::cerr << "muster: back to step " << chunk.rewind_to_step()
                << ": a new attempt repeats the steps after it; the last row of a step counts"
                << std::endl;
    }
    Gather(chunk, fresh);
    if (!header && !fresh.rows().empty()) {
      header = true;
      columns = fresh.Columns();
      std::cout << CsvHeader(columns) << "\n";
    }
    for (const MetricRow& row : fresh.rows()) {
      std::cout << CsvLine(row, columns) << "\n";
      for (const auto& [name, value] : row.values) {
        if (told || std::binary_search(columns.begin(), columns.end(), name)) continue;
        told = true;
        std::cerr << "muster: '" << name << "' is not among the columns of the first rows; run "
                  << "without -f for all" << std::endl;
      }
    }
    std::cout.flush();
  });
  return Report(status);
}

int Metrics(const MetricsArgs& args) {
  if (args.csv && args.json) return Report(InvalidArgument("give --csv or --json, not both"));
  Result<std::unique_ptr<Session>> session = Session::Open(args.cluster);
  if (!session.ok()) return Report(session.status());
  (*session)->on_word = [](const std::string& word) {
    std::cerr << "muster: " << word << std::endl;
  };
  v1::MetricsRequest request;
  request.set_job_id(args.job_id);
  request.set_follow(args.follow && !args.csv);
  if (args.json || (args.follow && !args.csv)) {
    return Report((*session)->Metrics(
        request, [&](const v1::MetricsChunk& chunk) { PrintChunk(chunk, args.json); }));
  }
  MetricTable table;
  const Status status = (*session)->Metrics(request, [&](const v1::MetricsChunk& chunk) {
    Gather(chunk, table);
    request.set_position(chunk.next_position());
  });
  if (!status.ok()) return Report(status);
  const std::vector<std::string> columns = table.Columns();
  if (args.csv && !table.rows().empty()) std::cout << CsvHeader(columns) << "\n";
  for (const MetricRow& row : table.rows()) {
    std::cout << (args.csv ? CsvLine(row, columns) : MetricRowText(row)) << "\n";
  }
  std::cout.flush();
  if (!args.follow) return kExitOk;
  request.set_follow(true);
  return FollowCsv(**session, request, table);
}

}  // namespace

void AddMetrics(CommandLine& line) {
  const auto args = std::make_shared<MetricsArgs>();
  Command command = line.Add("metrics", "Print a job's metrics, one row a step");
  command.Value("ID", args->job_id, "The job's number").Required();
  command.Flag("-f,--follow", args->follow, "Go on until the job has ended")
      .Flag("--csv", args->csv,
            "Comma-separated, each step once; with -f of repeated steps the last")
      .Flag("--json", args->json,
            "One object a line; {\"rewind_to_step\":N} makes rows after N void")
      .Example("muster metrics 3 --csv > metrics.csv")
      .More(
          "A new attempt of a job repeats steps. With --csv -f, what was printed stays: the last "
          "row of\n"
          "a step counts, and stderr tells from where steps are repeated.")
      .Runs([args] { return Metrics(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
