#include "wire/plugin_rules.h"

#include <filesystem>

#include "wire/data_reference.h"
#include "wire/manifest.h"
#include "wire/printable.h"

namespace muster::wire {
namespace {

constexpr std::string_view kEnding = ".so";
constexpr std::string_view kLibrary = ".environment_library";

// Calls `visit` with the recipe and its name, where it is one that has an environment. `Spec` may
// be const.
template <class Spec, class Visit>
void VisitRecipe(Spec& spec, Visit visit) {
  constexpr bool kConst = std::is_const_v<Spec>;
  if constexpr (kConst) {
    if (spec.has_ppo()) visit(spec.ppo(), "ppo");
    if (spec.has_vpg()) visit(spec.vpg(), "vpg");
    if (spec.has_tabular()) visit(spec.tabular(), "tabular");
  } else {
    if (spec.has_ppo()) visit(*spec.mutable_ppo(), "ppo");
    if (spec.has_vpg()) visit(*spec.mutable_vpg(), "vpg");
    if (spec.has_tabular()) visit(*spec.mutable_tabular(), "tabular");
  }
}

}  // namespace

std::optional<JobPlugin> PluginOf(const v1::JobSpec& spec) {
  std::optional<JobPlugin> plugin;
  VisitRecipe(spec, [&plugin](const auto& recipe, const char* name) {
    if (!recipe.has_environment_library()) return;
    plugin = JobPlugin{name, recipe.environment(), recipe.environment_library()};
  });
  return plugin;
}

void SetPluginLibrary(v1::JobSpec& spec, const std::string& library) {
  VisitRecipe(spec,
              [&library](auto& recipe, const char*) { recipe.set_environment_library(library); });
}

bool IsPluginField(std::string_view field) { return field.ends_with(kLibrary); }

void TakePlugin(v1::JobSpec& spec, FieldOrigins& origins, const std::string& folder) {
  VisitRecipe(spec, [&](auto& recipe, const std::string& name) {
    const std::string given = recipe.environment();
    if (!given.ends_with(kEnding) || recipe.has_environment_library()) return;
    const auto origin = origins.find(name + ".environment");
    const bool known = origin != origins.end();
    std::string library = given;
    if (!IsDataReference(given)) {
      const bool overridden = known && origin->second.starts_with("--set ");
      const std::filesystem::path base =
          overridden ? std::filesystem::absolute(".") : std::filesystem::path(folder);
      library = (base / given).lexically_normal().string();
    }
    recipe.set_environment(std::filesystem::path(given).filename().string());
    recipe.set_environment_library(library);
    if (known) origins.emplace(name + std::string(kLibrary), origin->second);
  });
}

SpecProblem PluginProblem(const v1::JobSpec& spec) {
  SpecProblem problem;
  VisitRecipe(spec, [&problem](const auto& recipe, const std::string& name) {
    const std::string& environment = recipe.environment();
    const bool plugin = environment.ends_with(kEnding);
    if (!plugin && recipe.has_environment_library()) {
      problem = {name + std::string(kLibrary), "belongs to a plug-in, but environment is " +
                                                   Quoted(environment) +
                                                   "; give environment = \"NAME.so\""};
    } else if (plugin && !IsPlainFileName(environment)) {
      problem = {name + ".environment",
                 "must be a file whose name has letters, digits, '.', '_' and '-' only, but is " +
                     Quoted(environment)};
    } else if (plugin && !recipe.has_environment_library()) {
      problem = {name + ".environment",
                 "is the plug-in " + Quoted(environment) +
                     ", whose library does not come with it; `muster submit` and `run` send it"};
    }
  });
  return problem;
}

}  // namespace muster::wire
