#include "wire/data_reference.h"

#include <gtest/gtest.h>

#include "base/sha256.h"
#include "muster/v1/job.pb.h"
#include "wire/job_file.h"

namespace muster::wire {
namespace {

TEST(DataReferenceTest, NamesAndHashesMayGoOnWithAPath) {
  const auto named = ParseDataReference("store:fashion.v2/in/train.gz");
  ASSERT_TRUE(named.ok());
  EXPECT_EQ(named->name, "fashion.v2");
  EXPECT_EQ(named->inner, "in/train.gz");
  const std::string sha256 = Sha256Of("x");
  const auto hashed = ParseDataReference("sha256:" + sha256);
  ASSERT_TRUE(hashed.ok());
  EXPECT_EQ(hashed->sha256, sha256);
  EXPECT_EQ(hashed->inner, "");
}

TEST(DataReferenceTest, WhatIsNearlyOneIsRefused) {
  const std::string sha256 = Sha256Of("x");
  for (const std::string& text :
       {std::string("store:"), std::string("store:/x"), std::string("store:a b"),
        std::string("store:a/"), std::string("store:a/../b"), std::string("store:a//b"),
        std::string("store:.."), "sha256:" + sha256.substr(1), "sha256:" + sha256 + "0",
        "sha256:" + std::string(64, 'F'), "sha256:" + sha256 + "/../x"}) {
    ASSERT_TRUE(IsDataReference(text));
    EXPECT_EQ(ParseDataReference(text).status().code(), StatusCode::kInvalidArgument) << text;
  }
  for (const char* path : {"./store:x", "/store:x", "Store:x", "store", "md5:1"}) {
    EXPECT_FALSE(IsDataReference(path)) << path;
  }
}

constexpr const char* kJob = R"(name = "x"
[supervised]
steps = 1
[supervised.data]
train_csv = "%"
[supervised.model.mlp]
hidden = [1]
)";

Result<v1::JobSpec> LoadNamed(const std::string& csv) {
  std::string text = kJob;
  text.replace(text.find('%'), 1, csv);
  return LoadJobText(text, "job.toml", "/folder", {});
}

TEST(DataReferenceTest, JobFilesKeepReferencesAndMakePathsAbsolute) {
  EXPECT_EQ(LoadNamed("store:a/b.csv")->supervised().data().train_csv(), "store:a/b.csv");
  EXPECT_EQ(LoadNamed("./store:a")->supervised().data().train_csv(), "/folder/store:a");
  const Status refused = LoadNamed("store:a/../b").status();
  EXPECT_EQ(refused.message().rfind("job.toml:5:13: supervised.data.train_csv is", 0), 0U)
      << refused.message();
}

TEST(DataReferenceTest, EveryFieldOfSupervisedDataThatIsAPathIsFound) {
  v1::JobSpec spec;
  v1::SupervisedData& data = *spec.mutable_supervised()->mutable_data();
  data.set_train_images("1");
  data.set_train_labels("2");
  data.set_test_images("3");
  data.set_test_labels("4");
  data.set_train_csv("5");
  data.set_test_csv("6");
  data.set_label_column("not data");
  std::string seen;
  ASSERT_TRUE(MapDataFields(spec, [&](const std::string& field, const std::string& value) {
                seen += field.substr(field.rfind('.') + 1) + "=" + value + " ";
                return Result<std::string>(value + "!");
              }).ok());
  EXPECT_EQ(seen,
            "train_images=1 train_labels=2 test_images=3 test_labels=4 train_csv=5 test_csv=6 ");
  EXPECT_EQ(data.test_csv(), "6!");
  EXPECT_EQ(data.label_column(), "not data");
}

}  // namespace
}  // namespace muster::wire
