// `muster bench NAME`: measures this machine, beside what it is compared with.
#include <algorithm>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

struct BenchArgs {
  std::string name;
  std::vector<std::string> rest;
  bool json = false;
};

int Bench(const BenchArgs& args, const Hooks& hooks) {
  std::vector<std::string> known;
  for (const Benchmark& bench : hooks.benches) known.push_back(bench.name);
  if (std::find(known.begin(), known.end(), args.name) == known.end()) {
    std::string names;
    for (const std::string& name : known) names += " " + name;
    const std::string near = wire::Nearest(args.name, known);
    return Report(InvalidArgument(
        "no benchmark " + wire::Quoted(args.name) +
        (near.empty() ? "; there are:" + names : "; did you mean '" + near + "'?")));
  }
  return hooks.run_bench(args.name, args.json, args.rest);
}

}  // namespace

void AddBench(CommandLine& line, const Hooks& hooks) {
  const auto args = std::make_shared<BenchArgs>();
  std::string settings;
  std::vector<std::string> known;
  for (const Benchmark& bench : hooks.benches) {
    known.push_back(bench.name);
    settings += "\n  " + bench.name +
                std::string(12 - std::min<std::size_t>(bench.name.size(), 11), ' ') + bench.help +
                "\n              " + bench.settings;
  }
  Command command = line.Add("bench", "Measure this machine");
  command.Value("NAME", args->name, "One of those listed below").Required().OneOf(known);
  command.Values("ARGUMENTS", args->rest, "KEY=VALUE settings of the benchmark");
  command.Flag("--json", args->json, "End with one object of named medians")
      .Example("muster bench allreduce repetitions=3 --json")
      .More("Benchmarks and their settings:" + settings)
      .Runs([args, &hooks] { return Bench(*args, hooks); });
}

}  // namespace muster::cli
