#include "cli/command_line.h"

// CLI11's parts depend on each other in this order.
// clang-format off
#include <CLI/App.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Config.hpp>
// clang-format on

#include <algorithm>
#include <iostream>
#include <string_view>

#include "cli/exit_code.h"
#include "wire/printable.h"

namespace muster::cli {

struct Command::Parts {
  CLI::App* app = nullptr;
  CLI::Option* last = nullptr;
  std::function<int()>* action = nullptr;
};

struct CommandLine::Parts {
  CLI::App app;
  std::vector<std::unique_ptr<std::function<int()>>> actions;
  std::vector<std::string> names;
  std::vector<std::pair<CLI::App*, std::function<int()>*>> commands;
};

Command::Command(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Command& Command::Value(const std::string& name, std::string& value, const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("TEXT");
  return *this;
}
Command& Command::Value(const std::string& name, std::uint64_t& value, const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("N");
  return *this;
}
Command& Command::Value(const std::string& name, unsigned& value, const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("N");
  return *this;
}
Command& Command::Value(const std::string& name, std::optional<std::uint64_t>& value,
                        const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("N");
  return *this;
}
Command& Command::Values(const std::string& name, std::vector<std::string>& values,
                         const std::string& help) {
  parts_->last = parts_->app->add_option(name, values, help)->type_name("TEXT");
  if (name.starts_with('-')) parts_->last->expected(1)->take_all();
  return *this;
}
Command& Command::Flag(const std::string& name, bool& value, const std::string& help) {
  parts_->last = parts_->app->add_flag(name, value, help);
  return *this;
}
Command& Command::Required() {
  parts_->last->required();
  return *this;
}
Command& Command::Hidden() {
  parts_->last->group("");
  return *this;
}
Command& Command::Environment(const std::string& variable) {
  parts_->last->envname(variable);
  return *this;
}
Command& Command::Example(const std::string& text) {
  parts_->app->footer("Example:\n  " + text);
  return *this;
}
Command& Command::Runs(std::function<int()> action) {
  *parts_->action = std::move(action);
  return *this;
}

CommandLine::CommandLine(const std::string& description) : parts_(std::make_unique<Parts>()) {
  parts_->app.description(description);
  parts_->app.name("muster");
  parts_->app.require_subcommand(1);
  parts_->app.get_formatter()->column_width(28);
}

CommandLine::~CommandLine() = default;

Command CommandLine::Add(const std::string& name, const std::string& description) {
  auto command = std::make_unique<Command::Parts>();
  command->app = parts_->app.add_subcommand(name, description);
  if (description.empty()) {
    command->app->group("");
  } else {
    parts_->names.push_back(name);
  }
  parts_->actions.push_back(std::make_unique<std::function<int()>>());
  command->action = parts_->actions.back().get();
  parts_->commands.emplace_back(command->app, command->action);
  return Command(std::move(command));
}

namespace {

int Usage(const std::string& message) {
  std::cerr << "muster: " << message << std::endl;
  return kExitUsage;
}

// The first argument that is not one of `app`'s options, with the nearest that is.
std::string UnknownOption(const CLI::App& app, const CLI::ParseError& error) {
  std::string message = wire::Printable(error.what(), 300);
  const std::size_t at = message.find("--");
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr || at == std::string::npos) {
    return message;
  }
  std::string given = message.substr(at + 2);
  given = given.substr(0, given.find_first_of(" ="));
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back(name);
  }
  message = app.get_name() + " has no option '--" + given + "'";
  const std::string near = wire::Nearest(given, known);
  return message + (near.empty() ? "" : "; did you mean '--" + near + "'?");
}

}  // namespace

int CommandLine::Run(int argc, const char* const* argv) {
  if (argc < 2) {
    std::cout << parts_->app.help();
    return kExitUsage;
  }
  const std::string first = argv[1];
  const bool known = std::any_of(parts_->commands.begin(), parts_->commands.end(),
                                 [&](const auto& c) { return c.first->get_name() == first; });
  if (!first.starts_with('-') && !known) {
    const std::string near = wire::Nearest(first, parts_->names);
    return Usage("unknown command " + wire::Quoted(first) +
                 (near.empty() ? "; see `muster --help`" : "; did you mean '" + near + "'?"));
  }
  try {
    parts_->app.parse(argc, argv);
  } catch (const CLI::Success&) {  // --help
    const auto chosen = parts_->app.get_subcommands();
    std::cout << (chosen.empty() ? parts_->app.help() : chosen[0]->help("muster"));
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    const auto chosen = parts_->app.get_subcommands();
    if (chosen.empty()) return Usage(UnknownOption(parts_->app, error) + "; see `muster --help`");
    return Usage(UnknownOption(*chosen[0], error) + "; see `muster " + chosen[0]->get_name() +
                 " --help`");
  }
  for (const auto& [app, action] : parts_->commands) {
    if (app->parsed()) return (*action)();
  }
  return Usage("no command given; see `muster --help`");
}

}  // namespace muster::cli
