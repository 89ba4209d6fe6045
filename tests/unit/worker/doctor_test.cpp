#include "worker/tools/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/cpu.h"

namespace muster::tools {
namespace {

using testing::HasSubstr;
using Verdict = Finding::Verdict;

TEST(DoctorTest, LooksAtEverythingAndLeavesNothingBehind) {
  const std::string folder = testing::TempDir() + "doctor-" + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  std::ostringstream out;
  DoctorOptions options;
  options.state = folder + "/not/there/yet";
  options.json = true;
  RunDoctor(options, 0, out);
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  std::vector<std::string> topics;
  std::istringstream lines(out.str());
  for (std::string line; std::getline(lines, line);) {
    const auto finding = nlohmann::json::parse(line);
    topics.push_back(finding["topic"]);
    EXPECT_NE(finding["what"], "");
    // For everything that is not fine there is something to do.
    EXPECT_EQ(finding["verdict"] == "yes", finding["todo"] == "") << line;
  }
  EXPECT_EQ(topics,
            (std::vector<std::string>{"processor", "products", "memory", "threads", "shared memory",
                                      "network", "disk", "libraries", "gpu", "cuda"}));
  std::filesystem::remove_all(folder);
}

TEST(DoctorTest, ProductsHaveTheSameBitsHere) {
  const Finding finding = LookAtProducts();
  EXPECT_EQ(finding.verdict, Verdict::kYes) << finding.what;
  EXPECT_THAT(finding.what, HasSubstr("GFLOP/s"));
}

TEST(DoctorTest, SaysWhatVariablesForTestsDo) {
  const auto todo_with = [](const char* variable, const char* value) {
    ::setenv(variable, value, 1);
    LimitCpuLevel(std::nullopt);
    ForceBf16Sums(std::nullopt);
    const Finding finding = LookAtProcessor({});
    ::unsetenv(variable);
    LimitCpuLevel(std::nullopt);
    ForceBf16Sums(std::nullopt);
    EXPECT_EQ(finding.verdict, Verdict::kNote) << variable;
    return finding.todo;
  };
  EXPECT_EQ(todo_with("MUSTER_CPU", "avx2"),
            "MUSTER_CPU=avx2 is for tests: unset it, if the best kernels are wanted");
  EXPECT_EQ(todo_with("MUSTER_CPU", "sse"),
            "MUSTER_CPU=sse means nothing and is ignored: set it to one of avx2, avx512, "
            "avx512_bf16, amx, or unset it");
  EXPECT_THAT(todo_with("MUSTER_BF16_SUMS", "chain"), HasSubstr("is for tests"));
  EXPECT_THAT(todo_with("MUSTER_BF16_SUMS", "tree"), HasSubstr("one of chain, blocks"));
}

TEST(DoctorTest, SaysWhatIsMissingAndWhatToDo) {
  const Finding memory = LookAtSharedMemory("/nowhere/shm");
  EXPECT_EQ(memory.verdict, Verdict::kNo);
  EXPECT_THAT(memory.what, HasSubstr("/nowhere/shm"));
  EXPECT_THAT(memory.todo, HasSubstr("gloo"));
  const Finding disk = LookAtDisk("/proc/nowhere");
  EXPECT_EQ(disk.verdict, Verdict::kNo);
  EXPECT_THAT(disk.what, HasSubstr("/proc/nowhere"));
  EXPECT_THAT(disk.todo, HasSubstr("--state"));
}

TEST(DoctorTest, BreaksLinesForNarrowTerminals) {
  const Finding finding{"disk", Verdict::kNo, "one two three four five six seven", "do it"};
  EXPECT_EQ(FindingText(finding, 0),
            "NO    disk          one two three four five six seven; do it");
  EXPECT_EQ(FindingText(finding, 41),
            "NO    disk          one two three four\n"
            "                    five six seven; do it");
}

}  // namespace
}  // namespace muster::tools
