#include "cli/completion.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/uuid.h"
#include "cli/exit_code.h"
#include "tests/unit/cli/fake_cluster.h"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() : folder_(fs::temp_directory_path() / ("muster-test-" + NewUuid())) {
    fs::create_directories(folder_);
  }
  ~CompletionTest() override { fs::remove_all(folder_); }

  // The script for `shell` as a file.
  std::string Script(const std::string& shell) const {
    const std::string path = folder_ / shell;
    std::ofstream(path) << Muster({"completion", shell}).out;
    return path;
  }

  // What bash offers for the last of `words`, which contain no blanks.
  std::string Offered(const std::vector<std::string>& words) const {
    std::string line;
    for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
    const std::string path = folder_ / "ask.sh";
    std::ofstream(path) << "source " << Script("bash") << "\nCOMP_LINE='" << line
                        << "'\nCOMP_WORDS=(" << line << (words.back().empty() ? " ''" : "")
                        << ")\nCOMP_CWORD=" << words.size() - 1
                        << "\n_muster\necho -n \"${COMPREPLY[*]}\"\n";
    return OutputOf("bash --norc " + path);
  }

  static std::string OutputOf(const std::string& command) {
    std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    std::string text;
    std::array<char, 4096> buffer{};
    for (std::size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
      text.append(buffer.data(), got);
    }
    return ::pclose(pipe) == 0 ? text : "failed: " + text;
  }

  static bool Exists(const std::string& shell) {
    return std::system(("command -v " + shell + " >/dev/null").c_str()) == 0;
  }

  fs::path folder_;
};

TEST_F(CompletionTest, OffersCommandsOptionsAndChoicesInBash) {
  if (!Exists("bash")) GTEST_SKIP() << "there is no bash here";
  EXPECT_EQ(Offered({"muster", "sub"}), "submit");
  EXPECT_EQ(Offered({"muster", "rank"}), "") << "it is hidden";
  EXPECT_EQ(Offered({"muster", "submit", "--fol"}), "--follow");
  EXPECT_EQ(Offered({"muster", "ps", "--follow"}), "");
  EXPECT_EQ(Offered({"muster", "completion", ""}), "bash zsh fish");
  EXPECT_EQ(Offered({"muster", "--help", "--f"}), "");
  EXPECT_EQ(Offered({"muster", "help", "canc"}), "cancel");
  EXPECT_EQ(Offered({"muster", "schema", "--json", "sup"}), "supervised");
  EXPECT_EQ(Offered({"muster", "schema", "supervised", "c"}), "") << "it takes one";
  EXPECT_EQ(Offered({"muster", "watch", "3", "--metric", "t"}), "train/loss");
  EXPECT_EQ(Offered({"muster", "user", "--state", "x", "en"}), "enable")
      << "an option's value is no argument";
}

// The program that is asked is a stand-in which tells how it was asked.
TEST_F(CompletionTest, OffersTheJobsAndWorkersOfTheClusterThatTheLineNames) {
  if (!Exists("bash")) GTEST_SKIP() << "there is no bash here";
  const std::string program = folder_ / "muster";
  std::ofstream(program) << "#!/bin/sh\n"
                            "case \"$*\" in\n"
                            "'ps -a --json --state here') echo '{\"id\":12,\"name\":\"a\"}'\n"
                            "  echo '{\"id\":\"13\"}' ;;\n"
                            "'nodes --json') echo '{\"worker\":\"host-0\",\"id\":9}' ;;\n"
                            "esac\n";
  fs::permissions(program, fs::perms::owner_all);
  EXPECT_EQ(Offered({program, "show", "--state", "here", ""}), "12 13");
  EXPECT_EQ(Offered({program, "drain", "h"}), "host-0");
  EXPECT_EQ(Offered({program, "show", ""}), "") << "a cluster that does not answer has no jobs";
}

TEST_F(CompletionTest, TheFirstKeyOfAJobAndAWorkerIsItsName) {
  FakeCluster cluster;
  cluster.jobs.resize(1);
  cluster.jobs[0].set_id(7);
  const auto begin = [&](const char* command) {
    return Muster({command, "--json", "--state", cluster.state()}).out.substr(0, 10);
  };
  EXPECT_TRUE(begin("ps").starts_with("{\"id\":7,") || begin("ps").starts_with("{\"id\":\"7\""))
      << begin("ps");
  EXPECT_TRUE(begin("nodes").starts_with("{\"worker\":")) << begin("nodes");
}

TEST_F(CompletionTest, ZshReadsItsScript) {
  if (!Exists("zsh")) GTEST_SKIP() << "there is no zsh here";
  EXPECT_EQ(OutputOf("zsh -n " + Script("zsh")), "");
  EXPECT_EQ(OutputOf("zsh -f -c 'compdef() { echo $*; }; source " + Script("zsh") + "'"),
            "_muster muster\n");
}

TEST_F(CompletionTest, FishReadsItsScriptAndOffersCommands) {
  if (!Exists("fish")) GTEST_SKIP() << "there is no fish here";
  const std::string fish = "HOME=" + folder_.string() + " fish --no-config ";
  EXPECT_EQ(OutputOf(fish + "--no-execute " + Script("fish")), "");
  const std::string offered =
      OutputOf(fish + "-c 'source " + Script("fish") + "; complete -C \"muster canc\"'");
  EXPECT_TRUE(offered.starts_with("cancel\t")) << offered;
}

TEST_F(CompletionTest, RefusesAShellItDoesNotKnow) {
  const CommandResult result = Muster({"completion", "tcsh"});
  EXPECT_EQ(result.exit_code, kExitUsage);
  EXPECT_EQ(result.err, "muster: no completion for 'tcsh'; there are bash, zsh, fish\n");
}

}  // namespace
}  // namespace muster::cli
