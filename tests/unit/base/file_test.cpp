#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

namespace muster {
namespace {

std::string Path(const std::string& name) {
  const std::string folder = testing::TempDir() + "file_test" + std::to_string(::getpid());
  std::filesystem::create_directories(folder);
  return folder + "/" + name;
}

TEST(FileTest, AtomicWriteReplacesAndLeavesNothingBehind) {
  const std::string path = Path("atomic/value");
  std::filesystem::remove_all(std::filesystem::path(path).parent_path());
  ASSERT_TRUE(MakeDirectories(std::filesystem::path(path).parent_path()).ok());
  ASSERT_TRUE(WriteFileAtomically(path, "old").ok());
  ASSERT_TRUE(WriteFileAtomically(path, "new").ok());
  EXPECT_EQ(*ReadFile(path), "new");
  std::size_t files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(path).parent_path())) {
    files += entry.is_regular_file() ? 1 : 0;
  }
  EXPECT_EQ(files, 1U);
}

TEST(FileTest, AtomicWriteNamesAMissingFolder) {
  const Status status = WriteFileAtomically("/nowhere/at/all", "x");
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("/nowhere"), std::string::npos);
}

TEST(FileTest, AtomicWriteReplacesFilesOnly) {
  const std::string pipe = Path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const Status status = WriteFileAtomically(pipe, "x");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), pipe + ": not a regular file");
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  EXPECT_EQ(WriteFileAtomically(::testing::TempDir(), "x").code(), StatusCode::kInvalidArgument);
}

TEST(FileTest, ReadRefusesWhatIsTooLargeOrNotAFile) {
  ASSERT_TRUE(WriteFileAtomically(Path("large"), "12345").ok());
  EXPECT_EQ(ReadFile(Path("large"), 4).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadFile("/tmp").status().code(), StatusCode::kInvalidArgument);
}

TEST(FileTest, MapsEmptyAndFullFiles) {
  ASSERT_TRUE(WriteFileAtomically(Path("empty"), "").ok());
  EXPECT_TRUE(MappedFile::Open(Path("empty"))->bytes().empty());
  ASSERT_TRUE(WriteFileAtomically(Path("full"), "abc").ok());
  const auto mapped = MappedFile::Open(Path("full"));
  ASSERT_EQ(mapped->bytes().size(), 3U);
  EXPECT_EQ(mapped->bytes()[2], std::byte{'c'});
}

TEST(FileTest, AskingForTheHolderOfOnesOwnLockKeepsIt) {
  const std::string path = Path("own-lock");
  auto lock = LockFile::Acquire(path);
  ASSERT_TRUE(lock.ok());
  EXPECT_EQ(LockFile::Holder(path), ::getpid());
  EXPECT_EQ(LockFile::Acquire(path).status().code(), StatusCode::kAlreadyExists);
  const auto refused_to_child = [&] {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(LockFile::Acquire(path).ok() ? 1 : 0);
    int status = -1;
    ::waitpid(child, &status, 0);
    return status == 0;
  };
  EXPECT_TRUE(refused_to_child());
  { const LockFile ended = std::move(*lock); }
  EXPECT_EQ(LockFile::Holder(path), 0);
  EXPECT_FALSE(refused_to_child());
}

TEST(FileTest, LockExcludesOtherProcessesAndNamesItsHolder) {
  const std::string path = Path("lock");
  auto lock = LockFile::Acquire(path);
  ASSERT_TRUE(lock.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    const bool refused = !LockFile::Acquire(path).ok();
    ::_exit(refused && LockFile::Holder(path) == ::getppid() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace muster
