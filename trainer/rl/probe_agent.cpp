#include "trainer/rl/probe_agent.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "collectives/local/local_group.h"
#include "trainer/rl/ppo_trainer.h"

namespace muster::rl {
namespace {

struct Expected {
  float observation;
  double value;
  int action;  // That has to be certain; -1 = there is no choice.
};

struct Probe {
  std::uint64_t steps;
  double tolerance;
  std::vector<Expected> expected;
  const char* look_at;
  bool one_episode = false;  // The expected ones are its steps; otherwise each has its own.
};

// Steps and tolerances are those of the ARENA curriculum, chapter 2.3.
std::array<Probe, 5> Probes(double gamma) {
  return {
      {{7'500, 1e-3, {{0, 1, -1}}, "the value loss, or the optimiser's step"},
       {7'500, 1e-3, {{-1, -1, -1}, {1, 1, -1}}, "what the critic gets as its observation"},
       {12'500, 1e-3, {{0, gamma, -1}, {1, 1, -1}}, "how rewards are discounted over steps", true},
       {20'000, 2e-3, {{0, 1, 1}}, "the advantages, or the sign of the policy's loss"},
       {20'000,
        2e-3,
        {{0, 1, 0}, {1, 1, 1}},
        "what the policy gets as its observation, or how samples are put in order"}}};
}

class SilentHost : public TrainerHost {
 public:
  void Started(std::uint64_t, std::uint64_t) override {}
  void StepDone(std::uint64_t, std::uint64_t) override {}
  Status SaveCheckpoint(const CheckpointNotice&) override { return {}; }
  bool StopRequested() override { return false; }
};

std::string Printed(const char* format, double a, double b, double c) {
  char text[96];
  std::snprintf(text, sizeof(text), format, a, b, c);
  return text;
}

Result<ProbeResult> Compare(const PpoOptions& options, const Probe& probe,
                            const std::vector<float>& values) {
  MUSTER_ASSIGN_OR_RETURN(const PpoPlan plan, PlanPpo(options, 1));
  MUSTER_ASSIGN_OR_RETURN(const auto policy,
                          Policy::Create(options.policy, plan.spec.observation, plan.spec.action));
  ProbeResult result;
  result.name = options.environment.name;
  result.passed = true;
  const std::vector<LeafBinding> leaves = policy->parameters().Bind(values, {});
  std::vector<float> memory(policy->memory());
  for (const Expected& expected : probe.expected) {
    if (!probe.one_episode) std::fill(memory.begin(), memory.end(), 0.0F);
    Tape tape({.inference = true});
    tape.Begin(leaves);
    const Policy::Outputs outputs = policy->Both(tape, tape.Input({1, 1}, &expected.observation),
                                                 {.memory = memory, .after = memory});
    const auto value = static_cast<double>(outputs.values.data()[0]);
    if (!result.learnt.empty()) result.learnt += ", ";
    result.learnt += Printed("V(%g) = %.4f (%.4f)", static_cast<double>(expected.observation),
                             value, expected.value);
    bool near = std::abs(value - expected.value) <= probe.tolerance;
    if (expected.action >= 0) {
      const LogProbsAndEntropy taken =
          policy->LogProbs(tape, outputs.actor, {.choices = {expected.action}, .numbers = {}});
      const double probability = std::exp(static_cast<double>(taken.log_probs.data()[0]));
      result.learnt += Printed(", P(%g | %g) = %.4f (1)", static_cast<double>(expected.action),
                               static_cast<double>(expected.observation), probability);
      near = near && probability >= 1 - probe.tolerance;
    }
    result.passed = result.passed && near;
  }
  if (!result.passed) result.look_at = probe.look_at;
  return result;
}

}  // namespace

Result<std::vector<ProbeResult>> ProbeAgent(const PpoOptions& agent, ThreadPool& pool,
                                            const ProbeMarks& marks) {
  const auto groups = CreateLocalGroups(1);
  SilentHost host;
  const TrainingRun run;
  std::vector<ProbeResult> results;
  for (Probe probe : Probes(static_cast<double>(agent.gamma))) {
    probe.steps *= marks.steps_factor;
    probe.tolerance *= marks.tolerance_factor;
    PpoOptions options = agent;
    options.environment = {};
    options.environment.name = "Probe" + std::to_string(results.size() + 1) + "-v0";
    options.evaluation = {};
    options.total_steps = probe.steps;
    options.envs = 4;
    options.rollout_steps = 128;
    options.minibatches = 4;
    options.epochs = 4;
    options.lanes = 1;
    options.learning_rate = 1e-3F;
    options.entropy_coefficient = 0;
    MUSTER_ASSIGN_OR_RETURN(const PpoResult trained,
                            TrainPpo(options, run, *groups[0], pool, host));
    MUSTER_ASSIGN_OR_RETURN(ProbeResult result, Compare(options, probe, trained.values));
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace muster::rl
