#include "bench/ppo.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "bench/median.h"
#include "bench/peer.h"
#include "bench/timing_host.h"
#include "collectives/local/local_group.h"
#include "trainer/rl/ppo_trainer.h"

namespace muster {
namespace {

constexpr std::uint64_t kUpdates = 42;
constexpr std::uint64_t kWarmUp = 2;

Result<double> StepsPerSecond(const PpoBenchmarkOptions& options, ThreadPool& pool,
                              std::uint64_t seed) {
  rl::PpoOptions ppo;
  ppo.environment.name = options.environment;
  ppo.envs = options.envs;
  ppo.rollout_steps = options.rollout_steps;
  ppo.lanes = options.lanes;
  ppo.seed = seed;
  ppo.total_steps = kUpdates * ppo.batch_size();
  const auto groups = CreateLocalGroups(1);
  TimingHost host(kWarmUp);
  MUSTER_RETURN_IF_ERROR(rl::TrainPpo(ppo, {}, *groups[0], pool, host).status());
  return static_cast<double>((kUpdates - kWarmUp) * ppo.batch_size()) / host.seconds();
}

// Steps a second with 4 x 128 and with ours.
constexpr const char* kPeer = R"(
import statistics, sys, time
import gymnasium, numpy as np, torch
from torch import nn
name, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)

def layer(width, out, gain):
    made = nn.Linear(width, out)
    nn.init.orthogonal_(made.weight, gain)
    nn.init.zeros_(made.bias)
    return made

def network(width, out, gain):
    return nn.Sequential(layer(width, 64, 2 ** 0.5), nn.Tanh(), layer(64, 64, 2 ** 0.5), nn.Tanh(),
                         layer(64, out, gain))

def measure(envs, steps):
    batched = name == "CartPole-v1" and envs > 64
    env = gymnasium.make_vec(name, num_envs=envs,
                             vectorization_mode="vector_entry_point" if batched else "sync")
    observation, _ = env.reset(seed=1)
    width = env.single_observation_space.shape[0]
    discrete = hasattr(env.single_action_space, "n")
    if not discrete:
        raise SystemExit("the peer serves discrete actions alone")
    actor = network(width, int(env.single_action_space.n), 0.01)
    critic = network(width, 1, 1.0)
    parameters = [*actor.parameters(), *critic.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2.5e-4, eps=1e-5)
    done = np.zeros(envs, bool)
    times = []
    for update in range(4):
        begin = time.perf_counter()
        obs = torch.zeros(steps, envs, width)
        acts = torch.zeros(steps, envs, dtype=torch.long)
        logs, rewards, dones, values = (torch.zeros(steps, envs) for _ in range(4))
        for t in range(steps):
            seen = torch.from_numpy(np.asarray(observation, np.float32))
            obs[t], dones[t] = seen, torch.from_numpy(done.astype(np.float32))
            with torch.no_grad():
                choice = torch.distributions.Categorical(logits=actor(seen))
                action = choice.sample()
                values[t], logs[t], acts[t] = critic(seen)[:, 0], choice.log_prob(action), action
            observation, reward, ended, cut, _ = env.step(action.numpy())
            rewards[t], done = torch.from_numpy(np.asarray(reward, np.float32)), ended | cut
        with torch.no_grad():
            after = critic(torch.from_numpy(np.asarray(observation, np.float32)))[:, 0]
            live, last = 1 - torch.from_numpy(done.astype(np.float32)), torch.zeros(envs)
            advantages = torch.zeros(steps, envs)
            for t in reversed(range(steps)):
                delta = rewards[t] + 0.99 * after * live - values[t]
                last = delta + 0.99 * 0.95 * live * last
                advantages[t], after, live = last, values[t], 1 - dones[t]
            targets = advantages + values
        flat = [x.reshape(steps * envs, *x.shape[2:]) for x in
                (obs, acts, logs, advantages, targets, values)]
        size = steps * envs // 4
        for _ in range(4):
            order = torch.randperm(steps * envs)
            for k in range(4):
                o, a, l, adv, target, old = (x[order[k * size:(k + 1) * size]] for x in flat)
                choice = torch.distributions.Categorical(logits=actor(o))
                ratio = (choice.log_prob(a) - l).exp()
                adv = (adv - adv.mean()) / (adv.std() + 1e-8)
                policy = torch.max(-adv * ratio, -adv * ratio.clamp(0.8, 1.2)).mean()
                value = critic(o)[:, 0]
                held = old + (value - old).clamp(-0.2, 0.2)
                loss = (policy - 0.01 * choice.entropy().mean() + 0.25 *
                        torch.max((value - target) ** 2, (held - target) ** 2).mean())
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, 0.5)
                optimizer.step()
        times.append(time.perf_counter() - begin)
    return envs * steps / statistics.median(times[1:])

print(measure(4, 128), measure(int(sys.argv[3]), int(sys.argv[4])))
)";

}  // namespace

Status RunPpoBenchmark(const PpoBenchmarkOptions& options, std::ostream& out) {
  ThreadPool pool(options.threads);
  std::vector<double> rates;
  for (std::size_t i = 0; i < std::max<std::size_t>(options.repetitions, 1); ++i) {
    MUSTER_ASSIGN_OR_RETURN(const double rate, StepsPerSecond(options, pool, i));
    rates.push_back(rate);
  }
  const double median = Median(rates);
  const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
  std::vector<double> peer = {0, 0};
  std::string remark;
  if (options.peers) {
    const auto measured =
        RunTorch(kPeer, {options.environment, std::to_string(options.threads),
                         std::to_string(options.envs), std::to_string(options.rollout_steps)});
    if (measured.ok() && measured->size() == 2) peer = *measured;
    if (!measured.ok()) remark = "PyTorch: " + measured.status().message();
  }
  std::array<char, 512> text{};
  if (options.json) {
    std::snprintf(text.data(), text.size(),
                  R"({"steps_per_s_median":%.0f,"steps_per_s_least":%.0f,"steps_per_s_most":%.0f,)"
                  R"("pytorch_4x128_steps_per_s":%.0f,"pytorch_same_steps_per_s":%.0f})",
                  median, *least, *most, peer[0], peer[1]);
    out << text.data() << std::endl;
    return {};
  }
  std::snprintf(text.data(), text.size(),
                "PPO in %s, %zu environments x %zu steps, %zu lanes, %zu threads: environment "
                "steps a second\n  Muster                     %10.0f (%.0f .. %.0f)\n",
                options.environment.c_str(), options.envs, options.rollout_steps, options.lanes,
                options.threads, median, *least, *most);
  out << text.data();
  for (std::size_t k = 0; k < 2 && peer[k] > 0; ++k) {
    std::snprintf(text.data(), text.size(), "  PyTorch, %-17s %10.0f: %.1f x as many in Muster\n",
                  k == 0 ? "4 x 128" : "the same", peer[k], median / peer[k]);
    out << text.data();
  }
  if (!remark.empty()) out << remark << "\n";
  out << std::flush;
  return {};
}

}  // namespace muster
