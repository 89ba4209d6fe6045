#include "wire/command_rules.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <map>
#include <string_view>

#include "wire/printable.h"

namespace muster::wire {
namespace {

// Agents are sent it with every rank, again and again.
constexpr std::size_t kBytesMax = 64U << 10U;

bool IsVariableName(const std::string& name) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && letter(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
    return letter(c) || (c >= '0' && c <= '9');
  });
}

SpecProblem EnvironmentProblem(const v1::CommandRecipe& command, std::size_t& bytes) {
  // By name, so that of several problems the same one is told always.
  const std::map<std::string, std::string> entries(command.environment().begin(),
                                                   command.environment().end());
  for (const auto& [name, value] : entries) {
    const std::string field = "command.environment." + Printable(name);
    if (!IsVariableName(name)) {
      return {field, "is no name of a variable: letters, digits and '_', no digit first"};
    }
    if (IsReservedVariable(name)) {
      return {field, "is set by Muster itself; docs/guide/command.md lists these variables"};
    }
    bytes += name.size() + value.size() + 2;
  }
  return {};
}

}  // namespace

bool IsReservedVariable(const std::string& name) {
  static constexpr std::array<std::string_view, 8> kReserved = {
      "RANK",        "WORLD_SIZE",  "LOCAL_RANK", "LOCAL_WORLD_SIZE",
      "MASTER_ADDR", "MASTER_PORT", "NODE_RANK",  "CUDA_VISIBLE_DEVICES"};
  return name.starts_with("MUSTER_") ||
         std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end();
}

int WarningSignalOf(const std::string& name) {
  if (name == "SIGUSR1") return SIGUSR1;
  if (name == "SIGUSR2") return SIGUSR2;
  if (name == "SIGTERM") return SIGTERM;
  if (name == "SIGINT") return SIGINT;
  return 0;
}

SpecProblem CommandProblem(const v1::CommandRecipe& command) {
  if (command.arguments().empty()) {
    return {"command.arguments",
            "is missing; give the program and its arguments, as in [\"python3\", \"train.py\"]"};
  }
  if (command.arguments(0).empty()) return {"command.arguments[0]", "is empty; give a program"};
  std::size_t bytes = 0;
  for (const std::string& argument : command.arguments()) bytes += argument.size() + 1;
  if (SpecProblem problem = EnvironmentProblem(command, bytes); !problem.message.empty()) {
    return problem;
  }
  if (bytes > kBytesMax) {
    return {"command.arguments", "and command.environment hold " + std::to_string(bytes) +
                                     " bytes; the most is " + std::to_string(kBytesMax) +
                                     ": put them into a file"};
  }
  if (command.has_working_directory() && !command.working_directory().starts_with('/')) {
    return {"command.working_directory", "must be an absolute folder on the workers, but is " +
                                             Quoted(command.working_directory())};
  }
  if (command.has_working_directory() && command.has_ship_directory()) {
    return {"command.working_directory",
            "and command.ship_directory are given; programs start in one or the other"};
  }
  return {};
}

SpecProblem TimeLimitProblem(const v1::TimeLimit& limit) {
  if (WarningSignalOf(limit.warning_signal()) != 0) return {};
  return {"time_limit.warning_signal",
          "must be SIGUSR1, SIGUSR2, SIGTERM or SIGINT, but is " + Quoted(limit.warning_signal())};
}

}  // namespace muster::wire
