#include "worker/agent/data_cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "base/file.h"
#include "base/sha256.h"
#include "tests/support/temporary_directory.h"
#include "wire/tree.h"
#include "worker/agent/job_data.h"

namespace muster::agent {
namespace {

class DataCacheTest : public testing::Test {
 protected:
  DataCacheTest() { Restart(100); }

  void Restart(std::uint64_t bytes_max) {
    DataCache::Source source;
    source.fetch = [this](const std::string& sha256, std::uint64_t offset, int file,
                          const DataCache::Cancelled&) { return Fetch(sha256, offset, file); };
    source.away = [](const Status& status) { return status.code() == StatusCode::kUnavailable; };
    source.pause = [] { return true; };
    cache_ = std::make_unique<DataCache>(folder_ / "data", bytes_max, source);
  }

  // What the coordinator has: `cut_at` ends the first try of an object there.
  Status Fetch(const std::string& sha256, std::uint64_t offset, int file) {
    ++fetches_;
    if (gate_.valid()) gate_.wait();
    for (const std::string& bytes : there_) {
      if (Sha256Of(bytes) != sha256) continue;
      const std::size_t end = offset < cut_at_ ? cut_at_ : bytes.size();
      MUSTER_RETURN_IF_ERROR(WriteAll(
          file, (damaged_ ? std::string(bytes.size(), '?') : bytes).substr(offset, end - offset),
          "test"));
      return end < bytes.size() ? Unavailable("cut") : Status();
    }
    return NotFound("no object " + sha256);
  }

  Result<std::string> Get(const std::string& bytes, std::uint64_t job = 1) {
    return cache_->Get(Sha256Of(bytes), {job, 1}, [] { return false; });
  }

