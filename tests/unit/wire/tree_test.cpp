#include "wire/tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/sha256.h"

namespace muster::wire {
namespace {

TreeEntry Entry(const std::string& path) { return {path, path.size(), Sha256Of(path), false}; }

TEST(TreeTest, TheCanonicalTextIsThis) {
  Tree tree;
  tree.entries.push_back({"b", 2, std::string(64, '1'), false});
  tree.entries.push_back({"a/\"c", 0, std::string(64, '0'), true});
  EXPECT_EQ(*TreeText(tree),
            "{\"files\":[{\"executable\":true,\"path\":\"a/\\\"c\",\"sha256\":\"" +
                std::string(64, '0') +
                "\",\"size\":0},{\"executable\":false,\"path\":\"b\",\"sha256\":\"" +
                std::string(64, '1') + "\",\"size\":2}],\"format\":\"muster-tree-1\"}");
}

// Property: the order in which files were found does not matter, and the text reads back.
TEST(TreeTest, EqualFoldersHaveEqualTexts) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Tree tree;
    for (unsigned i = 0, count = random() % 50; i < count; ++i) {
      tree.entries.push_back(Entry("d" + std::to_string(random() % 5) + "/f" + std::to_string(i)));
    }
    const std::string text = *TreeText(tree);
    std::shuffle(tree.entries.begin(), tree.entries.end(), random);
    EXPECT_EQ(*TreeText(tree), text);
    const Result<Tree> read = ParseTree(text);
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->entries.size(), tree.entries.size());
    EXPECT_EQ(*TreeText(*read), text);
    for (const TreeEntry& entry : tree.entries) {
      ASSERT_NE(read->Find(entry.path), nullptr);
      EXPECT_EQ(read->Find(entry.path)->sha256, entry.sha256);
    }
  }
}

TEST(TreeTest, PathsThatLeaveTheFolderAreRefused) {
  std::string deep = "a";
  for (int i = 0; i < 32; ++i) deep += "/a";
  for (const std::string& path :
       {std::string(), std::string("/etc/passwd"), std::string(".."), std::string("a/../../b"),
        std::string("a//b"), std::string("a/"), std::string("./a"), std::string("a/."),
        std::string("a\0b", 3), std::string("a\nb"), std::string("\xff"), std::string("\xc0\xaf"),
        std::string("\xed\xa0\x80"), std::string("\xe2\x82"), deep, std::string(1025, 'a')}) {
    SCOPED_TRACE(path);
    EXPECT_EQ(CheckTreePath(path).code(), StatusCode::kInvalidArgument);
    Tree tree;
    tree.entries.push_back(Entry(path));
    EXPECT_FALSE(TreeText(tree).ok());
  }
  for (const char* path :
       {"a", ".hidden", "..a", "a b/\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "..."}) {
    EXPECT_TRUE(CheckTreePath(path).ok()) << path;
  }
}

TEST(TreeTest, AFileIsNotAFolderAsWell) {
  Tree twice, both;
  twice.entries = {Entry("a"), Entry("a")};
  both.entries = {Entry("a"), Entry("a.b"), Entry("a/b")};
  EXPECT_FALSE(TreeText(twice).ok());
  EXPECT_FALSE(TreeText(both).ok());
}

TEST(TreeTest, AnythingButTheCanonicalTextIsNoTree) {
  Tree tree;
  tree.entries = {Entry("a"), Entry("b")};
  const std::string text = *TreeText(tree);
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string damaged = text;
    damaged[at] = damaged[at] == ' ' ? 'x' : ' ';
    const Result<Tree> read = ParseTree(damaged);
    // A space within a path is another tree, and nothing else is one.
    EXPECT_TRUE(!read.ok() || *TreeText(*read) == damaged) << damaged;
    EXPECT_FALSE(ParseTree(text.substr(0, at)).ok());
  }
  EXPECT_FALSE(ParseTree(text + "\n").ok());
}

TEST(TreeTest, FoldersAreFoundByTheirNames) {
  Tree tree;
  tree.entries = {Entry("a/b/c"), Entry("a/b/d"), Entry("a/bc")};
  EXPECT_EQ(tree.Below("a/b").size(), 2U);
  EXPECT_EQ(tree.Below("a").size(), 3U);
  EXPECT_TRUE(tree.Below("a/b/c").empty());
  EXPECT_EQ(tree.Find("a/b"), nullptr);
}

}  // namespace
}  // namespace muster::wire
