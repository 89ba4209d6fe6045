#include "trainer/data/csv_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/trainer/data_files.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Refusal(const std::string& text, CsvOptions options = {}) {
  options.path = "iris.csv";
  const auto table = ParseCsv(text, options);
  return table.ok() ? "accepted" : table.status().message();
}

TEST(CsvFileTest, ReadsNumbersAndFindsTheLabelByNameOrNumber) {
  const std::string text = "a, kind ,\"b\"\r\n1,2,-3.5\r\n\n+4 , 0 , 5e-1\n";
  for (const std::string label : {"kind", "1"}) {
    SCOPED_TRACE(label);
    const auto table = ParseCsv(text, {"x.csv", true, label});
    ASSERT_TRUE(table.ok()) << table.status().message();
    EXPECT_EQ(table->columns, 2U);
    EXPECT_THAT(table->features, ElementsAre(1.0F, -3.5F, 4.0F, 0.5F));
    EXPECT_THAT(table->labels, ElementsAre(2, 0));
    EXPECT_EQ(table->label_name, "kind");
  }
}

TEST(CsvFileTest, ASpreadsheetsByteOrderMarkIsNoPartOfAName) {
  const auto table = ParseCsv("\xEF\xBB\xBFkind,a\n1,2.5\n", {"x.csv", true, "kind"});
  ASSERT_TRUE(table.ok()) << table.status().message();
  EXPECT_THAT(table->labels, ElementsAre(1));
}

TEST(CsvFileTest, WithoutHeaderTheFirstLineIsASampleAndTheLastColumnTheLabel) {
  const auto table = ParseCsv("0.5,1\n0.25,0", {"x.csv", false});
  ASSERT_TRUE(table.ok()) << table.status().message();
  EXPECT_THAT(table->features, ElementsAre(0.5F, 0.25F));
  EXPECT_THAT(table->labels, ElementsAre(1, 0));
}

TEST(CsvFileTest, NamesFileLineAndColumnOfWhatIsWrong) {
  EXPECT_THAT(Refusal(""), HasSubstr("iris.csv: the file is empty"));
  EXPECT_THAT(Refusal("a,b\n"), HasSubstr("iris.csv: no samples after the header"));
  EXPECT_THAT(Refusal("a\n1\n"), HasSubstr("iris.csv:1:1: one column"));
  EXPECT_THAT(Refusal("a,b\n1,0\n\nx1,0\n"),
              HasSubstr("iris.csv:4:1: 'x1' in column 'a' is not a number"));
  EXPECT_THAT(Refusal("a,b\n1,0\n,0\n"), HasSubstr("iris.csv:3:1: ''"));
  EXPECT_THAT(Refusal("a,b\n1\n"), HasSubstr("iris.csv:2:2: 1 columns where the first line has 2"));
  EXPECT_THAT(Refusal("a,b\n1,0,7\n"), HasSubstr("iris.csv:2:3: 3 columns"));
  EXPECT_THAT(Refusal("a,b\nnan,0\n"), HasSubstr("not a finite"));
  EXPECT_THAT(Refusal("a,b\n1e39,0\n"), HasSubstr("not a finite"));
  EXPECT_THAT(Refusal("a,b\n1e999,0\n"), HasSubstr("out of a number's range"));
  EXPECT_THAT(Refusal("a,b\n1,0.5\n"), HasSubstr("iris.csv:2:2: label '0.5' is out of range"));
  EXPECT_THAT(Refusal("a,b\n1,-1\n"), HasSubstr("label '-1' is out of range"));
  CsvOptions three;
  three.classes = 3;
  EXPECT_THAT(Refusal("a,b\n1,3\n", three), HasSubstr("whole numbers from 0 to 2"));
  CsvOptions missing;
  missing.label_column = "kind";
  EXPECT_THAT(Refusal("a,b\n1,3\n", missing), HasSubstr("iris.csv:1:1: no column 'kind'"));
  EXPECT_THAT(Refusal(std::string("\0\1\2\n\3,\4\n", 8)), HasSubstr("iris.csv:"));
}

TEST(CsvFileTest, ASecondReadFindsTheParsedCopy) {
  const std::string folder = test::EmptyFolder("csv");
  DataCache cache(DataCacheOptions{folder + "/cache"});
  const CsvOptions options{test::Written(folder + "/x.csv", "a,b,y\n1,2,0\n3,4,2\n")};
  const auto first = ReadCsv(cache, options);
  ASSERT_TRUE(first.ok()) << first.status().message();
  const auto second = ReadCsv(cache, options);
  ASSERT_TRUE(second.ok()) << second.status().message();
  EXPECT_THAT(std::vector<float>(second->f32.begin(), second->f32.end()), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(second->labels, first->labels);
  EXPECT_EQ(second->sha256, first->sha256);
  EXPECT_EQ(second->classes, 3);
  CsvOptions by_name = options;
  by_name.label_column = "a";
  EXPECT_NE(ReadCsv(cache, by_name)->sha256, first->sha256);
}

TEST(CsvFileTest, ShapesFeaturesWhenTheyFit) {
  const std::string folder = test::EmptyFolder("csv");
  DataCache cache(DataCacheOptions{});
  CsvOptions options{test::Written(folder + "/x.csv", "a,b,c,d,y\n1,2,3,4,0\n")};
  options.shape = {1, 2, 2};
  EXPECT_EQ(ReadCsv(cache, options)->shape, (FeatureShape{1, 2, 2}));
  options.shape = {1, 3, 2};
  EXPECT_THAT(ReadCsv(cache, options).status().message(), HasSubstr("do not make 1x3x2"));
}

// Property: no text crashes the parser; what it accepts is a full table.
TEST(CsvFileTest, SurvivesRandomText) {
  constexpr std::string_view kLetters = "0123456789,,,,\n\n.-+e\"\r x";
  for (unsigned seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string text;
    for (unsigned i = random() % 60; i > 0; --i) text += kLetters[random() % kLetters.size()];
    const auto table = ParseCsv(text, {"x.csv", seed % 2 == 0});
    if (!table.ok()) continue;
    EXPECT_GT(table->labels.size(), 0U);
    EXPECT_EQ(table->features.size(), table->labels.size() * table->columns);
  }
}

}  // namespace
}  // namespace muster
