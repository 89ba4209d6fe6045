// The fuzzer's function on the committed corpus, in every build: what it finds stays found.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>

#include "base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);

namespace muster {
namespace {

namespace fs = std::filesystem;

// The function ends the process when a promise is broken.
TEST(JobFileFuzzTest, KeepsItsPromisesOnTheCorpus) {
  std::size_t files = 0;
  for (const char* folder : {"tests/golden/bad_jobs", "examples/jobs"}) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".toml") continue;
      SCOPED_TRACE(entry.path());
      const Result<std::string> text = ReadFile(entry.path());
      ASSERT_TRUE(text.ok()) << text.status().message();
      const auto* data = reinterpret_cast<const std::uint8_t*>(text->data());
      EXPECT_EQ(LLVMFuzzerTestOneInput(data, text->size()), 0);
      // Every beginning of it, too: files that were cut off.
      for (std::size_t bytes = 0; bytes < std::min<std::size_t>(text->size(), 200); ++bytes) {
        EXPECT_EQ(LLVMFuzzerTestOneInput(data, bytes), 0);
      }
      ++files;
    }
  }
  EXPECT_GE(files, 43U);
}

}  // namespace
}  // namespace muster
