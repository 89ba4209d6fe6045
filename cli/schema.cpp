// `muster schema`: what a job file may hold, from the descriptors that also check it.
#include "wire/schema.h"

#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/exit_code.h"

namespace muster::cli {
namespace {

struct SchemaArgs {
  std::string recipe;
  bool json = false;
  bool markdown = false;
};

int Schema(const SchemaArgs& args) {
  if (args.markdown) {
    std::cout << wire::SchemaMarkdown();
    return kExitOk;
  }
  const Result<std::string> text =
      args.json ? wire::SchemaJson(args.recipe) : wire::SchemaText(args.recipe);
  if (!text.ok()) return Report(text.status());
  std::cout << *text;
  return kExitOk;
}

}  // namespace

void AddSchema(CommandLine& line) {
  const auto args = std::make_shared<SchemaArgs>();
  Command command = line.Add("schema", "Show what a job file may hold");
  command.Value("RECIPE", args->recipe, "Only the tables of this recipe").OneOf(wire::Recipes());
  command.Flag("--json", args->json, "One object a field")
      .Flag("--markdown", args->markdown, "As docs/job-file.md")
      .Example("muster schema supervised")
      .Runs([args] { return Schema(*args); });
}

}  // namespace muster::cli
