#include "cli/pull_checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/uuid.h"
#include "tests/unit/cli/fake_cluster.h"
#include "wire/manifest.h"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;

class PullCheckpointTest : public testing::Test {
 protected:
  PullCheckpointTest() : folder_(fs::temp_directory_path() / ("muster-test-" + NewUuid())) {
    fs::create_directories(folder_);
  }
  ~PullCheckpointTest() override { fs::remove_all(folder_); }

  Status Receive(const std::vector<v1::CheckpointChunk>& chunks) {
    cluster_.checkpoint = chunks;
    ClusterOptions options;
    options.state = cluster_.state();
    MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, Session::Open(options));
    return PullCheckpoint(*session, 1, std::nullopt, target()).status();
  }
  std::string target() const { return folder_ / "sub" / "model"; }
  // Nothing but what was published, and no staging.
  bool LeftNothing() const { return !fs::exists(target()) && !fs::exists(target() + ".partial"); }

  fs::path folder_;
  FakeCluster cluster_;
};

TEST_F(PullCheckpointTest, WritesAVerifiedCheckpoint) {
  ASSERT_TRUE(Receive(CheckpointOf({{"a.bin", "hello"}, {"b.json", "{}"}})).ok());
  EXPECT_EQ(*ReadFile(target() + "/a.bin"), "hello");
  EXPECT_EQ(*ReadFile(target() + "/b.json"), "{}");
  EXPECT_FALSE(fs::exists(target() + ".partial"));
}

TEST_F(PullCheckpointTest, TakesThePlaceOfAnEmptyDirectoryOnly) {
  fs::create_directories(target());
  ASSERT_TRUE(Receive(CheckpointOf({{"a.bin", "hello"}})).ok());
  const Status again = Receive(CheckpointOf({{"a.bin", "other"}}));
  EXPECT_EQ(again.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(*ReadFile(target() + "/a.bin"), "hello");
}

TEST_F(PullCheckpointTest, NeverUsesAPathFromTheWire) {
  const std::string outside = folder_ / "evil";
  for (const std::string& name :
       {std::string("../evil"), std::string("/tmp/evil"), std::string(".."), std::string("."),
        std::string("a/b"), std::string(".hidden"), std::string("a\nb"), std::string(300, 'a'),
        outside}) {
    SCOPED_TRACE(name);
    EXPECT_FALSE(wire::IsPlainFileName(name));
    const Status status = Receive(CheckpointOf({{name, "x"}}));
    EXPECT_EQ(status.code(), StatusCode::kDataLoss);
    EXPECT_TRUE(LeftNothing());
    EXPECT_FALSE(fs::exists(outside));
  }
  EXPECT_TRUE(wire::IsPlainFileName("model.safetensors"));
}

TEST_F(PullCheckpointTest, RefusesWhatDiffersFromTheManifest) {
  std::vector<v1::CheckpointChunk> damaged = CheckpointOf({{"a.bin", "hello"}});
  damaged[1].set_data("HE");
  EXPECT_EQ(Receive(damaged).code(), StatusCode::kDataLoss);
  std::vector<v1::CheckpointChunk> truncated = CheckpointOf({{"a.bin", "hello"}});
  truncated.pop_back();
  EXPECT_EQ(Receive(truncated).code(), StatusCode::kDataLoss);
  std::vector<v1::CheckpointChunk> lacking = CheckpointOf({{"a.bin", "hello"}});
  lacking.erase(lacking.begin() + 1, lacking.begin() + 3);
  EXPECT_EQ(Receive(lacking).code(), StatusCode::kDataLoss);
  std::vector<v1::CheckpointChunk> announced = CheckpointOf({{"a.bin", "hello"}});
  announced[0].mutable_begin()->set_sha256("00");
  EXPECT_EQ(Receive(announced).code(), StatusCode::kDataLoss);
  EXPECT_TRUE(LeftNothing());
}

TEST_F(PullCheckpointTest, RefusesChunksOutOfOrder) {
  const std::vector<v1::CheckpointChunk> good = CheckpointOf({{"a.bin", "hello"}});
  EXPECT_EQ(Receive({good[1]}).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Receive({good[0], good[0]}).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Receive({good[0], good[2]}).code(), StatusCode::kDataLoss);
  EXPECT_FALSE(Receive({good[0], good[1], good[1]}).ok());
  EXPECT_EQ(Receive({good[0]}).code(), StatusCode::kNotFound) << "no manifest";
  EXPECT_FALSE(Receive({}).ok());
  EXPECT_TRUE(LeftNothing());
}

}  // namespace
}  // namespace muster::cli
