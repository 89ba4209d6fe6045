#include "coordinator/store/content_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <random>

#include "base/file.h"
#include "tests/support/temporary_directory.h"

namespace muster::coordinator {
namespace {

class ContentStoreTest : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  // As after kill -9: the files alone carry over.
  void Reopen(std::uint64_t bytes_max = 1U << 30U) {
    store_.reset();
    auto opened = ContentStore::Open({.directory = folder_ / "content",
                                      .bytes_max = bytes_max,
                                      .object_bytes_max = 1U << 20U,
                                      .grace = std::chrono::seconds(0),
                                      .partial_grace = std::chrono::hours(24)});
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    store_ = std::move(*opened);
  }

  Status Put(const std::string& bytes, const std::string& owner = "ada") {
    MUSTER_ASSIGN_OR_RETURN(const auto upload,
                            store_->Begin(owner, Sha256Of(bytes), bytes.size(), 0));
    MUSTER_RETURN_IF_ERROR(upload->Write(bytes));
    return upload->Finish();
  }

  std::string Read(const std::string& sha256) {
    return *ReadFile(folder_ / "content/objects/" + sha256.substr(0, 2) + "/" + sha256);
  }

  TemporaryDirectory folder_;
  std::unique_ptr<ContentStore> store_;
};

TEST_F(ContentStoreTest, AnObjectIsAPrivateFileNamedByItsHash) {
  ASSERT_TRUE(Put("hello").ok());
  const std::string sha256 = Sha256Of("hello");
  EXPECT_EQ(Read(sha256), "hello");
  struct stat info {};
  ASSERT_EQ(::stat((folder_ / "content/objects/2c/" + sha256).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_EQ(*store_->SizeOf(sha256), 5U);
  EXPECT_EQ(store_->bytes(), 5U);
  Reopen();
  EXPECT_TRUE(store_->Has(sha256));
  EXPECT_EQ(store_->bytes(), 5U);
}

TEST_F(ContentStoreTest, AnEmptyFileIsAnObject) {
  ASSERT_TRUE(Put("").ok());
  EXPECT_EQ(*store_->SizeOf(Sha256Of("")), 0U);
}

// Property: whatever the cuts, and whether the coordinator died at them, the object is the same.
TEST_F(ContentStoreTest, AnUploadGoesOnWhereItWasCut) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string bytes(1 + random() % 100'000, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const std::string sha256 = Sha256Of(bytes);
    while (true) {
      const std::uint64_t have = store_->PartialBytes("ada", sha256);
      ASSERT_LE(have, bytes.size());
      const std::uint64_t from = random() % 4 == 0 ? have / 2 : have;  // May also go back.
      auto upload = store_->Begin("ada", sha256, bytes.size(), from);
      ASSERT_TRUE(upload.ok()) << upload.status().message();
      const std::size_t more = std::min<std::size_t>(bytes.size() - from, random() % 60'000);
      ASSERT_TRUE((*upload)->Write(std::string_view(bytes).substr(from, more)).ok());
      if ((*upload)->complete()) {
        ASSERT_TRUE((*upload)->Finish().ok());
        break;
      }
      EXPECT_FALSE(store_->Has(sha256));
      if (random() % 2 == 0) {
        upload->reset();
        Reopen();
      }
    }
    EXPECT_EQ(Read(sha256), bytes);
    EXPECT_EQ(store_->PartialBytes("ada", sha256), 0U);
  }
}

TEST_F(ContentStoreTest, BytesOfAnotherHashNeverBecomeTheObject) {
  const std::string sha256 = Sha256Of("right");
  auto upload = *store_->Begin("ada", sha256, 5, 0);
  ASSERT_TRUE(upload->Write("wrong").ok());
  const Status refused = upload->Finish();
  EXPECT_EQ(refused.code(), StatusCode::kDataLoss);
  EXPECT_NE(refused.message().find("put it again"), std::string::npos) << refused.message();
  EXPECT_FALSE(store_->Has(sha256));
  EXPECT_EQ(store_->PartialBytes("ada", sha256), 0U) << "what came is dropped";
  EXPECT_TRUE(Put("right").ok());
}

TEST_F(ContentStoreTest, ADamagedBeginningIsFoundAndDropped) {
  const std::string bytes(1'000, 'a'), sha256 = Sha256Of(bytes);
  ASSERT_TRUE((*store_->Begin("ada", sha256, 1'000, 0))->Write(bytes.substr(0, 500)).ok());
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "content/partial")) {
    const auto file = FileDescriptor::Open(entry.path().string(), O_WRONLY);
    ASSERT_EQ(::pwrite(file->get(), "b", 1, 100), 1);
  }
  auto upload = *store_->Begin("ada", sha256, 1'000, 500);
  ASSERT_TRUE(upload->Write(bytes.substr(500)).ok());
  EXPECT_EQ(upload->Finish().code(), StatusCode::kDataLoss);
  EXPECT_EQ(store_->PartialBytes("ada", sha256), 0U);
}

TEST_F(ContentStoreTest, WhatOthersBeganUnderAHashIsTheirs) {
  const std::string sha256 = Sha256Of("shared");
  ASSERT_TRUE((*store_->Begin("eve", sha256, 6, 0))->Write("evil").ok());
  EXPECT_EQ(store_->PartialBytes("eve", sha256), 4U);
  EXPECT_EQ(store_->PartialBytes("ada", sha256), 0U);
  ASSERT_TRUE(Put("shared").ok());
  EXPECT_EQ(Read(sha256), "shared");
}

TEST_F(ContentStoreTest, ALaterUploadOfTheSameObjectTakesOver) {
  const std::string sha256 = Sha256Of("abcdef");
  auto first = *store_->Begin("ada", sha256, 6, 0);
  ASSERT_TRUE(first->Write("abc").ok());
  auto second = *store_->Begin("ada", sha256, 6, 3);
  EXPECT_EQ(first->Write("xxx").code(), StatusCode::kAborted);
  ASSERT_TRUE(second->Write("def").ok());
  EXPECT_TRUE(second->Finish().ok());
  EXPECT_EQ(first->Finish().code(), StatusCode::kAborted);
  EXPECT_EQ(Read(sha256), "abcdef");
}

TEST_F(ContentStoreTest, NothingButAHashBecomesAPath) {
  const std::string good = Sha256Of("x");
  for (const std::string& name :
       {std::string(), std::string("../../etc/passwd"), good + "/..", "/" + good.substr(1),
        good.substr(1), good + "0", std::string(64, 'A'), std::string(64, '.'),
        good.substr(0, 63) + '\0'}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(store_->Begin("ada", name, 1, 0).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(store_->SizeOf(name).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(store_->OpenObject(name).status().code(), StatusCode::kInvalidArgument);
    EXPECT_FALSE(store_->Touch(name));
    EXPECT_EQ(store_->PartialBytes("ada", name), 0U);
  }
}

TEST_F(ContentStoreTest, CapsAreToldBeforeAnythingIsKept) {
  Reopen(/*bytes_max=*/1'000);
  EXPECT_EQ(store_->Begin("ada", Sha256Of("x"), (1U << 20U) + 1, 0).status().code(),
            StatusCode::kResourceExhausted);
  ASSERT_TRUE(Put(std::string(900, 'x')).ok());
  const Status full = store_->Begin("ada", Sha256Of("y"), 101, 0).status();
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(full.message().find("muster data rm"), std::string::npos) << full.message();
  // What is under way counts as well, and no longer once it is given up.
  auto upload = *store_->Begin("ada", Sha256Of("z"), 60, 0);
  EXPECT_FALSE(store_->CheckRoom(41).ok());
  EXPECT_TRUE(store_->CheckRoom(40).ok());
  upload.reset();
  EXPECT_TRUE(store_->CheckRoom(100).ok());
  EXPECT_FALSE(store_->CheckRoom(UINT64_MAX).ok());
}

TEST_F(ContentStoreTest, MoreBytesThanAnnouncedAreRefused) {
  auto upload = *store_->Begin("ada", Sha256Of("abc"), 3, 0);
  EXPECT_EQ(upload->Write("abcd").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(store_->Begin("ada", Sha256Of("abc"), 3, 1).status().code(),
            StatusCode::kInvalidArgument)
      << "goes on after what is here";
}

TEST_F(ContentStoreTest, SweepKeepsRootsAndTheFilesOfTheirFolders) {
  wire::Tree tree;
  tree.entries.push_back({"kept", 4, Sha256Of("kept"), false});
  const std::string list = *wire::TreeText(tree);
  for (const std::string& bytes : {std::string("kept"), std::string("lost"), list}) {
    ASSERT_TRUE(Put(bytes).ok());
  }
  auto upload = *store_->Begin("ada", Sha256Of("coming"), 6, 0);
  ASSERT_TRUE(upload->Write("com").ok());
  EXPECT_EQ(store_->Sweep({Sha256Of(list)}), 4U);
  EXPECT_TRUE(store_->Has(Sha256Of("kept")));
  EXPECT_TRUE(store_->Has(Sha256Of(list)));
  EXPECT_FALSE(store_->Has(Sha256Of("lost")));
  EXPECT_EQ(store_->PartialBytes("ada", Sha256Of("coming")), 3U) << "within its day";
  EXPECT_EQ(store_->bytes(), 4 + list.size());
  ASSERT_TRUE(upload->Write("ing").ok());
  EXPECT_TRUE(upload->Finish().ok());
}

TEST_F(ContentStoreTest, AFileOfTheFutureIsNoYoungerThanNow) {
  ASSERT_TRUE(Put("hello").ok());
  const std::string sha256 = Sha256Of("hello");
  const std::string path = folder_ / "content/objects/2c/" + sha256;
  struct timespec ahead[2] = {{std::time(nullptr) + 3600, 0}, {std::time(nullptr) + 3600, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), ahead, 0), 0);
  EXPECT_EQ(store_->Sweep({}), 5U);
  EXPECT_FALSE(store_->Has(sha256));
}

TEST_F(ContentStoreTest, OnlyListsOfFilesAreTrees) {
  wire::Tree tree;
  tree.entries.push_back({"a/b", 1, Sha256Of("1"), true});
  const std::string list = *wire::TreeText(tree);
  std::string almost = list;
  almost.insert(almost.find("\"path\""), " ");
  for (const std::string& bytes : {list, almost, std::string("x")}) ASSERT_TRUE(Put(bytes).ok());
  ASSERT_TRUE(store_->ReadTree(Sha256Of(list))->has_value());
  EXPECT_EQ((*store_->ReadTree(Sha256Of(list)))->entries.front().path, "a/b");
  EXPECT_FALSE(store_->ReadTree(Sha256Of(almost))->has_value());
  EXPECT_FALSE(store_->ReadTree(Sha256Of("x"))->has_value());
  EXPECT_EQ(store_->ReadTree(Sha256Of("none")).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace muster::coordinator
