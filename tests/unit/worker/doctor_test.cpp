#include "worker/tools/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

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
