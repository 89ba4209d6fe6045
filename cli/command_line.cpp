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
#include <map>
#include <string_view>

#include "base/check.h"
#include "cli/exit_code.h"
#include "wire/printable.h"

namespace muster::cli {

using Choices = std::map<const CLI::Option*, std::vector<std::string>>;

struct NumberRange {
  std::uint64_t least = 0, most = 0;
};

struct Command::Parts {
  CLI::App* app = nullptr;
  CLI::Option* last = nullptr;
  std::shared_ptr<NumberRange> range;  // Of the last one, if that is a number.
  Choices* choices = nullptr;
  std::string footer;
  std::function<int()>* action = nullptr;
};

struct CommandLine::Parts {
  CLI::App app;
  std::string version;
  bool version_asked = false;  // Of the parser; Run() looks first.
  Choices choices;
  std::vector<std::unique_ptr<std::function<int()>>> actions;
  std::vector<std::string> names;
  std::vector<std::pair<CLI::App*, std::function<int()>*>> commands;
};

namespace {

// CLI11 alone would take "-1" for 2^64 - 1, "" for 0, "010" for 8, and cap what is too large.
CLI::Validator WholeNumber(std::shared_ptr<NumberRange> range) {
  return CLI::Validator(
      [range = std::move(range)](std::string& text) -> std::string {
        std::uint64_t number = 0;
        const char* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, number);
        if (text.empty() || stop != end || error != std::errc() || number < range->least ||
            number > range->most) {
          return wire::Quoted(text) + " is not a whole number from " +
                 std::to_string(range->least) + " to " + std::to_string(range->most);
        }
        text = std::to_string(number);
        return "";
      },
      "");
}

}  // namespace

Command::Command(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

namespace {

template <class Number>
std::shared_ptr<NumberRange> AllOf() {
  return std::make_shared<NumberRange>(NumberRange{0, std::numeric_limits<Number>::max()});
}

}  // namespace

Command& Command::Value(const std::string& name, std::string& value, const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("TEXT");
  // A variable that a script has forgotten to set must not mean the default.
  parts_->last->check(CLI::Validator(
      [](const std::string& text) { return text.empty() ? "must not be empty" : ""; }, ""));
  return *this;
}
Command& Command::Value(const std::string& name, std::uint64_t& value, const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("N");
  parts_->range = AllOf<std::uint64_t>();
  parts_->last->transform(WholeNumber(parts_->range))->capture_default_str();
  return *this;
}
Command& Command::Value(const std::string& name, unsigned& value, const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("N");
  parts_->range = AllOf<unsigned>();
  parts_->last->transform(WholeNumber(parts_->range))->capture_default_str();
  return *this;
}
Command& Command::Value(const std::string& name, std::optional<std::uint64_t>& value,
                        const std::string& help) {
  parts_->last = parts_->app->add_option(name, value, help)->type_name("N");
  parts_->range = AllOf<std::uint64_t>();
  parts_->last->transform(WholeNumber(parts_->range));
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
Command& Command::Between(std::uint64_t least, std::uint64_t most) {
  MUSTER_CHECK(parts_->range != nullptr, "only numbers have a range");
  *parts_->range = {least, most};
  return *this;
}
Command& Command::OneOf(std::vector<std::string> choices) {
  (*parts_->choices)[parts_->last] = std::move(choices);
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
  parts_->footer += (parts_->footer.empty() ? "Example:\n  " : "\n  ") + text;
  parts_->app->footer(parts_->footer);
  return *this;
}
Command& Command::More(const std::string& text) {
  parts_->footer += (parts_->footer.empty() ? "" : "\n\n") + text;
  parts_->app->footer(parts_->footer);
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
  command->choices = &parts_->choices;
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

void CommandLine::Version(const std::string& text) {
  parts_->version = text;
  parts_->app.add_flag("--version", parts_->version_asked, "Print the version");
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

int CommandLine::Help(const std::string& name) const {
  if (name.empty()) {
    // Not App::help(), which is that of the command being run.
    const CLI::App& app = parts_->app;
    std::cout << app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal);
    return kExitOk;
  }
  for (const auto& [app, action] : parts_->commands) {
    if (app->get_name() != name) continue;
    std::cout << app->help("muster");
    return kExitOk;
  }
  return UnknownCommand(name);
}

int CommandLine::UnknownCommand(const std::string& name) const {
  const std::string near = wire::Nearest(name, parts_->names);
  return Usage("unknown command " + wire::Quoted(name) +
               (near.empty() ? "; see `muster --help`" : "; did you mean '" + near + "'?"));
}

std::vector<CommandDescription> CommandLine::Describe() const {
  std::vector<CommandDescription> commands;
  for (const auto& [app, action] : parts_->commands) {
    if (app->get_group().empty()) continue;
    CommandDescription command{app->get_name(), app->get_description(), {}};
    for (const CLI::Option* option : app->get_options()) {
      const bool positional = option->get_positional();
      if (!positional && option->get_group().empty()) continue;
      ArgumentDescription argument;
      for (const std::string& name : option->get_snames()) argument.names.push_back("-" + name);
      for (const std::string& name : option->get_lnames()) argument.names.push_back("--" + name);
      if (positional) argument.names = {option->get_name()};
      argument.positional = positional;
      argument.help = option->get_description();
      const bool flag = option->get_items_expected_max() == 0;
      if (!flag) argument.type = option->get_type_name();
      argument.repeated = option->get_items_expected_max() > 1 ||
                          option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
      if (const auto found = parts_->choices.find(option); found != parts_->choices.end()) {
        argument.choices = found->second;
      }
      command.arguments.push_back(std::move(argument));
    }
    commands.push_back(std::move(command));
  }
  return commands;
}

int CommandLine::Run(int argc, const char* const* argv) {
  if (argc < 2) {
    std::cout << parts_->app.help();
    return kExitUsage;
  }
  const std::string first = argv[1];
  const bool known = std::any_of(parts_->commands.begin(), parts_->commands.end(),
                                 [&](const auto& c) { return c.first->get_name() == first; });
  if (first == "--version" && !parts_->version.empty()) {
    std::cout << parts_->version << std::endl;
    return kExitOk;
  }
  if (!first.starts_with('-') && !known) return UnknownCommand(first);
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
