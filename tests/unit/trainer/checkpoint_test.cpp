#include "trainer/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "base/sha256.h"
#include "tests/unit/trainer/data_files.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    contents_.step = 60;
    contents_.model = {{"linear.weight", ViewOf(weights_, {2, 2})}};
    contents_.optimizer = {{"exp_avg.linear.weight", ViewOf(moments_, {2, 2})}};
    contents_.lanes = {{"0.samples", ViewOf(positions_, {})}};
    contents_.trainer = {{"best", 0.915}, {"step", 60}};
    contents_.provenance = {{"host", "a"}};
  }
  std::string Refusal() const { return ReadCheckpoint(folder_).status().message(); }

  std::vector<float> weights_ = {1, 2, 3, 4};
  std::vector<float> moments_ = {0, 0, 0, 1};
  std::vector<std::int64_t> positions_ = {480};
  CheckpointContents contents_;
  std::string folder_ = test::EmptyFolder("checkpoint") + "/step-60";
};

TEST_F(CheckpointTest, ReadsWhatItWrote) {
  const auto written = WriteCheckpoint(folder_, contents_);
  ASSERT_TRUE(written.ok()) << written.status().message();
  const auto read = ReadCheckpoint(folder_);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->sha256, *written);
  EXPECT_EQ(read->sha256, *Sha256OfFile(folder_ + "/manifest.json"));
  EXPECT_EQ(read->contents.step, 60U);
  EXPECT_THAT(read->contents.model.at("linear.weight").f32(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(read->contents.optimizer.begin()->second.f32(), ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(read->contents.lanes.begin()->second.i64(), ElementsAre(480));
  EXPECT_EQ(read->contents.trainer, contents_.trainer);
}

TEST_F(CheckpointTest, TheDigestCoversAllStateButNotWhereItWasMade) {
  const std::string digest = *WriteCheckpoint(folder_, contents_);
  contents_.provenance = {{"host", "b"}, {"ranks", 4}};
  EXPECT_EQ(*WriteCheckpoint(folder_, contents_), digest);
  moments_[3] = 2;
  EXPECT_NE(*WriteCheckpoint(folder_, contents_), digest);
  moments_[3] = 1;
  contents_.trainer["best"] = 0.916;
  EXPECT_NE(*WriteCheckpoint(folder_, contents_), digest);
}

TEST_F(CheckpointTest, OtherFilesLieBesideItAndAreNoPartOfIt) {
  const std::string digest = *WriteCheckpoint(folder_, contents_);
  contents_.others["episode.gif"] = "GIF89a";
  EXPECT_EQ(*WriteCheckpoint(folder_, contents_), digest);
  EXPECT_EQ(*ReadFile(folder_ + "/episode.gif"), "GIF89a");
  EXPECT_TRUE(ReadCheckpoint(folder_).ok());
}

// The format is a promise to other versions of this program: a change must be deliberate.
TEST_F(CheckpointTest, MatchesTheRecordedFiles) {
  ASSERT_TRUE(WriteCheckpoint(folder_, contents_).ok());
  for (const std::string name : {"manifest.json", "trainer.json", "model.safetensors"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(*ReadFile(folder_ + "/" + name), *ReadFile("tests/golden/checkpoint/" + name));
  }
}

TEST_F(CheckpointTest, NamesTheFileThatIsWrong) {
  EXPECT_EQ(ReadCheckpoint(folder_).status().code(), StatusCode::kNotFound);
  ASSERT_TRUE(WriteCheckpoint(folder_, contents_).ok());
  const std::string model = folder_ + "/model.safetensors";
  const std::string bytes = *ReadFile(model);
  std::string flipped = bytes;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  test::Written(model, flipped);
  EXPECT_THAT(Refusal(), HasSubstr("model.safetensors: its SHA-256 is"));
  test::Written(model, bytes.substr(1));
  EXPECT_THAT(Refusal(), HasSubstr("bytes where the manifest says"));
  std::filesystem::remove(model);
  EXPECT_THAT(Refusal(), HasSubstr("model.safetensors: No such file"));
  test::Written(model, bytes);
  EXPECT_TRUE(ReadCheckpoint(folder_).ok());
  const Manifest empty{60, {}};
  test::Written(folder_ + "/manifest.json", EncodeManifest(empty));
  EXPECT_THAT(Refusal(), HasSubstr("does not list all"));
}

TEST_F(CheckpointTest, AnUnfinishedAttemptIsReplacedAndNeverRead) {
  ASSERT_TRUE(WriteCheckpoint(folder_, contents_).ok());
  std::filesystem::remove(folder_ + "/manifest.json");
  test::Written(folder_ + "/model.safetensors", std::string(100'000, 'x'));
  EXPECT_EQ(ReadCheckpoint(folder_).status().code(), StatusCode::kNotFound);
  const std::string digest = *WriteCheckpoint(folder_, contents_);
  EXPECT_EQ(ReadCheckpoint(folder_)->sha256, digest);
}

// The limit on a file's size stands in for a full disk.
TEST_F(CheckpointTest, AFullDiskIsToldAndLeavesNoManifest) {
  ASSERT_TRUE(WriteCheckpoint(folder_, contents_).ok());
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{70, 70};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto written = WriteCheckpoint(folder_, contents_);
    const bool told = written.status().message().find("lanes.safetensors") != std::string::npos;
    ::_exit(!written.ok() && told ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(ReadCheckpoint(folder_).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace muster
