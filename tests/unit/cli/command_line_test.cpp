#include "cli/command_line.h"

#include <gtest/gtest.h>

#include "cli/exit_code.h"
#include "tests/unit/cli/fake_cluster.h"

namespace muster::cli {
namespace {

TEST(CommandLineTest, TellsAWrongCommandLineInOneLineWithTheNearestName) {
  const CommandResult mistyped = Muster({"sumbit", "a.toml"});
  EXPECT_EQ(mistyped.exit_code, kExitUsage);
  EXPECT_EQ(mistyped.err, "muster: unknown command 'sumbit'; did you mean 'submit'?\n");
  EXPECT_EQ(Muster({"ps", "--jsn"}).err,
            "muster: ps has no option '--jsn'; did you mean '--json'?; see `muster ps --help`\n");
  const CommandResult missing = Muster({"show"});
  EXPECT_EQ(missing.exit_code, kExitUsage);
  EXPECT_EQ(missing.err, "muster: ID is required; see `muster show --help`\n");
  EXPECT_EQ(Muster({"show", "x"}).exit_code, kExitUsage);
  EXPECT_EQ(Muster({}).exit_code, kExitUsage);
}

TEST(CommandLineTest, NamesTheNumberThatIsOutOfRange) {
  EXPECT_EQ(
      Muster({"up", "--workers", "-1"}).err,
      "muster: --workers: '-1' is not a whole number from 1 to 256; see `muster up --help`\n");
  EXPECT_EQ(Muster({"up", "--workers", "2", "--slots", "0"}).err,
            "muster: --slots: '0' is not a whole number from 1 to 256; see `muster up --help`\n");
  EXPECT_EQ(Muster({"worker", "--slots", "1025"}).exit_code, kExitUsage);
}

TEST(CommandLineTest, HelpAndVersionComeInTheUsualWays) {
  EXPECT_EQ(Muster({"help"}).out, Muster({"--help"}).out);
  EXPECT_EQ(Muster({"help", "submit"}).out, Muster({"submit", "--help"}).out);
  EXPECT_EQ(Muster({"help", "submit"}).exit_code, kExitOk);
  const CommandResult mistyped = Muster({"help", "sumbit"});
  EXPECT_EQ(mistyped.exit_code, kExitUsage);
  EXPECT_EQ(mistyped.err, "muster: unknown command 'sumbit'; did you mean 'submit'?\n");
  EXPECT_EQ(Muster({"--version"}).out, Muster({"version"}).out);
  EXPECT_EQ(Muster({"--version"}).exit_code, kExitOk);
}

TEST(CommandLineTest, EveryCommandHasHelpWithAnExample) {
  const std::string all = Muster({"--help"}).out;
  for (const char* name :
       {"up", "down", "coordinator", "worker", "run", "submit", "ps", "show", "logs", "metrics",
        "wait", "cancel", "nodes", "pull", "schema", "bench", "version", "help", "completion"}) {
    SCOPED_TRACE(name);
    EXPECT_NE(all.find(std::string("\n  ") + name + " "), std::string::npos);
    const CommandResult help = Muster({name, "--help"});
    EXPECT_EQ(help.exit_code, kExitOk);
    EXPECT_NE(help.out.find(std::string("muster ") + name), std::string::npos);
    EXPECT_NE(help.out.find("Example:"), std::string::npos);
  }
  EXPECT_EQ(all.find("\n  rank "), std::string::npos) << "started by agents only";
}

TEST(ExitCodeTest, TellsVerdictsAndErrorsApart) {
  v1::JobInfo job;
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(VerdictOf(job), 0);
  job.set_state(v1::JOB_STATE_FAILED);
  EXPECT_EQ(VerdictOf(job), 1);
  job.set_infrastructure(true);
  EXPECT_EQ(VerdictOf(job), 5);
  job.set_state(v1::JOB_STATE_CANCELLED);
  EXPECT_EQ(VerdictOf(job), 6);
  EXPECT_EQ(ExitCodeOf(NotFound("x")), 2);
  EXPECT_EQ(ExitCodeOf(Unavailable("x")), 3);
  EXPECT_EQ(ExitCodeOf(Status(StatusCode::kUnauthenticated, "x")), 4);
  EXPECT_EQ(ExitCodeOf(Status(StatusCode::kPermissionDenied, "x")), 4);
  EXPECT_EQ(ExitCodeOf(DataLoss("x")), 5);
}

}  // namespace
}  // namespace muster::cli
