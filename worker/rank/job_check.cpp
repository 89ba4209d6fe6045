#include "worker/rank/job_check.h"

#include <optional>

#include "trainer/rl/environment_options.h"
#include "wire/plugin_rules.h"
#include "wire/printable.h"
#include "worker/rank/check_apart.h"
#include "worker/rank/recipes.h"

namespace muster::rank {
namespace {

// Below what a rank gives a call of a plug-in.
constexpr std::chrono::seconds kPluginLimit{20};

// Makes the environment once, with the job's settings.
Status LoadEnvironment(const v1::JobSpec& spec) {
  if (spec.has_tabular()) return rl::MakeTabularEnvironment(TabularOptionsOf(spec)).status();
  return rl::MakeWrappedEnvs(PpoOptionsOf(spec).environment, 1).status();
}

}  // namespace

Status CheckJob(const v1::JobSpec& spec, const std::string& cache_directory, bool elsewhere) {
  const auto plan = [&] { return PlanRecipe(spec, cache_directory).status(); };
  const std::optional<wire::JobPlugin> plugin = wire::PluginOf(spec);
  if (!plugin) return elsewhere ? Status() : plan();
  const Status checked = CheckApart(
      plugin->field() + ": plug-in " + plugin->name,
      [&] { return elsewhere ? LoadEnvironment(spec) : plan(); }, kPluginLimit);
  if (checked.ok()) return checked;
  return {checked.code(), wire::Printable(checked.message(), 800)};  // Maybe the library's words.
}

}  // namespace muster::rank
