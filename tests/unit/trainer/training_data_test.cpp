#include "trainer/data/training_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/trainer/data_files.h"

namespace muster {
namespace {

using test::IdxBytes;
using test::Written;
using testing::HasSubstr;

class TrainingDataTest : public testing::Test {
 protected:
  DataOptions Idx(const std::string& train_labels, const std::string& test_labels) {
    const std::string pixels(24, 'x');
    DataOptions options;
    options.train_idx = IdxOptions{Written(folder_ + "/train", IdxBytes({4, 2, 3}, pixels)),
                                   Written(folder_ + "/train-labels", IdxBytes({4}, train_labels))};
    options.test_idx =
        IdxOptions{Written(folder_ + "/test", IdxBytes({2, 2, 3}, pixels.substr(12))),
                   Written(folder_ + "/test-labels", IdxBytes({2}, test_labels))};
    options.cache_directory = folder_ + "/cache";
    return options;
  }
  static std::string Refusal(const DataOptions& options) {
    return InspectData(options).status().message();
  }
  std::string folder_ = test::EmptyFolder("training-data");
  DataOptions good_ = Idx({0, 1, 2, 1}, {0, 1});
};

TEST_F(TrainingDataTest, SummarisesWhatItReads) {
  good_.validation_fraction = 0.25;
  const auto summary = InspectData(good_);
  ASSERT_TRUE(summary.ok()) << summary.status().message();
  EXPECT_EQ(summary->train_samples, 3U);
  EXPECT_EQ(summary->validation_samples, 1U);
  EXPECT_EQ(summary->test_samples, 2U);
  EXPECT_EQ(summary->classes, 3);
  EXPECT_EQ(summary->shape, (FeatureShape{1, 2, 3}));
  EXPECT_EQ(ReadTrainingData(good_)->sha256, summary->sha256);
}

TEST_F(TrainingDataTest, TheHashChangesWithAnyFile) {
  const std::string before = InspectData(good_)->sha256;
  EXPECT_NE(InspectData(Idx({0, 1, 2, 1}, {0, 2}))->sha256, before);
  EXPECT_NE(InspectData(Idx({0, 2, 2, 1}, {0, 1}))->sha256, before);
  EXPECT_EQ(InspectData(Idx({0, 1, 2, 1}, {0, 1}))->sha256, before);
}

TEST_F(TrainingDataTest, TheTestSetMayNotGoBeyondTheTrainingSet) {
  EXPECT_THAT(Refusal(Idx({0, 1, 1, 1}, {0, 2})),
              HasSubstr("test-labels: byte 9: label 2 of sample 1 is out of range"));
  Written(folder_ + "/test", IdxBytes({2, 3, 2}, std::string(12, 'x')));
  Written(folder_ + "/test-labels", IdxBytes({2}, {0, 1}));
  EXPECT_THAT(Refusal(good_), HasSubstr("samples are 1x3x2, those of the training set 1x2x3"));
}

TEST_F(TrainingDataTest, ATestFileMayMoveItsLabelButNoFeature) {
  const auto refusal_of = [&](const std::string& test) {
    DataOptions options;
    options.cache_directory = good_.cache_directory;
    options.train_csv =
        CsvOptions{.path = Written(folder_ + "/train.csv", "x,y,label\n1,2,0\n3,4,1\n"),
                   .label_column = "label"};
    options.test_csv =
        CsvOptions{.path = Written(folder_ + "/test.csv", test), .label_column = "label"};
    const auto summary = InspectData(options);
    return summary.ok() ? std::string() : summary.status().message();
  };
  EXPECT_EQ(refusal_of("label,x,y\n0,1,2\n"), "");
  EXPECT_THAT(refusal_of("y,x,label\n2,1,0\n"),
              HasSubstr("test.csv:1: feature 1 is 'y', that of the training set 'x'"));
  EXPECT_THAT(refusal_of("x,label\n1,0\n"), HasSubstr("samples are 1x1x1"));
}

TEST_F(TrainingDataTest, RefusesOptionsThatContradict) {
  DataOptions options = good_;
  options.validation_samples = 4;
  EXPECT_THAT(Refusal(options), HasSubstr("leave none to train on"));
  options.validation_fraction = 0.5;
  EXPECT_THAT(Refusal(options), HasSubstr("not both"));
  options = good_;
  options.validation_fraction = 1.0;
  EXPECT_THAT(Refusal(options), HasSubstr("below 1"));
  options = good_;
  options.train_csv = CsvOptions{};
  EXPECT_THAT(Refusal(options), HasSubstr("as IDX files or as a CSV file"));
  options = good_;
  options.normalization.mean = {0.5, 0.5};
  EXPECT_THAT(Refusal(options), HasSubstr("2 means"));
}

}  // namespace
}  // namespace muster