  TemporaryDirectory folder_;
  std::vector<std::string> there_ = {std::string(40, 'a'), std::string(40, 'b'),
                                     std::string(40, 'c')};
  std::size_t cut_at_ = 0;
  bool damaged_ = false;
  std::atomic<int> fetches_ = 0;
  std::shared_future<void> gate_;
  std::unique_ptr<DataCache> cache_;
};

TEST_F(DataCacheTest, AnObjectIsFetchedOnceAndOutlivesTheAgent) {
  const Result<std::string> path = Get(there_[0]);
  ASSERT_TRUE(path.ok()) << path.status().message();
  EXPECT_EQ(*ReadFile(*path), there_[0]);
  EXPECT_EQ(*Get(there_[0], 2), *path);
  Restart(100);
  EXPECT_EQ(*Get(there_[0]), *path);
  EXPECT_EQ(fetches_, 1);
}

TEST_F(DataCacheTest, AFetchThatIsCutGoesOnWhereItWas) {
  cut_at_ = 15;
  EXPECT_EQ(*ReadFile(*Get(there_[0])), there_[0]);
  EXPECT_EQ(fetches_, 2);
}

TEST_F(DataCacheTest, WhatArrivesDamagedIsNeverHandedOut) {
  damaged_ = true;
  const Status refused = Get(there_[0]).status();
  EXPECT_EQ(refused.code(), StatusCode::kDataLoss);
  damaged_ = false;
  EXPECT_EQ(*ReadFile(*Get(there_[0])), there_[0]);
}

TEST_F(DataCacheTest, WhatIsDamagedOnTheDiskIsFetchedAgain) {
  for (const bool restarted : {false, true}) {
    SCOPED_TRACE(restarted);
    const std::string path = *Get(there_[0]);
    const int before = fetches_;
    ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
    const auto file = FileDescriptor::Open(path, 1 /* O_WRONLY */);
    ASSERT_EQ(::pwrite(file->get(), "!", 1, 7), 1);
    if (restarted) Restart(100);
    EXPECT_EQ(*ReadFile(*Get(there_[0])), there_[0]);
    EXPECT_EQ(fetches_, before + 1);
  }
  std::filesystem::remove(*Get(there_[0]));
  EXPECT_EQ(*ReadFile(*Get(there_[0])), there_[0]) << "nor is it missed when it is gone";
}

TEST_F(DataCacheTest, BeyondTheCapTheLongestUnusedGoesButNothingThatIsInUse) {
  const std::string a = *Get(there_[0], 1), b = *Get(there_[1], 2);
  const std::string c = *Get(there_[2], 3);  // 120 bytes, all in use.
  EXPECT_TRUE(std::filesystem::exists(a));
  cache_->Release({2, 1});
  EXPECT_FALSE(std::filesystem::exists(b)) << "the only idle one, 120 > 100";
  cache_->Release({1, 1});
  cache_->Release({3, 1});
  EXPECT_TRUE(std::filesystem::exists(a));
  EXPECT_TRUE(std::filesystem::exists(c));
  ASSERT_TRUE(Get(there_[0], 4).ok());  // Makes c the longest unused.
  ASSERT_TRUE(Get(there_[1], 4).ok());
  EXPECT_FALSE(std::filesystem::exists(c));
  EXPECT_TRUE(std::filesystem::exists(a));
}

TEST_F(DataCacheTest, ConcurrentCallersShareOneFetch) {
  std::promise<void> open;
  gate_ = open.get_future().share();
  std::vector<std::future<Result<std::string>>> callers;
  for (std::uint64_t job = 1; job <= 4; ++job) {
    callers.push_back(std::async(std::launch::async, [this, job] { return Get(there_[0], job); }));
  }
  while (fetches_ == 0) std::this_thread::yield();
  open.set_value();
  for (auto& caller : callers) EXPECT_TRUE(caller.get().ok());
  EXPECT_EQ(fetches_, 1);
}

TEST_F(DataCacheTest, AJobsDataBecomePathsOfThisMachine) {
  ASSERT_TRUE(WriteFileAtomically(folder_ / "local.csv", "1").ok());
  v1::JobSpec spec;
  v1::SupervisedData& data = *spec.mutable_supervised()->mutable_data();
  data.set_train_csv("sha256:" + Sha256Of(there_[0]));
  data.set_test_csv(folder_ / "local.csv");
  const JobData prepared =
      PrepareJobData(*cache_, "host-1", spec, {1, 1}, folder_ / "work", [] { return false; });
  ASSERT_TRUE(prepared.status.ok()) << prepared.status.message();
  EXPECT_EQ(*ReadFile(prepared.spec.supervised().data().train_csv()), there_[0]);
  EXPECT_EQ(prepared.spec.supervised().data().test_csv(), folder_ / "local.csv");
}

TEST_F(DataCacheTest, AShippedFolderIsACopyThatMayBeChanged) {
  wire::Tree tree;
  tree.entries.push_back({"main.sh", 40, Sha256Of(there_[0]), true});
  tree.entries.push_back({"in/data", 40, Sha256Of(there_[1]), false});
  const std::string list = *wire::TreeText(tree);
  there_.push_back(list);
  v1::JobSpec spec;
  spec.mutable_command()->set_ship_directory("sha256:" + Sha256Of(list));
  const std::string work = folder_ / "work";
  for (int attempt = 1; attempt <= 2; ++attempt) {
    const JobData prepared =
        PrepareJobData(*cache_, "host-1", spec, {1, 1}, work, [] { return false; });
    ASSERT_TRUE(prepared.status.ok()) << prepared.status.message();
    EXPECT_EQ(prepared.spec.command().ship_directory(), work);
    EXPECT_EQ(*ReadFile(work + "/in/data"), there_[1]);
    struct stat info {};
    ASSERT_EQ(::stat((work + "/main.sh").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0755U);
    ASSERT_TRUE(WriteFileAtomically(work + "/in/data", "changed").ok());
  }
  EXPECT_EQ(fetches_, 3) << "the cache holds what it held";
}

TEST_F(DataCacheTest, APluginLiesUnderItsNameAndIsCheckedForEveryAttempt) {
  v1::JobSpec spec;
  spec.mutable_ppo()->set_environment("walk.so");
  spec.mutable_ppo()->set_environment_library("sha256:" + Sha256Of(there_[0]));
  const std::string work = folder_ / "work";
  for (int rank = 1; rank <= 2; ++rank) {  // The second finds what the first one uses.
    const JobData prepared =
        PrepareJobData(*cache_, "host-1", spec, {1, 1}, work, [] { return false; });
    ASSERT_TRUE(prepared.status.ok()) << prepared.status.message();
    EXPECT_EQ(prepared.spec.ppo().environment_library(), work + "/walk.so");
    EXPECT_EQ(*ReadFile(work + "/walk.so"), there_[0]);
  }
  EXPECT_EQ(fetches_, 1);
  std::filesystem::remove(*Get(there_[0]));  // Lost or damaged: never handed out.
  damaged_ = true;
  const JobData damaged =
      PrepareJobData(*cache_, "host-1", spec, {1, 2}, work, [] { return false; });
  EXPECT_EQ(damaged.status.code(), StatusCode::kDataLoss);
  damaged_ = false;
  spec.mutable_ppo()->set_environment("../walk.so");
  EXPECT_FALSE(
      PrepareJobData(*cache_, "host-1", spec, {1, 3}, work, [] { return false; }).status.ok());
}

TEST_F(DataCacheTest, WhatAWorkerLacksIsSaidWithItsName) {
  ASSERT_TRUE(WriteFileAtomically(folder_ / "empty", "").ok());
  ASSERT_TRUE(MakeDirectories(folder_ / "nothing").ok());
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"missing", "No such file or directory"},
      {"empty", "the file is empty"},
      {"nothing", "the folder is empty"},
      {"pipe", "is neither a file nor a folder"}};
  for (const auto& [name, told] : wrong) {
    v1::JobSpec spec;
    const std::string path = folder_ / name;
    spec.mutable_supervised()->mutable_data()->set_train_csv(path);
    const JobData prepared =
        PrepareJobData(*cache_, "host-1", spec, {1, 1}, folder_ / "work", [] { return false; });
    EXPECT_EQ(prepared.status.message(),
              "worker host-1 lacks " + path + ": " + told + "; put it there, or `muster put` it");
    EXPECT_TRUE(prepared.own_failure);
  }
}

}  // namespace
}  // namespace muster::agent
