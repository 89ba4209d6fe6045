#include "worker/tools/env_tools.h"

#include <chrono>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <sstream>

#include "base/file.h"
#include "bench/env.h"
#include "envs/check.h"
#include "envs/describe.h"
#include "envs/plugin/crash_report.h"
#include "envs/plugin/new_plugin.h"
#include "envs/registry.h"
#include "envs/trace.h"
#include "tensor/thread_pool.h"
#include "trainer/rl/probe_agent.h"
#include "wire/job_file.h"
#include "wire/policy_rules.h"
#include "worker/rank/recipes.h"

namespace muster::tools {
namespace {

using envs::Env;
using envs::EnvOptions;

// Of a call into a plug-in. A built-in environment never takes so long.
constexpr std::chrono::seconds kHang{10};

Result<EnvOptions> SettingsOf(const EnvToolOptions& options) {
  EnvOptions settings;
  for (const std::string& text : options.settings) {
    MUSTER_RETURN_IF_ERROR(envs::AddOption(text, settings));
  }
  return settings;
}

Status List(const EnvToolOptions& options, std::ostream& out) {
  if (!options.json) {
    out << envs::ListText();
    return {};
  }
  for (const envs::EnvEntry& entry : envs::Registry()) {
    MUSTER_ASSIGN_OR_RETURN(const auto env, envs::MakeEnv(entry.name));
    const envs::EnvSpec& spec = env->spec();
    out << R"({"name":")" << entry.name << R"(","group":")" << entry.group << R"(","summary":")"
        << entry.summary << R"(","observation":")" << spec.observation.Text() << R"(","action":")"
        << spec.action.Text() << R"(","steps_max":)" << spec.steps_max << "}\n";
  }
  return {};
}

// What --actions holds, and its name in messages.
struct Actions {
  std::string text, file;
};

Result<Actions> ReadActions(const EnvToolOptions& options, std::istream& in) {
  if (options.actions == "-") {
    return Actions{{std::istreambuf_iterator<char>(in), {}}, "standard input"};
  }
  MUSTER_ASSIGN_OR_RETURN(std::string text, ReadFile(options.actions));
  return Actions{std::move(text), options.actions};
}

Status Trace(const EnvToolOptions& options, Env& env, std::istream& in, std::ostream& out) {
  if (options.actions.empty()) {
    return InvalidArgument(
        "env trace: which actions? Give --actions FILE, one a line (- = "
        "standard input)");
  }
  MUSTER_ASSIGN_OR_RETURN(const Actions actions, ReadActions(options, in));
  return envs::TraceEnv(env, options.seed, actions.text, actions.file, out);
}

Status Check(const EnvToolOptions& options, const EnvOptions& settings, std::ostream& out) {
  const envs::CheckOptions check{options.seed, options.steps};
  // What the user got wrong is no broken promise.
  MUSTER_RETURN_IF_ERROR(envs::MakeEnv(options.name, settings).status());
  const envs::EnvMaker make = [&] { return envs::MakeEnv(options.name, settings); };
  std::vector<envs::CheckLine> lines = envs::CheckEnv(make, check);
  const auto batches = envs::CheckBatch(
      make,
      [&](const envs::VectorOptions& batch) {
        return envs::MakeVectorEnv(options.name, settings, batch);
      },
      check);
  lines.insert(lines.end(), batches.begin(), batches.end());
  out << envs::TextOf(lines);
  if (envs::AllPassed(lines)) return {};
  return Internal(options.name + " does not keep its promises; see the lines above");
}

// Trains a job's agent in the probes: the first that fails says where to look.
Status CheckAgent(const EnvToolOptions& options, std::ostream& out) {
  if (!options.name.empty()) {
    return InvalidArgument("env check: give an environment or --agent, not both");
  }
  MUSTER_ASSIGN_OR_RETURN(v1::JobSpec spec, wire::LoadJobFile(options.agent, {}));
  wire::FillDefaults(spec);
  MUSTER_RETURN_IF_ERROR(wire::ValidateSpec(spec).During(options.agent));
  if (!wire::CollectsRollouts(spec)) {
    return InvalidArgument(options.agent + ": --agent needs a job with [ppo] or [vpg]");
  }
  const rl::PpoOptions agent = rank::PpoOptionsOf(spec);
  // Of these a failed probe would not say that they are broken.
  if (agent.policy.hidden.empty()) {
    return InvalidArgument(options.agent +
                           ": the probes are for networks with hidden layers; kind = \"linear\" "
                           "learns them too slowly. Probe a copy with kind = \"mlp\"");
  }
  if (agent.policy.sde) {
    return InvalidArgument(options.agent +
                           ": the probes have choices for actions, use_sde wants numbers. Probe a "
                           "copy with use_sde = false");
  }
  ThreadPool pool(1);
  MUSTER_ASSIGN_OR_RETURN(const std::vector<rl::ProbeResult> probes,
                          rl::ProbeAgent(agent, pool, {.steps_factor = 10, .tolerance_factor = 5}));
  std::string broken;
  for (const rl::ProbeResult& probe : probes) {
    out << (probe.passed ? "ok    " : "FAIL  ") << probe.name << ": " << probe.learnt << "\n";
    if (!probe.passed && broken.empty()) broken = probe.name + ": look at " + probe.look_at;
  }
  if (broken.empty()) return {};
  return Internal("the agent of " + options.agent + " does not learn " + broken);
}

