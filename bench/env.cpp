#include "bench/env.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

#include "bench/median.h"
#include "bench/peer.h"
#include "envs/registry.h"
#include "envs/sample.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRound{50};
constexpr std::size_t kActions = 32;  // Sets of actions that steps go through.

// Millions of steps a second of Gymnasium, EnvPool and PufferLib for each name, 0 where there is
// none. Gymnasium has NumPy's vector class for CartPole alone and steps the others one by one.
constexpr const char* kPeers = R"(
import statistics, sys, time, warnings
warnings.filterwarnings("ignore")
import os
os.environ["OMP_NUM_THREADS"] = "1"
envs, rounds, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

def measure(step, envs):
    step()
    rates = []
    for _ in range(rounds):
        count, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < 0.05:
            step()
            count += 1
        rates.append(count * envs / (time.perf_counter() - begin) / 1e6)
    return statistics.median(rates)

def guarded(peer):
    def run(name):
        try:
            return peer(name)
        except Exception:
            return 0.0
    return run

@guarded
def gymnasium(name):
    import gymnasium
    vector = name == "CartPole-v1"
    count = envs if vector else min(envs, 64)
    env = gymnasium.make_vec(name, num_envs=count, vectorization_mode="vector_entry_point"
                             if vector else "sync")
    env.reset(seed=1)
    actions = [env.action_space.sample() for _ in range(32)]
    turn = iter(range(10**12))
    return measure(lambda: env.step(actions[next(turn) % 32]), count)

@guarded
def envpool(name):
    import envpool, numpy
    env = envpool.make_gymnasium(name, num_envs=envs, num_threads=1)
    env.reset()
    env.action_space.seed(1)
    actions = [numpy.array([env.action_space.sample() for _ in range(envs)]) for _ in range(8)]
    turn = iter(range(10**12))
    return measure(lambda: env.step(actions[next(turn) % 8]), envs)

@guarded
def pufferlib(name):
    if name != "CartPole-v1":
        return 0.0
    import numpy
    from pufferlib.ocean.cartpole.cartpole import Cartpole
    env = Cartpole(num_envs=envs, report_interval=10**9)
    env.reset()
    actions = numpy.random.randint(0, 2, (32, envs))
    turn = iter(range(10**12))
    return measure(lambda: env.step(actions[next(turn) % 32]), envs)

print(*[value for name in names for value in (gymnasium(name), envpool(name), pufferlib(name))])
)";

// One environment's batch and the actions that it is given.
struct Runner {
  std::string name;
  std::unique_ptr<envs::VectorEnv> env;
  std::vector<envs::ValueArray> actions;
  std::vector<double> rates;  // Millions of steps a second.

  Status Begin() {
    const envs::Space& space = env->spec().action;
    envs::NumpyRandom random(1);
    envs::ValueArray one(space.dtype, space.elements());
    for (std::size_t k = 0; k < kActions; ++k) {
      actions.emplace_back(space.dtype, env->envs() * space.elements());
      for (std::size_t i = 0; i < env->envs(); ++i) {
        envs::Sample(space, random, one);
        actions.back().Set(i * space.elements(), one);
      }
    }
    MUSTER_RETURN_IF_ERROR(env->ResetFrom(1));
    for (const envs::ValueArray& set : actions) MUSTER_RETURN_IF_ERROR(env->Step(set));
    return {};
  }

  Status Measure() {
    std::size_t steps = 0;
    const auto begin = Clock::now();
    while (Clock::now() - begin < kRound) {
      for (const envs::ValueArray& set : actions) MUSTER_RETURN_IF_ERROR(env->Step(set));
      steps += kActions * env->envs();
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    rates.push_back(static_cast<double>(steps) / seconds / 1e6);
    return {};
  }
};

Result<std::vector<Runner>> MakeRunners(const EnvBenchmarkOptions& options) {
  std::vector<std::string> names;
  for (const envs::EnvEntry& entry : envs::Registry()) names.push_back(entry.name);
  if (!options.name.empty()) names = {options.name};
  std::vector<Runner> runners;
  for (const std::string& name : names) {
    MUSTER_ASSIGN_OR_RETURN(auto env, envs::MakeVectorEnv(name, {}, {.envs = options.envs}));
    runners.push_back({.name = name, .env = std::move(env), .actions = {}, .rates = {}});
    MUSTER_RETURN_IF_ERROR(runners.back().Begin());
  }
  return runners;
}

// Of each runner Gymnasium, EnvPool, PufferLib; zeros where they are not to be had.
std::vector<double> Peers(const EnvBenchmarkOptions& options, const std::vector<Runner>& runners,
                          std::string& remark) {
  std::vector<double> rates(3 * runners.size());
  if (!options.peers) return rates;
  std::vector<std::string> arguments = {std::to_string(options.envs),
                                        std::to_string(options.rounds)};
  for (const Runner& runner : runners) arguments.push_back(runner.name);
  const auto measured = RunTorch(kPeers, arguments);
  if (measured.ok() && measured->size() == rates.size()) return *measured;
  remark = "peers: " + (measured.ok() ? "an unexpected answer" : measured.status().message());
  return rates;
}

std::string Rate(double rate) {
  if (rate <= 0) return "         -";
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%10.2f", rate);
  return text.data();
}

}  // namespace

Status RunEnvBenchmark(const EnvBenchmarkOptions& options, std::ostream& out) {
  MUSTER_ASSIGN_OR_RETURN(std::vector<Runner> runners, MakeRunners(options));
  for (std::size_t round = 0; round < std::max<std::size_t>(options.rounds, 1); ++round) {
    for (Runner& runner : runners) MUSTER_RETURN_IF_ERROR(runner.Measure());
  }
  std::string remark;
  const std::vector<double> peers = Peers(options, runners, remark);
  if (!options.json) {
    out << options.envs << " environments, one thread, millions of steps a second\n"
        << "                              Muster (least .. most)       Gymnasium   EnvPool "
           "PufferLib\n";
  }
  std::string json = "{";
  for (std::size_t i = 0; i < runners.size(); ++i) {
    const Runner& runner = runners[i];
    const double median = Median(runner.rates);
    const auto [least, most] = std::minmax_element(runner.rates.begin(), runner.rates.end());
    std::array<char, 256> line{};
    if (options.json) {
      std::snprintf(line.data(), line.size(),
                    "%s\"%s\":{\"steps_per_s_median\":%.0f,\"gymnasium\":%.0f,\"envpool\":%.0f,"
                    "\"pufferlib\":%.0f}",
                    i > 0 ? "," : "", runner.name.c_str(), median * 1e6, peers[3 * i] * 1e6,
                    peers[3 * i + 1] * 1e6, peers[3 * i + 2] * 1e6);
      json += line.data();
      continue;
    }
    std::snprintf(line.data(), line.size(), "%-26s%10.2f (%.2f .. %.2f)", runner.name.c_str(),
                  median, *least, *most);
    std::string text = line.data();
    text.resize(std::max<std::size_t>(text.size(), 56), ' ');
    out << text << Rate(peers[3 * i]) << Rate(peers[3 * i + 1]) << Rate(peers[3 * i + 2]) << "\n";
  }
  if (options.json) out << json << "}\n";
  if (!remark.empty() && !options.json) out << remark << "\n";
  out << std::flush;
  return {};
}

}  // namespace muster
