// The environments by name, and how one is made.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "envs/env.h"
#include "envs/options.h"
#include "envs/vector_env.h"

namespace muster::envs {

// One kind of environment. `make` asks `options` for what it knows and need not check the rest.
struct EnvEntry {
  std::string name;     // "CartPole-v1"
  std::string group;    // "classic", "toy_text", "tabular", "memory", "probe"
  std::string summary;  // Half a line.
  std::function<std::unique_ptr<Env>(OptionReader& options)> make;
  // Null where the generic batch serves. `steps_max` is the time limit that holds (0 = none).
  std::function<std::unique_ptr<VectorEnv>(OptionReader& options, std::size_t steps_max,
                                           const VectorOptions& batch)>
      make_batch;
};

// All that are built in, in the order in which `muster env list` shows them.
const std::vector<EnvEntry>& Registry();

// Makes an environment by its name (also Taxi-v3 and CliffWalking-v0, as older Gymnasiums call what
// is the same today), or by the path of a plug-in ("./my_env.so", plugin/). Every one
// knows the option max_episode_steps, its time limit (0 = none). kNotFound for an unknown name,
// with the nearest ones; kInvalidArgument for an unknown option or a wrong value.
Result<std::unique_ptr<Env>> MakeEnv(const std::string& name, const EnvOptions& options = {});

// The same for many that step together; the fast batch where there is one.
Result<std::unique_ptr<VectorEnv>> MakeVectorEnv(const std::string& name, const EnvOptions& options,
                                                 const VectorOptions& batch);

// The options that an environment knows, for `muster env show`. A plug-in is made with `options`.
Result<std::vector<OptionText>> OptionsOf(const std::string& name, EnvOptions options = {});

// What each folder adds to the registry.
std::vector<EnvEntry> ClassicEntries();
std::vector<EnvEntry> ToyTextEntries();
std::vector<EnvEntry> TabularEntries();
std::vector<EnvEntry> MemoryEntries();
std::vector<EnvEntry> ProbeEntries();

}  // namespace muster::envs
