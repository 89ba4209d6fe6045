// Behind `muster bench NAME`.
#pragma once

#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "base/status.h"

namespace muster::tools {

struct BenchmarkInfo {
  std::string name;
  std::string help;
  std::string settings;  // "repetitions=9".
};
std::vector<BenchmarkInfo> Benchmarks();

// Runs one with KEY=VALUE settings, prints a table to stdout (with `json` one object of named
// medians), and returns the process's exit code: 2 for a wrong setting or when something it needs
// is missing, told before anything is started. The caller has no other threads.
int RunBenchmark(const std::string& name, bool json, const std::vector<std::string>& settings);

// Settings of one benchmark: those given, of those it knows.
class BenchmarkSettings {
 public:
  // kInvalidArgument for what is no KEY=VALUE or a key that `defaults` lacks.
  static Result<BenchmarkSettings> Parse(const std::vector<std::string>& given,
                                         std::map<std::string, std::string> defaults);
  const std::string& Text(const std::string& key) const { return values_.at(key); }
  // At least 1; kInvalidArgument otherwise.
  Result<unsigned> Count(const std::string& key) const;

 private:
  std::map<std::string, std::string> values_;
};

// Median, smallest and largest of what was measured; at least one sample.
struct Spread {
  double median = 0, least = 0, most = 0;
};
Spread SpreadOf(std::vector<double> samples);

// From the start of `muster submit` to the job's first optimiser step, on an idle cluster of this
// machine: job=FILE (the main job) repetitions=20.
Status BenchmarkSubmit(const BenchmarkSettings& settings, bool json, std::ostream& out);

// Training by PPO with rollouts of its own and of one rollout worker's, a process of this machine:
// environment=CartPole-v1 envs=1024 rollout_steps=16 hidden=256 threads=2 repetitions=5.
Status BenchmarkRollouts(const BenchmarkSettings& settings, bool json, std::ostream& out);

// A coordinator process of this machine: submissions a second, also beside 50 followers of a log;
// jobs whose ranks take no time; its memory and its answers with many agents:
// jobs=10000 clients=50 agents=1000.
Status BenchmarkCoordinator(const BenchmarkSettings& settings, bool json, std::ostream& out);

// From the loss of a worker, whose processes are stopped without a word as if its host had lost its
// power, to the first step of its job on another: job=FILE repetitions=5.
Status BenchmarkLoss(const BenchmarkSettings& settings, bool json, std::ostream& out);

// MB/s of `muster put` of a file to a coordinator of this machine, without and with TLS, beside cp
// and SHA-256 of the same file: mib=512 repetitions=5. Needs room for 2 x repetitions + 2 files.
Status BenchmarkPut(const BenchmarkSettings& settings, bool json, std::ostream& out);

// Images a second of the main job on 1 rank and on 2, one thread each, in turns:
// job=FILE steps=150 repetitions=5.
Status BenchmarkTrain(const BenchmarkSettings& settings, bool json, std::ostream& out);

}  // namespace muster::tools
