#include "envs/registry.h"

#include <algorithm>

#include "envs/plugin/plugin_env.h"
#include "envs/wrappers/time_limit.h"

namespace muster::envs {
namespace {

constexpr double kStepsMax = 2147483647;

std::vector<EnvEntry> AllEntries() {
  std::vector<EnvEntry> all;
  for (auto entries :
       {ClassicEntries(), ToyTextEntries(), TabularEntries(), MemoryEntries(), ProbeEntries()}) {
    std::move(entries.begin(), entries.end(), std::back_inserter(all));
  }
  return all;
}

// Older names of what has not changed since (Taxi's rain did; it never worked before).
std::string Renamed(const std::string& name) {
  if (name == "Taxi-v3") return "Taxi-v4";
  if (name == "CliffWalking-v0") return "CliffWalking-v1";
  return name;
}

Result<const EnvEntry*> Find(const std::string& name) {
  for (const EnvEntry& entry : Registry()) {
    if (entry.name == Renamed(name)) return &entry;
  }
  std::vector<std::string> names;
  for (const EnvEntry& entry : Registry()) names.push_back(entry.name);
  std::string near;
  for (const std::string& candidate : NearestNames(name, names)) {
    near += (near.empty() ? "" : ", ") + candidate;
  }
  return NotFound("there is no environment '" + name + "'; the nearest names are " + near);
}

// The limit that the environment's own spec has, unless the option says otherwise.
std::size_t StepsMax(OptionReader& reader, const EnvSpec& spec) {
  return static_cast<std::size_t>(
      reader.Integer("max_episode_steps", static_cast<std::int64_t>(spec.steps_max), {0, kStepsMax},
                     "truncates an episode after so many steps; 0 = never"));
}

// A plug-in checks its own options; the time limit is taken out before it sees them.
Result<std::unique_ptr<Env>> MakePlugin(const std::string& path, EnvOptions options) {
  EnvOptions ours;
  if (auto limit = options.extract("max_episode_steps")) ours.insert(std::move(limit));
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<Env> env, LoadPlugin(path, options));
  OptionReader reader(std::move(ours));
  const std::size_t steps_max = StepsMax(reader, env->spec());
  MUSTER_RETURN_IF_ERROR(reader.Finish().During(path));
  return LimitTime(std::move(env), steps_max);
}

}  // namespace

const std::vector<EnvEntry>& Registry() {
  static const std::vector<EnvEntry> entries = AllEntries();
  return entries;
}

Result<std::unique_ptr<Env>> MakeEnv(const std::string& name, const EnvOptions& options) {
  if (IsPlugin(name)) return MakePlugin(name, options);
  MUSTER_ASSIGN_OR_RETURN(const EnvEntry* const entry, Find(name));
  OptionReader reader(options);
  std::unique_ptr<Env> env = entry->make(reader);
  const std::size_t steps_max = StepsMax(reader, env->spec());
  MUSTER_RETURN_IF_ERROR(reader.Finish().During(name));
  return LimitTime(std::move(env), steps_max);
}

Result<std::unique_ptr<VectorEnv>> MakeVectorEnv(const std::string& name, const EnvOptions& options,
                                                 const VectorOptions& batch) {
  if (batch.envs == 0) return InvalidArgument(name + ": a batch needs at least one environment");
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<Env> first, MakeEnv(name, options));
  const Result<const EnvEntry*> entry = Find(name);
  if (entry.ok() && (*entry)->make_batch) {
    OptionReader reader(options);  // Its values are known to be right.
    return (*entry)->make_batch(reader, first->spec().steps_max, batch);
  }
  std::vector<std::unique_ptr<Env>> envs;
  envs.push_back(std::move(first));
  while (envs.size() < batch.envs) {
    std::unique_ptr<Env> next = envs.front()->Clone();
    if (next == nullptr) {
      MUSTER_ASSIGN_OR_RETURN(next, MakeEnv(name, options));
    }
    envs.push_back(std::move(next));
  }
  return Batch(std::move(envs), batch.autoreset);
}

Result<std::vector<OptionText>> OptionsOf(const std::string& name, EnvOptions options) {
  if (IsPlugin(name)) {
    options.erase("max_episode_steps");
    MUSTER_ASSIGN_OR_RETURN(std::vector<OptionText> known, PluginOptions(name, options));
    MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<Env> env, LoadPlugin(name, options));
    OptionReader reader({});
    StepsMax(reader, env->spec());
    known.push_back(reader.known().front());
    return known;
  }
  MUSTER_ASSIGN_OR_RETURN(const EnvEntry* const entry, Find(name));
  OptionReader reader({});
  StepsMax(reader, entry->make(reader)->spec());
  return reader.known();
}

}  // namespace muster::envs
