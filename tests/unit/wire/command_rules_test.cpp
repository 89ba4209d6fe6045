#include "wire/command_rules.h"

#include <gtest/gtest.h>

#include <csignal>

#include "wire/json.h"

namespace muster::wire {
namespace {

Result<v1::JobSpec> Load(const std::string& command, std::vector<std::string> overrides = {}) {
  return LoadJobText("name = \"c\"\n" + command, "c.toml", "/jobs", overrides);
}

std::string RefusalOf(const std::string& command, std::vector<std::string> overrides = {}) {
  const Result<v1::JobSpec> spec = Load(command, std::move(overrides));
  return spec.ok() ? "accepted" : spec.status().message();
}

TEST(CommandRulesTest, ReadsAProgramItsVariablesAndItsLimit) {
  Result<v1::JobSpec> spec = Load(
      "[resources]\nranks = 3\n"
      "[command]\narguments = [\"sh\", \"-c\", \"\"\"\nif true; then\n\techo a\nfi\n\"\"\"]\n"
      "[command.environment]\nLR = \"0.1\"\nEMPTY = \"\"\n"
      "[time_limit]\nseconds = 90\n",
      {"command.environment.MODE=fast", "command.environment.LR=0.2"});
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->resources().ranks(), 3U);  // A command has no lanes that would have to fit.
  EXPECT_EQ(spec->command().arguments(2), "if true; then\n\techo a\nfi\n");
  const auto& variables = spec->command().environment();
  EXPECT_EQ(variables.size(), 3U);
  EXPECT_EQ(variables.at("LR"), "0.2");
  EXPECT_EQ(variables.at("MODE"), "fast");
  FillDefaults(*spec);
  EXPECT_TRUE(ValidateSpec(*spec).ok()) << ValidateSpec(*spec).message();
  EXPECT_EQ(spec->time_limit().warning_seconds(), 60U);
  EXPECT_EQ(spec->time_limit().warning_signal(), "SIGUSR1");
  EXPECT_EQ(spec->command().grace_seconds(), 5U);
  EXPECT_FALSE(spec->command().has_working_directory());
  EXPECT_NE(ToJson(*spec).find("\"environment\":{\"EMPTY\":\"\",\"LR\":\"0.2\",\"MODE\":\"fast\"}"),
            std::string::npos)
      << ToJson(*spec);
}

TEST(CommandRulesTest, AnOverrideWithoutAValueRemovesAVariable) {
  const Result<v1::JobSpec> spec =
      Load("[command]\narguments = [\"a\"]\nenvironment = {A = \"1\", B = \"2\"}\n",
           {"command.environment.A="});
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->command().environment().size(), 1U);
  EXPECT_EQ(spec->command().environment().at("B"), "2");
}

TEST(CommandRulesTest, RefusesWithPlaceAndReason) {
  EXPECT_EQ(RefusalOf("[command]\n"),
            "c.toml: command.arguments is missing; give the program and its arguments, as in "
            "[\"python3\", \"train.py\"]");
  EXPECT_EQ(RefusalOf("[command]\narguments = [\"a\"]\n[command.environment]\nRANK = \"1\"\n"),
            "c.toml:5:8: command.environment.RANK is set by Muster itself; docs/guide/command.md "
            "lists these variables");
  EXPECT_EQ(RefusalOf("[command]\narguments = [\"a\"]\nenvironment = {\"a-b\" = \"1\"}\n"),
            "c.toml:4:24: command.environment.a-b is no name of a variable: letters, digits and "
            "'_', no digit first");
  EXPECT_EQ(RefusalOf("[command]\narguments = [\"a\"]\nenvironment = {A = 1}\n"),
            "c.toml:4:20: command.environment.A must be text, but is 1");
  EXPECT_EQ(RefusalOf("[command]\narguments = [\"a\"]\nenvironment = [1]\n"),
            "c.toml:4:15: command.environment must be a table of text, but is a list");
  EXPECT_EQ(RefusalOf("[command]\narguments = [\"a\"]\nworking_directory = \"here\"\n"),
            "c.toml:4:21: command.working_directory must be an absolute folder on the workers, but "
            "is 'here'");
  EXPECT_EQ(RefusalOf("[command]\narguments = [\"\"]\n"),
            "c.toml: command.arguments[0] is empty; give a program");
  EXPECT_EQ(RefusalOf("[command]\narguments = [\"a\"]\n[time_limit]\nwarning_signal = "
                      "\"SIGKILL\"\n"),
            "c.toml:5:18: time_limit.warning_signal must be SIGUSR1, SIGUSR2, SIGTERM or SIGINT, "
            "but is 'SIGKILL'");
  EXPECT_NE(RefusalOf("[command]\narguments = [\"a\", \"b\\u0000\"]\n"), "accepted");
  EXPECT_NE(RefusalOf("[command]\narguments = [\"a\", \"b\\u001b\"]\n").find("control character"),
            std::string::npos);
  const std::string half(40'000, 'x');
  EXPECT_NE(RefusalOf("[command]\narguments = [\"a\", \"" + half + "\", \"" + half + "\"]\n")
                .find("hold 80004 bytes; the most is 65536"),
            std::string::npos);
}

TEST(CommandRulesTest, EveryVariableOfMustersIsReserved) {
  for (const char* name :
       {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR",
        "MASTER_PORT", "CUDA_VISIBLE_DEVICES", "MUSTER_JOB_ID", "MUSTER_ATTEMPT"}) {
    EXPECT_TRUE(IsReservedVariable(name)) << name;
  }
  EXPECT_FALSE(IsReservedVariable("PATH"));
  EXPECT_EQ(WarningSignalOf("SIGUSR1"), SIGUSR1);
  EXPECT_EQ(WarningSignalOf("USR1"), 0);
}

}  // namespace
}  // namespace muster::wire
