#include "envs/describe.h"

#include <array>
#include <cstdio>

#include "envs/registry.h"

namespace muster::envs {
namespace {

std::string Padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size() + 2, width), ' ');
  return text;
}

std::string PlainNumber(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", value);
  return text.data();
}

std::string Numbered(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(i) + " " + names[i];
  }
  return text;
}

std::string Line(const std::string& what, const std::string& text) {
  return text.empty() ? "" : Padded(what, 14) + text + "\n";
}

}  // namespace

std::string ListText() {
  std::string text;
  for (const EnvEntry& entry : Registry()) {
    text += Padded(entry.name, 26) + Padded(entry.group, 10) + entry.summary + "\n";
  }
  return text;
}

Result<std::string> ShowText(const std::string& name, const EnvOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<Env> env, MakeEnv(name, options));
  const EnvSpec& spec = env->spec();
  std::string text = spec.name + "\n";
  text += Line("observation", spec.observation.Text());
  text += Line("", Numbered(spec.elements));
  text += Line("action", spec.action.Text());
  text += Line("", Numbered(spec.actions));
  text += Line("reward", PlainNumber(spec.reward_low) + ".." + PlainNumber(spec.reward_high) +
                             (spec.solved_at ? ", learnt at " + PlainNumber(*spec.solved_at) : ""));
  text +=
      Line("time limit", spec.steps_max == 0 ? "none" : std::to_string(spec.steps_max) + " steps");
  text += Line("state", env->saves_state() ? "is saved" : "is restored by replay");
  text += Line("model", env->model() == nullptr ? "" : "known exactly");
  MUSTER_ASSIGN_OR_RETURN(const std::vector<OptionText> known, OptionsOf(name, options));
  for (const OptionText& option : known) {
    text += "  --set " + Padded(option.name + "=" + option.fallback, 28) + option.help + "\n";
  }
  return text;
}

}  // namespace muster::envs
