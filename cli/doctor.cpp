// `muster doctor`: what this machine has, what Muster uses of it, and what to do about the rest.
#include <memory>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "wire/cluster_files.h"

namespace muster::cli {
namespace {

struct DoctorArgs {
  std::string state;
  bool json = false;
};

}  // namespace

void AddDoctor(CommandLine& line, const Hooks& hooks) {
  const auto args = std::make_shared<DoctorArgs>();
  Command command = line.Add("doctor", "Try out what this machine has and say what is missing");
  command.Value("--state", args->state, "The folder in which a cluster's files are to lie");
  command
      .Flag("--json", args->json,
            "One object a finding: topic, verdict (yes, note, no), what, todo")
      .Example("muster doctor")
      .More("Takes some seconds. Exit code 5 if something does not work.")
      .Runs([args, &hooks] {
        return hooks.run_doctor(wire::FilesOf(args->state).state, args->json,
                                TerminalColumns(STDOUT_FILENO));
      });
}

}  // namespace muster::cli
