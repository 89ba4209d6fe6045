#include "worker/tools/benchmarks.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "bench/allreduce.h"
#include "bench/attention.h"
#include "bench/decode.h"
#include "bench/env.h"
#include "bench/matmul.h"
#include "bench/mlp.h"
#include "bench/op.h"
#include "bench/ppo.h"
#include "bench/train_gpt2.h"
#include "worker/tools/bench_job.h"

namespace muster::tools {
namespace {

Status AllReduce(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  AllReduceBenchmarkOptions options;
  MUSTER_ASSIGN_OR_RETURN(options.rounds, settings.Count("repetitions"));
  options.json = json;
  const std::string openmpi = settings.Text("openmpi");
  if (openmpi == "rank") return RunAsOpenMpiRank(options, out);
  if (openmpi == "yes") {
    options.openmpi_rank_command = {std::filesystem::read_symlink("/proc/self/exe"), "bench",
                                    "allreduce", "openmpi=rank",
                                    "repetitions=" + std::to_string(options.rounds)};
  }
  return RunAllReduceBenchmark(options, out);
}

Status Attention(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  AttentionBenchmarkOptions options;
  options.type = settings.Text("type");
  MUSTER_ASSIGN_OR_RETURN(options.threads, settings.Count("threads"));
  MUSTER_ASSIGN_OR_RETURN(options.rounds, settings.Count("repetitions"));
  options.torch = settings.Text("torch") == "yes";
  options.json = json;
  return RunAttentionBenchmark(options, out);
}

Status Decode(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  DecodeBenchmarkOptions options;
  options.type = settings.Text("type");
  MUSTER_ASSIGN_OR_RETURN(options.threads, settings.Count("threads"));
  MUSTER_ASSIGN_OR_RETURN(options.prompt, settings.Count("prompt"));
  MUSTER_ASSIGN_OR_RETURN(options.tokens, settings.Count("tokens"));
  MUSTER_ASSIGN_OR_RETURN(options.rounds, settings.Count("repetitions"));
  options.torch = settings.Text("torch") == "yes";
  options.json = json;
  return RunDecodeBenchmark(options, out);
}

Status Environments(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  EnvBenchmarkOptions options;
  if (settings.Text("name") != "all") options.name = settings.Text("name");
  MUSTER_ASSIGN_OR_RETURN(options.envs, settings.Count("envs"));
  MUSTER_ASSIGN_OR_RETURN(options.rounds, settings.Count("repetitions"));
  options.peers = settings.Text("peers") == "yes";
  options.json = json;
  return RunEnvBenchmark(options, out);
}

Status Ppo(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  PpoBenchmarkOptions options;
  options.environment = settings.Text("environment");
  MUSTER_ASSIGN_OR_RETURN(options.envs, settings.Count("envs"));
  MUSTER_ASSIGN_OR_RETURN(options.rollout_steps, settings.Count("rollout_steps"));
  MUSTER_ASSIGN_OR_RETURN(options.lanes, settings.Count("lanes"));
  MUSTER_ASSIGN_OR_RETURN(options.threads, settings.Count("threads"));
  MUSTER_ASSIGN_OR_RETURN(options.repetitions, settings.Count("repetitions"));
  options.peers = settings.Text("peers") == "yes";
  options.json = json;
  return RunPpoBenchmark(options, out);
}

Status Op(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  OpBenchmarkOptions options;
  options.type = settings.Text("type");
  MUSTER_ASSIGN_OR_RETURN(options.rows, settings.Count("rows"));
  MUSTER_ASSIGN_OR_RETURN(options.threads, settings.Count("threads"));
  MUSTER_ASSIGN_OR_RETURN(options.rounds, settings.Count("repetitions"));
  options.torch = settings.Text("torch") == "yes";
  options.json = json;
  return RunOpBenchmark(options, out);
}

Status MatMul(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  MatMulBenchmarkOptions options;
  MUSTER_ASSIGN_OR_RETURN(options.threads, settings.Count("threads"));
  MUSTER_ASSIGN_OR_RETURN(options.rounds, settings.Count("repetitions"));
  options.json = json;
  return RunMatMulBenchmark(options, out);
}

Status Mlp(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  MlpBenchmarkOptions options;
  MUSTER_ASSIGN_OR_RETURN(options.batch, settings.Count("batch"));
  MUSTER_ASSIGN_OR_RETURN(options.rounds, settings.Count("rounds"));
  options.json = json;
  return RunMlpBenchmark(options, out);
}

Status TrainGpt2(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  TrainGpt2BenchmarkOptions options;
  options.model = settings.Text("model");
  options.type = settings.Text("type");
  MUSTER_ASSIGN_OR_RETURN(options.batch, settings.Count("batch"));
  MUSTER_ASSIGN_OR_RETURN(options.length, settings.Count("length"));
  MUSTER_ASSIGN_OR_RETURN(options.threads, settings.Count("threads"));
  MUSTER_ASSIGN_OR_RETURN(options.steps, settings.Count("steps"));
  options.torch = settings.Text("torch") == "yes";
  options.json = json;
  return RunTrainGpt2Benchmark(options, out);
}

struct Known {
  const char* name;
  const char* help;
  std::map<std::string, std::string> defaults;
  Status (*run)(const BenchmarkSettings& settings, bool json, std::ostream& out);
};

const std::vector<Known>& All() {
  static const std::vector<Known> all = {
      {"allreduce",
       "GB/s of all-reduce between ranks, beside Gloo's and OpenMPI's",
       {{"repetitions", "9"}, {"openmpi", "yes"}},
       AllReduce},
      {"attention",
       "GFLOP/s of causal attention, beside PyTorch",
       {{"type", "bf16"}, {"threads", "2"}, {"repetitions", "7"}, {"torch", "yes"}},
       Attention},
      {"coordinator",
       "Submissions, jobs, followers and agents that a coordinator bears",
       {{"jobs", "10000"}, {"clients", "50"}, {"agents", "1000"}},
       BenchmarkCoordinator},
      {"decode",
       "Tokens a second that GPT-2 generates, beside the memory's rate and PyTorch",
       {{"type", "bf16"},
        {"threads", "2"},
        {"prompt", "32"},
        {"tokens", "32"},
        {"repetitions", "5"},
        {"torch", "yes"}},
       Decode},
      {"env",
       "Environment steps a second on one core, beside other libraries",
       {{"name", "all"}, {"envs", "1024"}, {"repetitions", "7"}, {"peers", "yes"}},
       Environments},
      {"loss",
       "From the loss of a worker to its job's next step on another",
       {{"job", kMainJobName}, {"repetitions", "5"}},
       BenchmarkLoss},
      {"matmul",
       "GFLOP/s of matrix products, beside oneDNN",
       {{"threads", "1"}, {"repetitions", "9"}},
       MatMul},
      {"mlp",
       "Microseconds of a training step of small networks, beside PyTorch",
       {{"batch", "128"}, {"rounds", "15"}},
       Mlp},
      {"op",
       "GB/s of norms, activations, optimiser and the like, beside a copy's and PyTorch",
       {{"type", "bf16"},
        {"rows", "2048"},
        {"threads", "2"},
        {"repetitions", "7"},
        {"torch", "yes"}},
       Op},
      {"ppo",
       "Environment steps a second of training by PPO, beside a loop in PyTorch",
       {{"environment", "CartPole-v1"},
        {"envs", "64"},
        {"rollout_steps", "64"},
        {"lanes", "2"},
        {"threads", "2"},
        {"repetitions", "5"},
        {"peers", "yes"}},
       Ppo},
      {"put",
       "MB/s of `muster put`, beside cp and SHA-256",
       {{"mib", "512"}, {"repetitions", "5"}},
       BenchmarkPut},
      {"rollouts",
       "Environment steps a second of PPO with a rollout worker, beside without",
       {{"environment", "CartPole-v1"},
        {"envs", "1024"},
        {"rollout_steps", "16"},
        {"hidden", "256"},
        {"threads", "2"},
        {"repetitions", "5"}},
       BenchmarkRollouts},
      {"submit",
       "From `muster submit` to the first step of a job",
       {{"job", kMainJobName}, {"repetitions", "20"}},
       BenchmarkSubmit},
      {"train",
       "Images a second on 1 and 2 ranks",
       {{"job", kMainJobName}, {"repetitions", "5"}, {"steps", "150"}, {"torch", "yes"}},
       BenchmarkTrain},
      {"train-gpt2",
       "Tokens a second of training a GPT-2",
       {{"model", "124m"},
        {"type", "bf16"},
        {"batch", "8"},
        {"length", "256"},
        {"threads", "2"},
        {"steps", "5"},
        {"torch", "yes"}},
       TrainGpt2},
  };
  return all;
}

Status RunNamed(const std::string& name, bool json, const std::vector<std::string>& given) {
  for (const Known& bench : All()) {
    if (bench.name != name) continue;
    MUSTER_ASSIGN_OR_RETURN(const BenchmarkSettings settings,
                            BenchmarkSettings::Parse(given, bench.defaults));
    return bench.run(settings, json, std::cout);
  }
  return NotFound("there is no such benchmark");
}

}  // namespace

std::vector<BenchmarkInfo> Benchmarks() {
  std::vector<BenchmarkInfo> infos;
  for (const Known& bench : All()) {
    std::string settings;
    for (const auto& [key, value] : bench.defaults) {
      const bool job = key == "job";
      settings += (settings.empty() ? "" : " ") + key + "=" + (job ? "FILE" : value);
      if (job) settings += " (otherwise " + value + ", built in)";
    }
    infos.push_back({bench.name, bench.help, settings});
  }
  return infos;
}

int RunBenchmark(const std::string& name, bool json, const std::vector<std::string>& settings) {
  const Status status = RunNamed(name, json, settings);
  if (status.ok()) return 0;
  std::cerr << "muster: bench " << name << ": " << status.message() << std::endl;
  const bool usage =
      status.code() == StatusCode::kInvalidArgument || status.code() == StatusCode::kNotFound;
  return usage ? 2 : 5;
}

Result<BenchmarkSettings> BenchmarkSettings::Parse(const std::vector<std::string>& given,
                                                   std::map<std::string, std::string> defaults) {
  BenchmarkSettings settings;
  settings.values_ = std::move(defaults);
  for (const std::string& text : given) {
    const std::size_t equals = text.find('=');
    const std::string key = text.substr(0, equals);
    if (equals == std::string::npos || settings.values_.count(key) == 0) {
      std::string keys;
      for (const auto& [name, value] : settings.values_) keys += " " + name + "=" + value;
      return InvalidArgument("'" + text + "' is no setting; there are:" + keys);
    }
    settings.values_[key] = text.substr(equals + 1);
  }
  return settings;
}

Result<unsigned> BenchmarkSettings::Count(const std::string& key) const {
  const std::string& text = Text(key);
  char* end = nullptr;
  const unsigned long count = std::strtoul(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || count < 1 || count > 1'000'000) {
    return InvalidArgument(key + "=" + text + ": give a number of 1 to 1000000");
  }
  return static_cast<unsigned>(count);
}

Spread SpreadOf(std::vector<double> samples) {
  MUSTER_CHECK(!samples.empty(), "a spread needs samples");
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  const double median =
      samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
  return {median, samples.front(), samples.back()};
}

}  // namespace muster::tools
