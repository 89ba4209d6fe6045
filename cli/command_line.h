// The command line's grammar, apart from the library that parses it (CLI11, seen by one file).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace muster::cli {

// One subcommand being described. Variables must live until it has run.
class Command {
 public:
  // A name that begins with '-' is an option ("-f,--follow"), any other a positional argument.
  Command& Value(const std::string& name, std::string& value, const std::string& help);
  Command& Value(const std::string& name, std::uint64_t& value, const std::string& help);
  Command& Value(const std::string& name, unsigned& value, const std::string& help);
  Command& Value(const std::string& name, std::optional<std::uint64_t>& value,
                 const std::string& help);
  // May be given several times, each with one value; as a positional takes all that is left.
  Command& Values(const std::string& name, std::vector<std::string>& values,
                  const std::string& help);
  Command& Flag(const std::string& name, bool& value, const std::string& help);
  // Of the last argument described.
  Command& Required();
  // Of the last argument, a number: what it may be. Named in the refusal.
  Command& Between(std::uint64_t least, std::uint64_t most);
  // Of the last argument: what completion offers for it. Not checked.
  Command& OneOf(std::vector<std::string> choices);
  Command& Hidden();
  Command& Environment(const std::string& variable);
  // An example line for the end of the help text; then, if need be, more text.
  Command& Example(const std::string& text);
  Command& More(const std::string& text);
  // What it does; returns the exit code.
  Command& Runs(std::function<int()> action);

 private:
  friend class CommandLine;
  struct Parts;
  explicit Command(std::unique_ptr<Parts> parts);
  std::shared_ptr<Parts> parts_;
};

// What completion knows of a command that is not hidden.
struct ArgumentDescription {
  std::vector<std::string> names{};  // "-f", "--follow"; of a positional its one name.
  std::string help{};
  std::string type{};                  // "N" or "TEXT"; empty = a flag.
  std::vector<std::string> choices{};  // Empty = anything.
  bool positional = false;
  bool repeated = false;
};
struct CommandDescription {
  std::string name;
  std::string help;
  std::vector<ArgumentDescription> arguments;
};

class CommandLine {
 public:
  explicit CommandLine(const std::string& description);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // An empty description hides the command from the help text.
  Command Add(const std::string& name, const std::string& description);

  // What --version prints.
  void Version(const std::string& text);

  // Prints the help of a command, or of the whole: the exit code.
  int Help(const std::string& command) const;

  // All commands that are not hidden, in the order they were added.
  std::vector<CommandDescription> Describe() const;

  // Parses and runs one command: its exit code. Prints help to stdout (exit code 0), and a wrong
  // command line as one line to stderr, with the nearest name for a mistyped one (exit code 2).
  int Run(int argc, const char* const* argv);

 private:
  int UnknownCommand(const std::string& name) const;

  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace muster::cli
