#include "cli/local_cluster.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/uuid.h"

namespace muster::cli {
namespace {

using std::chrono::milliseconds;

class LocalClusterTest : public testing::Test {
 protected:
  LocalClusterTest()
      : files_{std::filesystem::temp_directory_path() / ("muster-test-" + NewUuid())} {
    std::filesystem::create_directories(files_.worker(0));
  }
  ~LocalClusterTest() override { std::filesystem::remove_all(files_.state); }

  // A process that holds the lock file until it is ended.
  static pid_t Hold(const std::string& lock_path) {
    int ready[2] = {-1, -1};
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      const Result<LockFile> lock = LockFile::Acquire(lock_path);
      const ssize_t wrote = ::write(ready[1], lock.ok() ? "y" : "n", 1);
      while (wrote == 1) ::pause();
      ::_exit(1);
    }
    char byte = 'n';
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'y');
    ::close(ready[0]);
    ::close(ready[1]);
    return pid;
  }

  wire::ClusterFiles files_;
};

TEST_F(LocalClusterTest, BacksOffFromAHundredMillisecondsToTenSeconds) {
  BackOff back_off;
  EXPECT_EQ(back_off.Next(milliseconds(0)).count(), 100);
  EXPECT_EQ(back_off.Next(milliseconds(0)).count(), 200);
  for (int i = 0; i < 10; ++i) static_cast<void>(back_off.Next(milliseconds(0)));
  EXPECT_EQ(back_off.Next(milliseconds(29'999)).count(), 10'000);
  EXPECT_EQ(back_off.Next(milliseconds(30'000)).count(), 100);
}

TEST_F(LocalClusterTest, FindsAndEndsTheProcessThatHoldsALock) {
  EXPECT_FALSE(Process::Holding(files_.coordinator_lock()).valid());
  const pid_t pid = Hold(files_.coordinator_lock());
  Process process = Process::Holding(files_.coordinator_lock());
  EXPECT_EQ(process.pid(), pid);
  EXPECT_FALSE(process.WaitForEnd(milliseconds(0)));
  process.Stop(milliseconds(10'000));
  EXPECT_TRUE(process.WaitForEnd(milliseconds(0)));
  EXPECT_EQ(process.ending(), "signal 15 (Terminated)");
}

TEST_F(LocalClusterTest, StopEndsWhateverHoldsALockOfTheStateDirectory) {
  EXPECT_EQ(*StopCluster(files_), 0U);
  Hold(files_.coordinator_lock());
  const pid_t stopped = Hold(files_.worker_lock(0));
  ::kill(stopped, SIGSTOP);
  EXPECT_EQ(*StopCluster(files_), 2U);
  EXPECT_EQ(LockFile::Holder(files_.coordinator_lock()), 0);
  EXPECT_EQ(LockFile::Holder(files_.worker_lock(0)), 0);
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

TEST_F(LocalClusterTest, RefusesASecondSupervisorAndNamesTheFirst) {
  const pid_t pid = Hold(files_.up_lock());
  LocalClusterOptions options;
  options.files = files_;
  const Status refused = LocalCluster::Start(std::move(options)).status();
  EXPECT_EQ(refused.code(), StatusCode::kAlreadyExists);
  EXPECT_NE(refused.message().find(std::to_string(pid)), std::string::npos);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

TEST_F(LocalClusterTest, NumbersWorkersByTheirFolders) {
  std::filesystem::create_directories(files_.worker(11));
  std::filesystem::create_directories(files_.workers() + "/other");
  EXPECT_EQ(WorkerNumbers(files_), (std::vector<unsigned>{0, 11}));
}

TEST_F(LocalClusterTest, TakesTheLastLinesOfALog) {
  const std::string log = files_.state + "/log";
  ASSERT_TRUE(WriteFileAtomically(log, "a\nb\nc\n").ok());
  EXPECT_EQ(LastLines(log, 2), "b\nc\n");
  EXPECT_EQ(LastLines(log, 9), "a\nb\nc\n");
  EXPECT_EQ(LastLines(log + "x", 2), "");
}

}  // namespace
}  // namespace muster::cli
