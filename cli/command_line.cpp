#include "cli/command_line.h"

// CLI11's parts depend on each other in this order.
// clang-format off
#include <CLI/App.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Config.hpp>
// clang-format on

#include <algorithm>
#include <charconv>
#include <iostream>
#include <limits>
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

namespace {

// CLI11 alone would take "-1" for 2^64 - 1, "" for 0, "010" for 8, and cap what is too large.
template <class Number>
CLI::Validator WholeNumber() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        Number number = 0;
        const char* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, number);
        if (text.empty() || stop != end || error != std::errc()) {
          return wire::Quoted(text) + " is not a whole number from 0 to " +
                 std::to_string(std::numeric_limits<Number>::max());
        }
        text = std::to_string(number);
        return "";
      },
      "");
}

}  // namespace

Command::Command(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Command& Command::Value(const std::string& name, std::string& value, const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("TEXT");
  return *this;
}
Command& Command::Value(const std::string& name, std::uint64_t& value, const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("N");
  parts_->last->transform(WholeNumber<std::uint64_t>())->capture_default_str();
  return *this;
}
Command& Command::Value(const std::string& name, unsigned& value, const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("N");
  parts_->last->transform(WholeNumber<unsigned>())->capture_default_str();
  return *this;
}
Command& Command::Value(const std::string& name, std::optional<std::uint64_t>& value,
                        const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("N");
  parts_->last->transform(WholeNumber<std::uint64_t>());
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
  parts_->last->required()->default_str("");
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

// The error, or what probably led to it: the first of `arguments` that looks like an option and is
// none of `app`'s, with the nearest that is.
std::string Explained(const CLI::App& app, const std::vector<std::string>& arguments,
                      const CLI::ParseError& error) {
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back(name);
  }
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (!argument.starts_with("--")) continue;
    const std::string given = argument.substr(2, argument.find('=') - 2);
    if (std::find(known.begin(), known.end(), given) != known.end()) continue;
    const std::string near = wire::Nearest(given, known);
    return app.get_name() + " has no option " + wire::Quoted("--" + given) +
           (near.empty() ? "" : "; did you mean '--" + near + "'?");
  }
  return wire::Printable(error.what(), 300);
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
    const CLI::App& app = chosen.empty() ? parts_->app : *chosen[0];
    const std::vector<std::string> arguments(argv + (chosen.empty() ? 1 : 2), argv + argc);
    const std::string command = chosen.empty() ? "muster" : "muster " + app.get_name();
    return Usage(Explained(app, arguments, error) + "; see `" + command + " --help`");
  }
  for (const auto& [app, action] : parts_->commands) {
    if (app->parsed()) return (*action)();
  }
  return Usage("no command given; see `muster --help`");
}

}  // namespace muster::cli
