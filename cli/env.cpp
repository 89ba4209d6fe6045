// `muster env ACTION`: the library of environments, and plug-ins of one's own.
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"

namespace muster::cli {

void AddEnv(CommandLine& line, const Hooks& hooks) {
  const auto args = std::make_shared<EnvArgs>();
  Command command =
      line.Add("env", "Environments: list, show, play, trace, check, bench; new, build");
  command.Value("ACTION", args->action, "list, show, play, trace, check, bench, new or build")
      .Required()
      .OneOf({"list", "show", "play", "trace", "check", "bench", "new", "build"});
  command.Value("NAME", args->name, "An environment, the path of a plug-in (.so), or a new name")
      .Values("--set", args->settings, "KEY=VALUE: an option of the environment; may be repeated")
      .Value("--seed", args->seed, "play, trace, check: of the first episode")
      .Value("--actions", args->actions,
             "trace, play --gif: file of actions, one a line (- = standard input)")
      .Value("--agent", args->agent,
             "check: a job file with [ppo] or [vpg]; trains its agent in the five probes")
      .Value("--steps", args->steps,
             "check: random actions of each part; play --gif: at most so many")
      .Between(1, 100'000'000)
      .Value("--gif", args->gif, "play: write an animated GIF, of random actions without --actions")
      .Value("--episodes", args->episodes, "play --gif: at most so many")
      .Between(1, 10'000)
      .Value("--frame-ms", args->frame_ms,
             "play --gif: of each picture; otherwise 50, or 250 where observations are discrete")
      .Between(20, 60'000)
      .Value("--envs", args->envs, "bench: environments that step together")
      .Between(1, 1'000'000)
      .Value("-o,--output", args->output, "new: the folder; build: the library to write");
  command.Flag("--json", args->json, "list, bench: print objects")
      .Flag("--no-peers", args->no_peers, "bench: leave out Gymnasium, EnvPool and PufferLib")
      .Example("muster env play FrozenLake-v1 --set is_slippery=false")
      .More(
          "`muster env play CartPole-v1 --gif pole.gif --seed 3` writes one episode of random\n"
          "actions, of at most 1,000 steps; --steps alone goes on over as many episodes as it "
          "takes.\n"
          "`muster env check --agent job.toml` says which part of an agent does not work.\n"
          "`muster env new walk` writes walk.cpp, an environment of your own that works;\n"
          "`muster env build walk.cpp` makes walk.so; `muster env check ./walk.so` tries it out.")
      .Runs([args, &hooks] { return Report(hooks.run_env(*args)); });
}

}  // namespace muster::cli
