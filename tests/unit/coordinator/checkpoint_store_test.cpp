#include "coordinator/store/checkpoint_store.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/sha256.h"
#include "tests/support/temporary_directory.h"
#include "wire/manifest.h"

namespace muster::coordinator {
namespace {

std::string ManifestOf(std::uint64_t step, const std::string& data) {
  return R"({"files":[{"path":"model.safetensors","sha256":")" + Sha256Of(data) + R"(","size":)" +
         std::to_string(data.size()) + R"(}],"format_version":1,"step":)" + std::to_string(step) +
         "}\n";
}

Status Send(CheckpointUpload& upload, const std::string& data, const std::string& manifest,
            std::uint64_t step) {
  MUSTER_RETURN_IF_ERROR(upload.OpenFile("manifest.json"));
  MUSTER_RETURN_IF_ERROR(upload.Write(manifest));
  MUSTER_RETURN_IF_ERROR(upload.OpenFile("model.safetensors"));
  MUSTER_RETURN_IF_ERROR(upload.Write(data));
  return upload.Finish(Sha256Of(manifest), step);
}

std::size_t EntriesOf(const std::string& folder) {
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++entries;
  return entries;
}

TEST(CheckpointStoreTest, PublishesWhatMatchesItsManifest) {
  const TemporaryDirectory folder;
  const CheckpointStore store(folder / "store");
  auto upload = std::move(*store.Begin(3, {3, 1}, 10));
  ASSERT_TRUE(Send(*upload, "weights", ManifestOf(10, "weights"), 10).ok());
  ASSERT_TRUE(store.Publish(*upload, 3, 10).ok());
  upload.reset();
  EXPECT_EQ(*ReadFile(store.Path(3, 10) + "/model.safetensors"), "weights");
  EXPECT_TRUE(wire::VerifyCheckpoint(store.Path(3, 10), "").ok());
  EXPECT_EQ(EntriesOf(folder / "store/3"), 1U);
}

TEST(CheckpointStoreTest, RefusesDamageAndLeavesNothing) {
  const TemporaryDirectory folder;
  const CheckpointStore store(folder / "store");
  const struct {
    const char* name;
    std::string data, manifest;
    std::uint64_t step;
  } cases[] = {{"other bytes", "weightz", ManifestOf(10, "weights"), 10},
               {"too short", "weight", ManifestOf(10, "weights"), 10},
               {"other step", "weights", ManifestOf(10, "weights"), 11},
               {"no manifest", "weights", "{}", 10}};
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.name);
    auto upload = std::move(*store.Begin(3, {3, 1}, 10));
    EXPECT_EQ(Send(*upload, bad.data, bad.manifest, bad.step).code(), StatusCode::kDataLoss);
    upload.reset();
    EXPECT_EQ(EntriesOf(folder / "store/3"), 0U);
  }
}

TEST(CheckpointStoreTest, RefusesNamesThatLeaveTheFolder) {
  const TemporaryDirectory folder;
  const CheckpointStore store(folder / "store");
  auto upload = std::move(*store.Begin(3, {3, 1}, 10));
  for (const char* name : {"../x", "/etc/x", "a/b", "..", ".", "", ".hidden", "a\nb"}) {
    EXPECT_EQ(upload->OpenFile(name).code(), StatusCode::kInvalidArgument) << name;
  }
  ASSERT_TRUE(upload->OpenFile("model.safetensors").ok());
  EXPECT_FALSE(upload->OpenFile("model.safetensors").ok());
}

TEST(CheckpointStoreTest, PublishingAStepAgainReplacesIt) {
  const TemporaryDirectory folder;
  const CheckpointStore store(folder / "store");
  for (const char* data : {"old", "new"}) {
    auto upload = std::move(*store.Begin(3, {3, 1}, 10));
    ASSERT_TRUE(Send(*upload, data, ManifestOf(10, data), 10).ok());
    ASSERT_TRUE(store.Publish(*upload, 3, 10).ok());
  }
  EXPECT_EQ(*ReadFile(store.Path(3, 10) + "/model.safetensors"), "new");
  EXPECT_EQ(EntriesOf(folder / "store/3"), 1U);
}

TEST(CheckpointStoreTest, RemovesWhatACrashLeft) {
  const TemporaryDirectory folder;
  const CheckpointStore store(folder / "store");
  for (const char* left : {"staging-1-10-abc", "step-10", "step-20"}) {
    ASSERT_TRUE(MakeDirectories(folder / (std::string("store/3/") + left)).ok());
  }
  store.RemoveLeftovers(3, {20});
  EXPECT_EQ(EntriesOf(folder / "store/3"), 1U);
  EXPECT_TRUE(std::filesystem::exists(store.Path(3, 20)));
}

}  // namespace
}  // namespace muster::coordinator
