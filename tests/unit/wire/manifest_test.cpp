#include "wire/manifest.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/file.h"
#include "base/sha256.h"
#include "tests/support/temporary_directory.h"

namespace muster::wire {
namespace {

constexpr char kGood[] =
    R"({"format":1,"step":40,"files":[{"path":"a.bin","size":3,"sha256":"x","kind":"model"}]})";

TEST(ManifestTest, ReadsStepAndFilesAndPassesOverOtherFields) {
  const Result<Manifest> manifest = ParseManifest(kGood);
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  EXPECT_EQ(manifest->step, 40U);
  ASSERT_EQ(manifest->files.size(), 1U);
  EXPECT_EQ(manifest->files[0].path, "a.bin");
  EXPECT_EQ(manifest->files[0].size, 3U);
  EXPECT_EQ(manifest->files[0].sha256, "x");
}

TEST(ManifestTest, RefusesWhatIsNoManifest) {
  for (const char* text :
       {"", "{", "[]", "null", "{}", R"({"step":1})", R"({"step":-1,"files":[]})",
        R"({"step":1.5,"files":[]})", R"({"step":1,"files":{}})", R"({"step":1,"files":[1]})",
        R"({"step":1,"files":[{}]})", R"({"step":1,"files":[{"path":"a","size":-1,"sha256":""}]})",
        R"({"step":1,"files":[{"path":1,"size":1,"sha256":""}]})",
        R"({"step":1,"files":[{"path":"a","size":1}]})"}) {
    EXPECT_EQ(ParseManifest(text).status().code(), StatusCode::kDataLoss) << text;
  }
}

TEST(ManifestTest, OnlyPlainNamesAreFileNames) {
  for (const char* name : {"a", "model.safetensors", "A-b_9.x", "a..b"}) {
    EXPECT_TRUE(IsPlainFileName(name)) << name;
  }
  EXPECT_TRUE(IsPlainFileName(std::string(128, 'n')));
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../x"),
        std::string("/etc/x"), std::string("a/b"), std::string("a/"), std::string(".hidden"),
        std::string("a\\b"), std::string("a b"), std::string("a\n"), std::string("a\0b", 3),
        std::string("~"), std::string("$HOME"), std::string("\xc3\xa9"), std::string("c:"),
        std::string(129, 'n')}) {
    EXPECT_FALSE(IsPlainFileName(name)) << name;
  }
}

TEST(ManifestTest, RefusesNamesThatLeadElsewhereAndItself) {
  for (const std::string& name :
       std::vector<std::string>{"../x", "/etc/x", "a/b", ".hidden", "", "manifest.json"}) {
    const std::string text =
        R"({"step":1,"files":[{"path":")" + name + R"(","size":0,"sha256":""}]})";
    const Status refused = ParseManifest(text).status();
    EXPECT_EQ(refused.code(), StatusCode::kDataLoss) << name;
    EXPECT_NE(refused.message().find("name that is not allowed"), std::string::npos);
  }
}

// Property: no bytes crash it, and what it takes has plain names only.
TEST(ManifestTest, IsSafeOnRandomMutations) {
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string text = kGood;
    for (unsigned edits = 1 + random() % 4; edits > 0; --edits) {
      const std::size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text[at] = static_cast<char>(random() % 256);
      } else {
        text.erase(at, 1 + random() % 3);
      }
    }
    const Result<Manifest> manifest = ParseManifest(text);
    if (!manifest.ok()) {
      EXPECT_EQ(manifest.status().code(), StatusCode::kDataLoss);
      continue;
    }
    for (const ManifestFile& file : manifest->files) EXPECT_TRUE(IsPlainFileName(file.path));
  }
}

TEST(ManifestTest, VerifyNamesTheFileThatDiffers) {
  const TemporaryDirectory folder;
  const std::string text =
      R"({"step":1,"files":[{"path":"a","size":3,"sha256":")" + Sha256Of("abc") + R"("}]})";
  EXPECT_EQ(VerifyCheckpoint(folder.path(), "").code(), StatusCode::kNotFound) << "no manifest";
  ASSERT_TRUE(WriteFileAtomically(folder / "manifest.json", text).ok());
  EXPECT_EQ(VerifyCheckpoint(folder.path(), "").message(),
            folder / "a" + ": missing, or not 3 bytes");
  ASSERT_TRUE(WriteFileAtomically(folder / "a", "abd").ok());
  EXPECT_EQ(VerifyCheckpoint(folder.path(), "").message(),
            folder / "a" + ": SHA-256 differs from the manifest");
  ASSERT_TRUE(WriteFileAtomically(folder / "a", "abc").ok());
  EXPECT_TRUE(VerifyCheckpoint(folder.path(), "").ok());
  EXPECT_TRUE(VerifyCheckpoint(folder.path(), Sha256Of(text)).ok());
  EXPECT_EQ(VerifyCheckpoint(folder.path(), Sha256Of("abc")).code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace muster::wire