// "0 = left, 1 = right", or what the space is.
std::string ActionsText(const envs::EnvSpec& spec) {
  std::string text;
  for (std::size_t i = 0; i < spec.actions.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(i) + " = " + spec.actions[i];
  }
  return text.empty() ? spec.action.Text() : text;
}

Status PlayToGif(const EnvToolOptions& options, Env& env, std::istream& in, std::ostream& out) {
  if (options.actions.empty()) {
    RandomPolicy policy(env.spec(), options.seed);
    return WriteEnvGif(env, options.seed, policy, options.gif, out);
  }
  MUSTER_ASSIGN_OR_RETURN(Actions actions, ReadActions(options, in));
  ListedPolicy policy(env.spec(), std::move(actions.text), actions.file);
  return WriteEnvGif(env, options.seed, policy, options.gif, out);
}

Status Play(const EnvToolOptions& options, Env& env, std::istream& in, std::ostream& out) {
  if (!options.gif.path.empty()) return PlayToGif(options, env, in, out);
  MUSTER_RETURN_IF_ERROR(env.Reset(options.seed));
  out << "An action a line: " << ActionsText(env.spec()) << "; r begins again, q ends.\n"
      << env.RenderText() << "\n> " << std::flush;
  double sum = 0;
  std::size_t steps = 0;
  for (std::string line; std::getline(in, line);) {
    if (line == "q") break;
    if (line == "r") {
      MUSTER_RETURN_IF_ERROR(env.Reset());
      sum = 0;
      steps = 0;
      out << env.RenderText() << "\n> " << std::flush;
      continue;
    }
    const auto action = ActionOf(env.spec(), line);
    const Result<envs::Transition> step =
        action.ok() ? env.Step(*action) : Result<envs::Transition>(action.status());
    if (!step.ok()) {  // A slip of the player's.
      if (step.status().code() != StatusCode::kInvalidArgument) return step.status();
      out << step.status().message() << "\n> " << std::flush;
      continue;
    }
    sum += step->reward;
    ++steps;
    out << env.RenderText() << "\nreward " << step->reward << ", return " << sum << " after "
        << steps << " steps";
    if (step->ended()) {
      out << (step->terminated ? "; terminated" : "") << (step->truncated ? "; truncated" : "")
          << ": a new episode\n";
      MUSTER_RETURN_IF_ERROR(env.Reset());
      sum = 0;
      steps = 0;
      out << env.RenderText();
    }
    out << "\n> " << std::flush;
  }
  out << std::endl;
  return {};
}

Status New(const EnvToolOptions& options, std::ostream& out) {
  const std::string folder = options.output.empty() ? "." : options.output;
  MUSTER_RETURN_IF_ERROR(envs::NewPlugin(options.name, folder));
  const std::string source = (std::filesystem::path(folder) / (options.name + ".cpp")).string();
  out << "Wrote " << source << " and muster_env.h. Next:\n  muster env build " << source
      << "\n  muster env check ./" << options.name << ".so" << std::endl;
  return {};
}

Status Build(const EnvToolOptions& options, std::ostream& out) {
  std::string library = options.output;
  if (library.empty()) {
    library = std::filesystem::path(options.name).filename().replace_extension(".so").string();
  }
  MUSTER_RETURN_IF_ERROR(envs::BuildPlugin(options.name, library));
  out << library << std::endl;
  return {};
}

Status Bench(const EnvToolOptions& options, std::ostream& out) {
  EnvBenchmarkOptions bench;
  bench.name = options.name;
  bench.envs = options.envs;
  bench.peers = options.peers;
  bench.json = options.json;
  return RunEnvBenchmark(bench, out);
}

}  // namespace

Status RunEnvTool(const EnvToolOptions& options, std::istream& in, std::ostream& out) {
  const std::string& action = options.action;
  if (action == "list") return List(options, out);
  if (action == "bench") {
    envs::ReportPluginCrashes();
    return Bench(options, out);
  }
  const bool known = action == "show" || action == "play" || action == "trace" ||
                     action == "check" || action == "new" || action == "build";
  if (!known) {
    return InvalidArgument("env '" + action +
                           "': list, show, play, trace, check, bench, new or build");
  }
  if (action == "check" && !options.agent.empty()) return CheckAgent(options, out);
  if (options.name.empty()) {
    return InvalidArgument("env " + action + ": which one? `muster env list` names them");
  }
  if (action == "new") return New(options, out);
  if (action == "build") return Build(options, out);
  MUSTER_ASSIGN_OR_RETURN(const EnvOptions settings, SettingsOf(options));
  envs::ReportPluginCrashes();
  const envs::PluginWatchdog watchdog(kHang);
  if (action == "check") return Check(options, settings, out);
  if (action == "show") {
    MUSTER_ASSIGN_OR_RETURN(const std::string text, envs::ShowText(options.name, settings));
    out << text;
    return {};
  }
  MUSTER_ASSIGN_OR_RETURN(const auto env, envs::MakeEnv(options.name, settings));
  return action == "trace" ? Trace(options, *env, in, out) : Play(options, *env, in, out);
}

}  // namespace muster::tools
