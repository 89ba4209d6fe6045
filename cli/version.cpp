// `muster version`.
#include "base/version.h"

#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"

namespace muster::cli {

void AddVersion(CommandLine& line) {
  const auto json = std::make_shared<bool>(false);
  Command command = line.Add("version", "Print the version");
  command.Flag("--json", *json, "As an object").Example("muster version").Runs([json] {
    if (*json) {
      std::cout << "{\"version\":\"" << kVersion << "\"}" << std::endl;
    } else {
      std::cout << "muster " << kVersion << std::endl;
    }
    return static_cast<int>(kExitOk);
  });
}

}  // namespace muster::cli
