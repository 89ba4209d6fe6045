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
      .Value("--actions", args->actions, "trace: file of actions, one a line (- = standard input)")
      .Value("--steps", args->steps, "check: random actions of each part")
      .Between(1, 100'000'000)
      .Value("--envs", args->envs, "bench: environments that step together")
      .Between(1, 1'000'000)
      .Value("-o,--output", args->output, "new: the folder; build: the library to write");
  command.Flag("--json", args->json, "list, bench: print objects")
      .Flag("--no-peers", args->no_peers, "bench: leave out Gymnasium, EnvPool and PufferLib")
      .Example("muster env play FrozenLake-v1 --set is_slippery=false")
      .More(
          "`muster env new walk` writes walk.cpp, an environment of your own that works;\n"
          "`muster env build walk.cpp` makes walk.so; `muster env check ./walk.so` tries it out.")
      .Runs([args, &hooks] { return Report(hooks.run_env(*args)); });
}

}  // namespace muster::cli
