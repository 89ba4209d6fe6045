#include "cli/local_data.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/sha256.h"
#include "cli/ignore.h"
#include "tests/support/temporary_directory.h"
#include "wire/tree.h"

namespace muster::cli {
namespace {

bool Ignored(const std::string& rules, const std::string& path, bool folder = false) {
  const Result<IgnoreRules> parsed = IgnoreRules::Parse(rules, ".musterignore");
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return parsed->Ignores(path, folder);
}

TEST(IgnoreTest, PatternsMeanWhatGitMeansByThem) {
  EXPECT_TRUE(Ignored("*.pyc", "a/b/c.pyc"));
  EXPECT_FALSE(Ignored("*.pyc", "a/c.pyc.txt"));
  EXPECT_TRUE(Ignored("build/", "x/build", true));
  EXPECT_FALSE(Ignored("build/", "x/build", false));
  EXPECT_TRUE(Ignored("/top", "top"));
  EXPECT_FALSE(Ignored("/top", "x/top"));
  EXPECT_TRUE(Ignored("a/b", "a/b"));
  EXPECT_FALSE(Ignored("a/b", "x/a/b"));
  EXPECT_TRUE(Ignored("a/**/z", "a/z"));
  EXPECT_TRUE(Ignored("a/**/z", "a/b/c/z"));
  EXPECT_TRUE(Ignored("**/z", "z"));
  EXPECT_TRUE(Ignored("a?c", "abc"));
  EXPECT_FALSE(Ignored("a*c", "a/c"));
  EXPECT_FALSE(Ignored("# abc\n\n", "abc"));
  EXPECT_TRUE(Ignored("x\r\ny", "y"));
  EXPECT_TRUE(Ignored("a*b*c", "aXbbYc"));
  EXPECT_FALSE(Ignored("a*b*c", "aXbbY"));
}

TEST(IgnoreTest, WhatIsNotOfTheSubsetIsRefusedWithItsLine) {
  for (const char* rule : {"!keep", "[ab]", "a\\*", "/"}) {
    const Status refused = IgnoreRules::Parse(std::string("ok\n") + rule, "f").status();
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << rule;
    EXPECT_EQ(refused.message().rfind("f:2: ", 0), 0U) << refused.message();
  }
}

class LocalDataTest : public testing::Test {
 protected:
  void Write(const std::string& path, const std::string& bytes) {
    const std::string whole = folder_ / path;
    ASSERT_TRUE(MakeDirectories(std::filesystem::path(whole).parent_path().string()).ok());
    ASSERT_TRUE(WriteFileAtomically(whole, bytes).ok());
  }
  static Result<LocalData> Read(const std::string& path) {
    return ReadLocalData(path, [](std::uint64_t) {});
  }
  TemporaryDirectory folder_;
};

TEST_F(LocalDataTest, AFolderIsItsFilesAndTheirList) {
  Write("d/b/two", "22");
  Write("d/one", "1");
  Write("d/skip.tmp", "x");
  Write("d/cache/deep/x", "x");
  Write("d/.musterignore", "*.tmp\ncache/\n");
  ASSERT_EQ(::chmod((folder_ / "d/one").c_str(), 0755), 0);
  const Result<LocalData> data = Read(folder_ / "d");
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ(data->files, 2U);
  EXPECT_EQ(data->bytes, 3U);
  ASSERT_EQ(data->objects.size(), 3U);
  const Result<wire::Tree> tree = wire::ParseTree(data->objects.back().text);
  ASSERT_TRUE(tree.ok());
  EXPECT_EQ(data->sha256, Sha256Of(data->objects.back().text));
  EXPECT_TRUE(tree->Find("one")->executable);
  EXPECT_FALSE(tree->Find("b/two")->executable);
  EXPECT_EQ(tree->Find("b/two")->sha256, Sha256Of("22"));
}

TEST_F(LocalDataTest, LinksPipesAndBadNamesAreRefusedByName) {
  Write("link/x", "x");
  ASSERT_EQ(::symlink("/etc/passwd", (folder_ / "link/passwd").c_str()), 0);
  Write("pipe/x", "x");
  ASSERT_EQ(::mkfifo((folder_ / "pipe/queue").c_str(), 0600), 0);
  Write("name/x\ny", "x");
  ASSERT_TRUE(MakeDirectories(folder_ / "empty").ok());
  const auto told = [&](const std::string& folder) {
    const Status refused = Read(folder_ / folder).status();
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << folder;
    return refused.message();
  };
  EXPECT_NE(told("link").find("link/passwd is a symbolic link"), std::string::npos);
  EXPECT_NE(told("pipe").find("pipe/queue is a pipe"), std::string::npos);
  EXPECT_NE(told("pipe/queue").find("is a pipe"), std::string::npos);
  EXPECT_NE(told("name").find("control character"), std::string::npos);
  EXPECT_NE(told("empty").find("holds no files"), std::string::npos);
  EXPECT_EQ(Read(folder_ / "none").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace muster::cli
