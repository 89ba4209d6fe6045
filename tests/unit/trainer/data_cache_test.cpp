#include "trainer/data/data_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "base/sha256.h"
#include "tests/unit/trainer/data_files.h"

namespace muster {
namespace {

using test::Gzipped;
using test::Written;
using testing::HasSubstr;

Result<std::uint64_t> AnyLength(const DataCache::FileStart& /*start*/) { return UINT64_MAX / 2; }
Result<std::uint64_t> NeverAsked(const DataCache::FileStart& /*start*/) {
  return Internal("the cache was not used");
}

std::string Text(const DataBytes& data) {
  return {reinterpret_cast<const char*>(data.bytes().data()), data.bytes().size()};
}

class DataCacheTest : public testing::Test {
 protected:
  std::size_t Copies() const {
    std::size_t copies = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/cache")) {
      copies += entry.path().filename().string().size() == 64 ? 1 : 0;
    }
    return copies;
  }

  std::string folder_ = test::EmptyFolder("cache");
  DataCache cache_{DataCacheOptions{folder_ + "/cache"}};
};

TEST_F(DataCacheTest, InflatesOnceAndFindsTheCopyAgain) {
  const std::string path = Written(folder_ + "/a.gz", Gzipped("plain text"));
  const auto first = cache_.Open(path, AnyLength);
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_EQ(Text(**first), "plain text");
  EXPECT_EQ((*first)->sha256(), *Sha256OfFile(path));
  const auto second = cache_.Open(path, NeverAsked);
  ASSERT_TRUE(second.ok()) << second.status().message();
  EXPECT_EQ(Text(**second), "plain text");
  EXPECT_EQ((*second)->sha256(), (*first)->sha256());
}

TEST_F(DataCacheTest, ManyMembersAreOneStream) {
  const std::string path = Written(folder_ + "/a.gz", Gzipped("one ") + Gzipped("two"));
  EXPECT_EQ(Text(**cache_.Open(path, AnyLength)), "one two");
}

TEST_F(DataCacheTest, AChangedFileIsReadAnewAndTheOldBytesStay) {
  const std::string path = Written(folder_ + "/a", "old");
  const auto old = cache_.Open(path, AnyLength);
  Written(path, "new");
  EXPECT_EQ(Text(**cache_.Open(path, AnyLength)), "new");
  EXPECT_EQ(Text(**old), "old");
}

TEST_F(DataCacheTest, EqualFilesShareOneCopy) {
  ASSERT_TRUE(cache_.Open(Written(folder_ + "/a", "same"), AnyLength).ok());
  ASSERT_TRUE(cache_.Open(Written(folder_ + "/b", "same"), AnyLength).ok());
  EXPECT_EQ(Copies(), 1U);
}

TEST_F(DataCacheTest, ADamagedCopyIsMadeAnew) {
  const std::string path = Written(folder_ + "/a", "good bytes");
  const std::string copy = folder_ + "/cache/" + (*cache_.Open(path, AnyLength))->sha256();
  std::filesystem::permissions(copy, std::filesystem::perms::owner_all);
  std::filesystem::resize_file(copy, 3);
  EXPECT_EQ(Text(**cache_.Open(path, AnyLength)), "good bytes");
}

TEST_F(DataCacheTest, ManyThreadsGetTheSameBytes) {
  const std::string path = Written(folder_ + "/a.gz", Gzipped(std::string(3'000'000, 'x')));
  std::vector<std::string> hashes(8);
  std::vector<std::thread> threads;
  for (std::string& hash : hashes) {
    threads.emplace_back([this, &path, &hash] {
      const auto data = cache_.Open(path, AnyLength);
      if (data.ok()) hash = Sha256Of(Text(**data));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& hash : hashes) EXPECT_EQ(hash, Sha256Of(std::string(3'000'000, 'x')));
  EXPECT_EQ(Copies(), 1U);
}

TEST_F(DataCacheTest, ACacheThatCannotBeWrittenCostsMemoryNotTheJob) {
  const std::string path = Written(folder_ + "/a.gz", Gzipped("plain text"));
  DataCache blocked(DataCacheOptions{Written(folder_ + "/file", "") + "/cache"});
  const auto data = blocked.Open(path, AnyLength);
  ASSERT_TRUE(data.ok()) << data.status().message();
  EXPECT_EQ(Text(**data), "plain text");
  EXPECT_THAT((*data)->note(), HasSubstr("held in private memory"));
}

// The limit on a file's size stands in for a full disk: write(2) fails in the same place.
TEST_F(DataCacheTest, AFullDiskIsToldAndLeavesNothingBehind) {
  const std::string path = Written(folder_ + "/a.gz", Gzipped(std::string(3'000'000, 'x')));
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto data = cache_.Open(path, AnyLength);
    const bool good = data.ok() && (*data)->bytes().size() == 3'000'000 &&
                      (*data)->note().find("File too large") != std::string::npos;
    ::_exit(good ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/cache")) {
    EXPECT_EQ(entry.path().filename().string().find("tmp-"), std::string::npos) << entry.path();
  }
}

TEST_F(DataCacheTest, RefusesMoreThanItMayHold) {
  const std::string path = Written(folder_ + "/a.gz", Gzipped(std::string(3'000'000, 'x')));
  DataCacheOptions small{folder_ + "/small"};
  small.plain_bytes_max = 2'000'000;
  EXPECT_THAT(DataCache(small).Open(path, AnyLength).status().message(), HasSubstr("byte 2000000"));
  DataCacheOptions memory;
  memory.memory_bytes_max = 2'000'000;
  EXPECT_EQ(DataCache(memory).Open(path, AnyLength).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(DataCacheTest, NamesAMissingFileAndAFolder) {
  const auto missing = cache_.Open(folder_ + "/none.gz", AnyLength);
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("none.gz"));
  EXPECT_EQ(cache_.Open(folder_, AnyLength).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace muster
