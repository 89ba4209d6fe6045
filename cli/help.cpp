// `muster help [COMMAND]`: the same as --help.
#include <memory>

#include "cli/commands.h"

namespace muster::cli {

void AddHelp(CommandLine& line) {
  const auto name = std::make_shared<std::string>();
  Command command = line.Add("help", "Explain a command");
  command.Value("COMMAND", *name, "Otherwise all are listed");
  command.Example("muster help submit").Runs([name, &line] { return line.Help(*name); });
}

}  // namespace muster::cli
