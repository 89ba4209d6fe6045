// `muster metrics ID`: a job's rows, one a step.
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "wire/json.h"

namespace muster::cli {
namespace {

struct MetricsArgs {
  ClusterOptions cluster;
  std::uint64_t job_id = 0;
  bool follow = false;
  bool csv = false;
  bool json = false;
};

using Row = std::map<std::string, double>;

Row ParseRow(std::string_view text) {
  Row row;
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return row;
  for (const auto& [name, value] : json.items()) {
    if (value.is_number()) row[name] = value.get<double>();
  }
  return row;
}

// Prints rows as they come. CSV columns are those of all rows, or when following of the first one;
// a series that begins later has no column then.
class Printer {
 public:
  explicit Printer(const MetricsArgs& args) : args_(args) {}

  void Take(const v1::MetricsChunk& chunk) {
    if (chunk.has_rewind_to_step()) return Rewind(chunk.rewind_to_step());
    std::string_view rest = chunk.rows();
    while (!rest.empty()) {
      const std::string_view text = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), text.size() + 1));
      TakeRow(text);
    }
    std::cout.flush();
  }

  void End() {
    if (!args_.csv || args_.follow) return;
    std::set<std::string> names;
    for (const Row& row : kept_) {
      for (const auto& [name, value] : row) names.insert(name);
    }
    Header(names);
    for (const Row& row : kept_) CsvRow(row);
  }

 private:
  void TakeRow(std::string_view text) {
    if (args_.json) {
      std::cout << text << "\n";
      return;
    }
    Row row = ParseRow(text);
    if (!args_.csv) return PlainRow(row);
    if (!args_.follow) {
      kept_.push_back(std::move(row));
      return;
    }
    if (columns_.empty()) {
      std::set<std::string> names;
      for (const auto& [name, value] : row) names.insert(name);
      Header(names);
    }
    CsvRow(row);
  }

  void Rewind(std::uint64_t step) {
    if (args_.json) {
      std::cout << "{\"rewind_to_step\":" << step << "}" << std::endl;
    } else {
      std::cerr << "muster: a new attempt goes on from step " << step
                << "; rows after it come again" << std::endl;
    }
  }

  static void PlainRow(const Row& row) {
    const auto step = row.find("step");
    std::cout << "step "
              << (step == row.end() ? "-" : GroupedText(static_cast<std::uint64_t>(step->second)));
    for (const auto& [name, value] : row) {
      if (name != "step" && name.rfind("time/", 0) != 0) {
        std::cout << "  " << name << " " << MetricText(value);
      }
    }
    std::cout << "\n";
  }

  void Header(const std::set<std::string>& names) {
    columns_ = {"step"};
    for (const std::string& name : names) {
      if (name != "step") columns_.push_back(name);
    }
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      std::cout << (i == 0 ? "" : ",") << columns_[i];
    }
    std::cout << "\n";
  }

  void CsvRow(const Row& row) const {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const auto found = row.find(columns_[i]);
      std::cout << (i == 0 ? "" : ",")
                << (found == row.end() ? "" : wire::JsonNumber(found->second));
    }
    std::cout << "\n";
  }

  const MetricsArgs& args_;
  std::vector<std::string> columns_;
  std::vector<Row> kept_;
};

int PrintMetrics(const MetricsArgs& args) {
  std::unique_ptr<Session> session;
  const InterruptGuard guard([&] {
    if (session != nullptr) session->Interrupt();
  });
  Result<std::unique_ptr<Session>> opened = Session::Open(args.cluster);
  if (!opened.ok()) return Report(opened.status());
  session = std::move(*opened);
  session->on_word = [](const std::string& word) { std::cerr << "muster: " << word << std::endl; };
  v1::MetricsRequest request;
  request.set_job_id(args.job_id);
  request.set_follow(args.follow);
  Printer printer(args);
  const Status ended =
      session->Metrics(request, [&](const v1::MetricsChunk& chunk) { printer.Take(chunk); });
  if (ended.code() == StatusCode::kCancelled) return kExitInterrupted;
  if (ended.ok()) printer.End();
  return Report(ended);
}

}  // namespace

void AddMetrics(CommandLine& line) {
  const auto args = std::make_shared<MetricsArgs>();
  Command command = line.Add("metrics", "Print a job's metrics, one row a step");
  command.Value("ID", args->job_id, "The job's number").Required();
  command.Flag("-f,--follow", args->follow, "Go on until the job has ended")
      .Flag("--csv", args->csv, "Comma-separated, with a header line")
      .Flag("--json", args->json, "One object a line; {\"rewind_to_step\":N} after a restart")
      .Example("muster metrics 3 --csv > metrics.csv")
      .Runs([args] { return PrintMetrics(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
