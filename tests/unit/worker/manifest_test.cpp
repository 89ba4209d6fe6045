#include "wire/manifest.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/sha256.h"

namespace muster::wire {
namespace {

TEST(ManifestTest, ReadsWhatACheckpointConsistsOf) {
  const auto files =
      ParseManifest(R"({"files":[{"path":"a.json","sha256":"00","size":3}],"format":1,"step":2})");
  ASSERT_TRUE(files.ok()) << files.status().message();
  ASSERT_EQ(files->files.size(), 1U);
  EXPECT_EQ(files->files[0].path, "a.json");
  EXPECT_EQ(files->files[0].size, 3U);
}

TEST(ManifestTest, RefusesPathsThatLeadElsewhere) {
  for (const char* path :
       {"../a", "/etc/passwd", "a/b", "", ".", "..", ".hidden", "manifest.json"}) {
    SCOPED_TRACE(path);
    const auto files = ParseManifest(R"({"files":[{"path":")" + std::string(path) +
                                     R"(","sha256":"00","size":3}]})");
    EXPECT_EQ(files.status().code(), StatusCode::kDataLoss);
  }
  EXPECT_EQ(ParseManifest("{}").status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(ParseManifest("nonsense").status().code(), StatusCode::kDataLoss);
}

TEST(ManifestTest, VerificationFindsEveryChange) {
  std::string folder = testing::TempDir() + "/manifest_test.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string manifest =
      R"({"files":[{"path":"a","sha256":")" + Sha256Of("abc") + R"(","size":3}],"step":1})";
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "abc").ok());
  ASSERT_TRUE(WriteFileAtomically(folder + "/manifest.json", manifest).ok());
  EXPECT_TRUE(VerifyCheckpoint(folder, Sha256Of(manifest)).ok());
  EXPECT_EQ(VerifyCheckpoint(folder, Sha256Of("other")).code(), StatusCode::kDataLoss);
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "abd").ok());
  EXPECT_EQ(VerifyCheckpoint(folder, Sha256Of(manifest)).code(), StatusCode::kDataLoss);
  std::filesystem::remove(folder + "/a");
  EXPECT_EQ(VerifyCheckpoint(folder, Sha256Of(manifest)).code(), StatusCode::kDataLoss);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace muster::wire
