#include "trainer/data/idx_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/trainer/data_files.h"

namespace muster {
namespace {

using test::Gzipped;
using test::IdxBytes;
using test::Written;
using testing::HasSubstr;

class IdxFileTest : public testing::Test {
 protected:
  Result<Dataset> Read(const std::string& images, const std::string& labels, int classes = 0) {
    DataCache cache(DataCacheOptions{folder_ + "/cache"});
    return ReadIdx(cache, {Written(folder_ + "/images", images),
                           Written(folder_ + "/labels", labels), classes});
  }
  std::string Refusal(const std::string& images, const std::string& labels, int classes = 0) {
    const auto set = Read(images, labels, classes);
    return set.ok() ? "accepted" : set.status().message();
  }

  std::string folder_ = test::EmptyFolder("idx");
  // Two images of 2 x 3 and their labels.
  std::string images_ = IdxBytes({2, 2, 3}, "abcdefghijkl");
  std::string labels_ = IdxBytes({2}, {0, 3});
};

TEST_F(IdxFileTest, ReadsPlainAndCompressedFilesAlike) {
  for (const bool compressed : {false, true}) {
    SCOPED_TRACE(compressed);
    const auto set = compressed ? Read(Gzipped(images_), Gzipped(labels_)) : Read(images_, labels_);
    ASSERT_TRUE(set.ok()) << set.status().message();
    EXPECT_EQ(set->samples, 2U);
    EXPECT_EQ(set->shape, (FeatureShape{1, 2, 3}));
    EXPECT_EQ(set->classes, 4);
    EXPECT_EQ(set->labels, (std::vector<std::int32_t>{0, 3}));
    EXPECT_EQ(std::string(set->u8.begin(), set->u8.end()), "abcdefghijkl");
    EXPECT_TRUE(set->notes.empty());
  }
}

TEST_F(IdxFileTest, ReadsChannelsAndVectors) {
  EXPECT_EQ(Read(IdxBytes({2, 3, 1, 2}, "abcdefghijkl"), labels_)->shape, (FeatureShape{3, 1, 2}));
  EXPECT_EQ(Read(IdxBytes({2, 6}, "abcdefghijkl"), labels_)->shape, (FeatureShape{1, 1, 6}));
}

TEST_F(IdxFileTest, NamesFileAndByteOfWhatIsWrong) {
  EXPECT_THAT(Refusal("", labels_), HasSubstr("images: the file is empty"));
  EXPECT_THAT(Refusal("\x89PNG....", labels_), HasSubstr("byte 0: not an IDX file"));
  std::string floats = images_;
  floats[2] = 0x0d;
  EXPECT_THAT(Refusal(floats, labels_), HasSubstr("byte 2: element type 0x0d"));
  std::string deep = images_;
  deep[3] = 9;
  EXPECT_THAT(Refusal(deep, labels_), HasSubstr("byte 3: 9 dimensions"));
  EXPECT_THAT(Refusal(images_.substr(0, 10), labels_), HasSubstr("byte 10: the file ends here"));
  EXPECT_THAT(
      Refusal(images_.substr(0, 20), labels_),
      HasSubstr(
          "byte 4: the dimensions speak of 28 bytes, but a file of this size holds at most 20"));
  EXPECT_THAT(Refusal(images_ + "x", labels_), HasSubstr("byte 28: the file goes on"));
  EXPECT_THAT(Refusal(IdxBytes({0, 2, 3}, ""), labels_), HasSubstr("byte 4: the set is empty"));
  EXPECT_THAT(Refusal(IdxBytes({2, 0, 3}, ""), labels_),
              HasSubstr("byte 8: a dimension of size 0"));
  EXPECT_THAT(Refusal(images_, images_), HasSubstr("labels: byte 3: 3 dimensions"));
  EXPECT_THAT(Refusal(labels_, labels_), HasSubstr("images: byte 3: one dimension"));
  EXPECT_THAT(Refusal(images_, IdxBytes({3}, {0, 1, 2})), HasSubstr("holds 2 images, but"));
}

TEST_F(IdxFileTest, NamesTheLabelThatIsOutOfRange) {
  EXPECT_TRUE(Read(images_, labels_, 4).ok());
  EXPECT_THAT(Refusal(images_, labels_, 3),
              HasSubstr("labels: byte 9: label 3 of sample 1 is out of range; labels are 0 to 2"));
}

TEST_F(IdxFileTest, NamesTheByteWhereCompressionIsDamaged) {
  const std::string packed = Gzipped(images_);
  EXPECT_THAT(Refusal(packed.substr(0, packed.size() - 4), labels_),
              HasSubstr("the gzip data are cut off here"));
  std::string flipped = packed;
  flipped[packed.size() - 6] = static_cast<char>(flipped[packed.size() - 6] ^ 1);
  EXPECT_THAT(Refusal(flipped, labels_), HasSubstr("corrupt gzip data: incorrect data check"));
  EXPECT_THAT(Refusal(packed + "junk", labels_),
              HasSubstr("byte " + std::to_string(packed.size()) + ": bytes after the end"));
}

// A few bytes that claim 64 TB, or inflate to far more than their header says.
TEST_F(IdxFileTest, RefusesBombs) {
  EXPECT_THAT(Refusal(Gzipped(IdxBytes({0xffffffff, 128, 128}, "abc")), labels_),
              HasSubstr("a file of this size holds at most"));
  const std::string bomb = Gzipped(images_ + std::string(50'000'000, '\0'));
  ASSERT_LT(bomb.size(), 100'000U);
  EXPECT_THAT(Refusal(bomb, labels_), HasSubstr("byte 28: the file goes on"));
  EXPECT_THAT(Refusal(IdxBytes({2, 0xffffffff, 0xffffffff, 0xffffffff}, "abc"), labels_),
              HasSubstr("byte 8: a dimension of 4294967295"));
}

// Property: no damage to a file crashes the reader; what it accepts has the promised sizes.
TEST_F(IdxFileTest, SurvivesRandomDamage) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string bytes = images_;
    for (unsigned flips = random() % 4 + 1; flips > 0; --flips) {
      bytes[random() % 16] = static_cast<char>(random());
    }
    bytes.resize(random() % (bytes.size() + 1));
    const auto header = ParseIdxHeader(std::as_bytes(std::span(bytes)), "damaged");
    if (!header.ok()) {
      EXPECT_THAT(header.status().message(), HasSubstr("damaged: "));
      continue;
    }
    EXPECT_LE(header->header_bytes, bytes.size());
    std::uint64_t product = 1;
    for (const std::uint64_t size : header->dimensions) product *= size;
    EXPECT_EQ(product, header->data_bytes);
  }
}

}  // namespace
}  // namespace muster
