// Plug-ins: from the template through the compiler to a checked environment, and what goes wrong.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "envs/check.h"
#include "envs/describe.h"
#include "envs/plugin/crash_report.h"
#include "envs/plugin/new_plugin.h"
#include "envs/plugin/plugin_env.h"
#include "envs/registry.h"

namespace muster::envs {
namespace {

const std::string kFaulty = std::string(MUSTER_TEST_PLUGINS) + "/libenvs_faulty_plugin.so";
const std::string kOtherAbi = std::string(MUSTER_TEST_PLUGINS) + "/libenvs_other_abi_plugin.so";

class PluginTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "muster-plugin-" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

std::string Message(const std::string& path, const EnvOptions& options = {}) {
  const auto made = MakeEnv(path, options);
  EXPECT_FALSE(made.ok());
  return made.status().message();
}

void ExpectConforms(const std::string& path, const EnvOptions& options = {}) {
  const auto make = [&] { return MakeEnv(path, options); };
  const auto lines = CheckEnv(make, {.steps = 300});
  EXPECT_TRUE(AllPassed(lines)) << TextOf(lines);
  const auto batches = CheckBatch(
      make, [&](const VectorOptions& batch) { return MakeVectorEnv(path, options, batch); },
      {.steps = 300});
  EXPECT_TRUE(AllPassed(batches)) << TextOf(batches);
}

TEST_F(PluginTest, TheTemplateCompilesAndConforms) {
  ASSERT_TRUE(NewPlugin("my_walk", folder_).ok());
  EXPECT_EQ(NewPlugin("my_walk", folder_).code(), StatusCode::kAlreadyExists);
  const std::string library = folder_ + "/my_walk.so";
  const Status built = BuildPlugin(folder_ + "/my_walk.cpp", library);
  ASSERT_TRUE(built.ok()) << built.message();
  ExpectConforms(library, {{"length", "20"}});
  const auto env = MakeEnv(library, {{"length", "20"}, {"max_episode_steps", "9"}});
  ASSERT_TRUE(env.ok()) << env.status().message();
  EXPECT_EQ((*env)->spec().name, "MyWalk");
  EXPECT_EQ((*env)->spec().steps_max, 9U);
  EXPECT_TRUE((*env)->saves_state());
  ASSERT_TRUE((*env)->Reset(1).ok());
  EXPECT_EQ((*env)->RenderText().size(), 21U);
  EXPECT_NE(Message(library, {{"lenght", "20"}}).find("unknown option lenght; there are: length"),
            std::string::npos);
  EXPECT_NE(Message(library, {{"length", "x"}}).find("'x' is no number"), std::string::npos);
  EXPECT_NE(Message(library, {{"length", "1"}}).find("two squares"), std::string::npos);
  EXPECT_FALSE(NewPlugin("my walk", folder_).ok());
  EXPECT_FALSE(NewPlugin("1st", folder_).ok());
}

TEST_F(PluginTest, ACompilersComplaintIsShown) {
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/bad.cpp", "int main( {").ok());
  const Status built = BuildPlugin(folder_ + "/bad.cpp", folder_ + "/bad.so");
  ASSERT_FALSE(built.ok());
  EXPECT_NE(built.message().find("error:"), std::string::npos) << built.message();
}

TEST_F(PluginTest, WhatWasBuiltStaysWhereNothingBetterComes) {
  const std::string library = folder_ + "/kept.so";
  ASSERT_TRUE(WriteFileAtomically(library, "as it was").ok());
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/bad.cpp", "int main( {").ok());
  EXPECT_FALSE(BuildPlugin(folder_ + "/bad.cpp", library).ok());
  const Status none = BuildPlugin(folder_ + "/none.cpp", library);
  EXPECT_NE(none.message().find("is no file"), std::string::npos) << none.message();
  const auto kept = ReadFile(library);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(*kept, "as it was");
}

TEST_F(PluginTest, TheHeaderCompilesAsCpp17AndCpp20AndItsCPartAsC) {
  ASSERT_TRUE(NewPlugin("sample", folder_).ok());
  const auto header = ReadFile("envs/plugin/muster_env.h");
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(PluginHeader(), *header);
  std::size_t compilers = 0;
  for (const std::string compiler : {"g++", "clang++"}) {
    if (std::system(("command -v " + compiler + " > /dev/null").c_str()) != 0) continue;
    ++compilers;
    const std::string warnings = " -fsyntax-only -Wall -Wextra -Wshadow -Wconversion -Werror ";
    for (const std::string standard : {"-std=c++17", "-std=c++20"}) {
      EXPECT_EQ(
          std::system((compiler + " " + standard + warnings + folder_ + "/sample.cpp").c_str()), 0)
          << compiler << " " << standard;
    }
    EXPECT_EQ(
        std::system(
            (compiler + " -x c -std=c99 -pedantic" + warnings + folder_ + "/muster_env.h").c_str()),
        0)
        << compiler;
  }
  EXPECT_GE(compilers, 1U);
}

TEST_F(PluginTest, EpisodesOfOneThatCannotSaveAreReplayed) {
  ASSERT_TRUE(std::filesystem::exists(kFaulty)) << kFaulty;
  const auto env = MakeEnv(kFaulty);
  ASSERT_TRUE(env.ok()) << env.status().message();
  EXPECT_FALSE((*env)->saves_state());
  ExpectConforms(kFaulty);
}

TEST_F(PluginTest, OneThatDoesNotRepeatItselfIsFoundOut) {
  const auto lines = CheckEnv([] { return MakeEnv(kFaulty, {{"fault", "clock"}}); });
  EXPECT_FALSE(AllPassed(lines));
  const auto env = MakeEnv(kFaulty, {{"fault", "clock"}});
  ASSERT_TRUE((*env)->Reset(1).ok());
  ASSERT_TRUE((*env)->Step(std::vector<float>{0, 0}).ok());
  std::string state;
  ASSERT_TRUE((*env)->Save(state).ok());
  const Status loaded = (*env)->Load(state);
  EXPECT_EQ(loaded.code(), StatusCode::kDataLoss);
  EXPECT_NE(loaded.message().find("led elsewhere"), std::string::npos) << loaded.message();
}

TEST_F(PluginTest, WhatCannotBeLoadedIsToldInOneLine) {
  EXPECT_EQ(Message(folder_ + "/none.so"),
            "there is no environment " + folder_ + "/none.so: no such file");
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/text.so", "no library").ok());
  EXPECT_EQ(Message(folder_ + "/text.so"),
            "environment " + folder_ + "/text.so is no shared library");
  const std::string header = ReadFile(kFaulty)->substr(0, 32);
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/header.so", header).ok());
  EXPECT_NE(Message(folder_ + "/header.so").find("cannot be loaded"), std::string::npos);
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/empty.cpp", "int nothing = 0;").ok());
  ASSERT_TRUE(BuildPlugin(folder_ + "/empty.cpp", folder_ + "/empty.so").ok());
  EXPECT_NE(Message(folder_ + "/empty.so").find("without muster_env_plugin()"), std::string::npos);
  EXPECT_EQ(Message(kOtherAbi), "environment " + kOtherAbi +
                                    " speaks version 2 of the plug-in interface, this Muster "
                                    "version 1: build it again with `muster env build`");
  EXPECT_EQ(Message(kFaulty, {{"fault", "bounds"}}),
            kFaulty + ": observation space: its bounds are reversed");
}

TEST_F(PluginTest, ItsOptionsAreShown) {
  ASSERT_TRUE(NewPlugin("walk", folder_).ok());
  std::string source = *ReadFile(folder_ + "/walk.cpp");
  const std::string body = "if (length_ < 2)";
  ASSERT_NE(source.find(body), std::string::npos);
  source.replace(source.find(body), body.size(),
                 "options.Number(\"wind\", 0.25); options.Flag(\"cliff\", true, \"an end\\tthat "
                 "hurts\");\n    options.Text(\"name\", \"\", \"of the line\");\n    " +
                     body);
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/walk.cpp", source).ok());
  const std::string library = folder_ + "/walk.so";
  const Status built = BuildPlugin(folder_ + "/walk.cpp", library);
  ASSERT_TRUE(built.ok()) << built.message();
  const auto options = OptionsOf(library, {{"length", "20"}});
  ASSERT_TRUE(options.ok()) << options.status().message();
  std::string text;
  for (const OptionText& option : *options) {
    text += option.name + "=" + option.fallback + " (" + option.help + ")\n";
  }
  EXPECT_EQ(text,
            "length=10 (squares of the line)\nwind=0.25 ()\ncliff=true (an end that hurts)\n"
            "name= (of the line)\n"
            "max_episode_steps=200 (truncates an episode after so many steps; 0 = never)\n");
  const auto shown = ShowText(library, {{"length", "20"}});
  ASSERT_TRUE(shown.ok());
  EXPECT_NE(shown->find("  --set length=10"), std::string::npos) << *shown;
  EXPECT_NE(shown->find("squares of the line"), std::string::npos) << *shown;
}

TEST_F(PluginTest, OneOfAnOlderHeaderWorksAndTellsNone) {
  const std::string older = std::string(MUSTER_TEST_PLUGINS) + "/libenvs_older_plugin.so";
  ExpectConforms(older);
  const auto options = OptionsOf(older);
  ASSERT_TRUE(options.ok()) << options.status().message();
  ASSERT_EQ(options->size(), 1U);
  EXPECT_EQ(options->front().name, "max_episode_steps");
}

TEST_F(PluginTest, OneForAnotherArchitectureIsToldSo) {
  std::string library = *ReadFile(kFaulty);
  constexpr std::size_t kMachine = 18;  // Of the ELF header: its number has two bytes.
  const bool arm = library[kMachine] == static_cast<char>(183);
  library[kMachine] = static_cast<char>(arm ? 62 : 183);
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/other.so", library).ok());
  const std::string told = Message(folder_ + "/other.so");
  EXPECT_EQ(told.find("environment " + folder_ + "/other.so is built for " +
                      (arm ? "x86-64" : "AArch64") + ", and this machine is "),
            0U)
      << told;
}

// Steps with the same action until something goes wrong; the message of that.
std::string FailureOf(Env& env) {
  EXPECT_TRUE(env.Reset(1).ok());
  for (int i = 0; i < 10; ++i) {
    const auto result = env.Step(std::vector<float>{0.5F, -0.25F});
    if (!result.ok()) return result.status().message();
  }
  return "";
}

TEST_F(PluginTest, AnExceptionNamesTheEnvironmentItsStepAndItsAction) {
  const auto env = MakeEnv(kFaulty, {{"fault", "throw"}});
  EXPECT_EQ(FailureOf(**env),
            "environment Faulty is in step 3, action [0.5, -0.25]: the simulator has no licence");
  // The episode is over, the environment is not.
  EXPECT_FALSE((*env)->Step(std::vector<float>{0, 0}).ok());
  EXPECT_TRUE((*env)->Reset(2).ok());
}

TEST_F(PluginTest, ObservationsThatAreNanAreRefused) {
  const auto env = MakeEnv(kFaulty, {{"fault", "nan"}});
  EXPECT_EQ(FailureOf(**env), "Faulty: element 1 of the observation is NaN");
}

TEST_F(PluginTest, ACrashNamesTheEnvironmentItsStepAndItsAction) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ReportPluginCrashes();
        const auto env = MakeEnv(kFaulty, {{"fault", "crash"}});
        FailureOf(**env);
      },
      "environment Faulty is in step 3, action \\[0.5, -0.25\\] and has crashed \\(signal 11\\)");
}

TEST_F(PluginTest, SoDoAnOverflownStackAndACallOfExit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto fail = [](const char* fault) {
    ReportPluginCrashes();
    const auto env = MakeEnv(kFaulty, {{"fault", fault}});
    FailureOf(**env);
  };
  EXPECT_DEATH(fail("overflow"), "Faulty is in step 3, action \\[0.5, -0.25\\] and has crashed");
  EXPECT_EXIT(fail("exit"), ::testing::ExitedWithCode(EXIT_FAILURE),
              "Faulty is in step 3, action \\[0.5, -0.25\\] and has called exit\\(\\)");
}

TEST_F(PluginTest, ACrashBeforeThereIsAnEnvironmentNamesTheLibrary) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ReportPluginCrashes();
        static_cast<void>(MakeEnv(kFaulty, {{"fault", "create_crash"}}));
      },
      "environment libenvs_faulty_plugin.so is in create and has crashed");
  const auto whole = ReadFile(kFaulty);
  ASSERT_TRUE(whole.ok());
  const std::string cut = folder_ + "/cut.so";
  ASSERT_TRUE(WriteFileAtomically(cut, whole->substr(0, 4096)).ok());
  EXPECT_DEATH(
      {
        ReportPluginCrashes();
        // Where the loader finds out by itself it says so.
        const auto env = MakeEnv(cut);
        std::fprintf(stderr, "environment cut.so: %s\n", env.status().message().c_str());
        std::abort();
      },
      "environment cut.so");
}

TEST_F(PluginTest, TheWatchdogNamesALibraryThatDoesNotComeBack) {
  std::string line;
  {
    const PluginWatchdog watchdog(std::chrono::milliseconds(50),
                                  [&](const std::string& what) { line = what; });
    EXPECT_TRUE(MakeEnv(kFaulty, {{"fault", "create_hang"}}).ok());
  }
  EXPECT_EQ(line.find("environment libenvs_faulty_plugin.so is in create and has not come back"),
            0U)
      << line;
}

TEST_F(PluginTest, TheWatchdogNamesACallThatDoesNotComeBack) {
  std::atomic<int> told = 0;
  std::string line;
  {
    const PluginWatchdog watchdog(std::chrono::milliseconds(50), [&](const std::string& what) {
      line = what;
      ++told;
    });
    const auto env = MakeEnv(kFaulty, {{"fault", "hang"}});
    EXPECT_EQ(FailureOf(**env), "");
  }
  EXPECT_EQ(told, 1);
  EXPECT_NE(line.find("Faulty is in step 3, action [0.5, -0.25] and has not come back for 50 ms"),
            std::string::npos)
      << line;
}

}  // namespace
}  // namespace muster::envs
