#include "worker/agent/rank_cgroup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "base/file.h"
#include "base/sha256.h"
#include "worker/agent/process_tree.h"
#include "worker/agent/spawn.h"

namespace muster::agent {
namespace {

constexpr const char* kMounts =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

TEST(OwnCgroupTest, IsFoundBelowTheMount) {
  EXPECT_EQ(*FindOwnCgroup(kMounts, "4:memory:/elsewhere\n0::/\n"), "/sys/fs/cgroup/unified");
  EXPECT_EQ(*FindOwnCgroup(kMounts, "0::/system.slice/muster.service\n"),
            "/sys/fs/cgroup/unified/system.slice/muster.service");
}

TEST(OwnCgroupTest, AMountMayShowAPartOfTheHierarchyAndHaveABlankInItsName) {
  const std::string mount = "9 1 0:38 /pod/a /cgroups\\040here rw - cgroup2 none rw\n";
  EXPECT_EQ(*FindOwnCgroup(mount, "0::/pod/a/b\n"), "/cgroups here/b");
  EXPECT_EQ(*FindOwnCgroup(mount, "0::/pod/a\n"), "/cgroups here");
  // "/pod/ab" only looks as if it were below "/pod/a".
  const Result<std::string> other = FindOwnCgroup(mount, "0::/pod/ab\n");
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.status().message(), "no cgroup2 mount shows this process's cgroup /pod/ab");
}

TEST(OwnCgroupTest, IsRefusedWhereItCannotBeSeen) {
  EXPECT_EQ(FindOwnCgroup("31 23 0:28 / /sys rw - sysfs sysfs rw\n", "0::/\n").status().message(),
            "no cgroup2 file system is mounted");
  EXPECT_EQ(FindOwnCgroup(kMounts, "4:memory:/\n").status().message(),
            "this process is in no cgroup of version 2");
  EXPECT_FALSE(FindOwnCgroup(kMounts, "0::/../outside\n").ok());
}

TEST(MemoryEventsTest, TellTheGroupsOwnLimitFromTheMachines) {
  const MemoryEvents own = ParseMemoryEvents("low 0\nhigh 0\nmax 61\noom 2\noom_kill 3\n");
  EXPECT_EQ(own.at_limit, 2U);
  EXPECT_EQ(own.killed, 3U);
  EXPECT_EQ(ParseMemoryEvents("max 0\noom 0\noom_kill 1\noom_group_kill 7\n").killed, 1U);
  EXPECT_EQ(ParseMemoryEvents("").killed, 0U);
}

TEST(EndCgroupsTest, LeavesOrdinaryFoldersAlone) {
  std::string folder = testing::TempDir() + "/cgroup_test.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  ASSERT_TRUE(MakeDirectories(folder + "/muster-a-1").ok());
  EXPECT_EQ(EndCgroups(folder, "muster-a-"), 0);
  EXPECT_TRUE(std::filesystem::exists(folder + "/muster-a-1"));
  std::filesystem::remove_all(folder);
}

TEST(NoCgroupTest, HoldsNothing) {
  const Result<RankCgroup> none = RankCgroups().Make({1, 1, 0}, 100);
  ASSERT_TRUE(none.ok());
  RankCgroup cgroup = *none;
  EXPECT_FALSE(cgroup.exists());
  EXPECT_FALSE(cgroup.Populated());
  EXPECT_FALSE(cgroup.limits_memory());
  cgroup.Kill();
  EXPECT_TRUE(cgroup.Remove().ok());
}

// With real cgroups and real processes.
class RankCgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/cgroup_test.XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    tag_ = Sha256Of(folder_).substr(0, 8);
    Result<RankCgroups> found = RankCgroups::Detect(tag_);
    if (!found.ok()) GTEST_SKIP() << found.status().message();
    cgroups_ = *found;
  }
  void TearDown() override {
    for (const pid_t child : children_) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    EndCgroups(cgroups_.parent(), RankCgroups::Prefix(tag_));
    std::filesystem::remove_all(folder_);
  }

  static void WaitUntil(const std::function<bool()>& condition, const char* what) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "still waiting for: " << what;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  // Runs a shell script in `cgroup`.
  void Start(const RankCgroup& cgroup, const std::string& script) {
    SpawnOptions options;
    options.executable = "/bin/sh";
    options.arguments = {"sh", "-c", script};
    options.environment = {"PATH=/usr/bin:/bin"};
    options.directory = folder_;
    options.log = folder_ + "/log";
    options.cgroup = cgroup.path();
    Result<Spawned> spawned = Spawn(options);
    ASSERT_TRUE(spawned.ok()) << spawned.status().message();
    EXPECT_TRUE(spawned->cgroup.ok()) << spawned->cgroup.message();
    children_.push_back(spawned->pid);
    lifelines_.push_back(std::move(spawned->lifeline));
  }
  // Starts a process that has left session, environment, output and parent behind; its number.
  pid_t StartHidden(const RankCgroup& cgroup) {
    const std::string file = folder_ + "/pid-" + std::to_string(children_.size());
    Start(cgroup, "env -i setsid -f sh -c 'setsid -f sh -c \"echo \\$\\$ > " + file +
                      "; exec sleep 1000\" > /dev/null 2>&1 3>&-'; exec sleep 1000");
    WaitUntil(
        [&] { return ReadFile(file).ok() && ReadFile(file)->find('\n') != std::string::npos; },
        "the hidden process");
    return std::atoi(ReadFile(file)->c_str());
  }
  static bool Lives(pid_t pid) {
    for (const ProcessInfo& process : ListProcesses()) {
      if (process.pid == pid) return process.alive();
    }
    return false;
  }

  std::string folder_;
  std::string tag_;
  RankCgroups cgroups_;
  std::vector<pid_t> children_;
  std::vector<FileDescriptor> lifelines_;
};

TEST_F(RankCgroupTest, KillEndsAProcessThatHasLeftEverythingElse) {
  Result<RankCgroup> cgroup = cgroups_.Make({7, 2, 0}, 0);
  ASSERT_TRUE(cgroup.ok()) << cgroup.status().message();
  EXPECT_EQ(cgroup->path(), cgroups_.parent() + "/muster-" + tag_ + "-7-2-0");
  EXPECT_FALSE(cgroup->Populated());
  const pid_t hidden = StartHidden(*cgroup);
  EXPECT_TRUE(cgroup->Populated());
  EXPECT_TRUE(Lives(hidden));
  EXPECT_FALSE(cgroup->Remove().ok());  // Not while something in it is alive.
  cgroup->Kill();
  WaitUntil([&] { return !cgroup->Populated(); }, "the cgroup to empty");
  WaitUntil([&] { return !Lives(hidden); }, "the hidden process to end");
  const std::string path = cgroup->path();
  EXPECT_TRUE(cgroup->Remove().ok());  // Though its first process is a zombie still.
  EXPECT_FALSE(cgroup->exists());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(RankCgroupTest, KillEndsABombOfForks) {
  Result<RankCgroup> cgroup = cgroups_.Make({1, 1, 0}, 0);
  ASSERT_TRUE(cgroup.ok()) << cgroup.status().message();
  // Each generation is replaced by its child, faster than a scan of /proc could follow.
  Start(*cgroup,
        "echo '[ $1 -gt 100000 ] || sh ./bomb $(($1 + 1)) & exit' > bomb; touch lit; "
        "sh ./bomb 0 & sh ./bomb 0 & sh ./bomb 0 & wait; exec sleep 1000");
  WaitUntil([&] { return std::filesystem::exists(folder_ + "/lit"); }, "the bomb");
  cgroup->Kill();
  WaitUntil([&] { return !cgroup->Populated(); }, "the cgroup to empty");
  EXPECT_TRUE(cgroup->Remove().ok());
}

TEST_F(RankCgroupTest, LeftoversAreEndedAndOtherAgentsSpared) {
  const Result<RankCgroup> left = cgroups_.Make({1, 1, 0}, 0);
  const Result<RankCgroup> empty = cgroups_.Make({1, 1, 1}, 0);
  ASSERT_TRUE(left.ok() && empty.ok());
  // A rank may divide its cgroup.
  ASSERT_EQ(::mkdir((left->path() + "/own").c_str(), 0755), 0);
  const std::string other_tag = Sha256Of(tag_).substr(0, 8);
  const Result<RankCgroups> other = RankCgroups::Detect(other_tag);
  ASSERT_TRUE(other.ok());
  Result<RankCgroup> others = other->Make({1, 1, 0}, 0);
  ASSERT_TRUE(others.ok());
  const pid_t hidden = StartHidden(*left), spared = StartHidden(*others);
  EXPECT_EQ(EndCgroups(cgroups_.parent(), RankCgroups::Prefix(tag_)), 2);
  WaitUntil([&] { return !Lives(hidden); }, "the hidden process to end");
  EXPECT_FALSE(std::filesystem::exists(left->path()));
  EXPECT_FALSE(std::filesystem::exists(empty->path()));
  EXPECT_TRUE(Lives(spared));
  EXPECT_EQ(EndCgroups(other->parent(), RankCgroups::Prefix(other_tag)), 1);
  WaitUntil([&] { return !Lives(spared); }, "the other agent's process to end");
}

TEST_F(RankCgroupTest, AProcessStartsWithoutACgroupThatIsGone) {
  SpawnOptions options;
  options.executable = "/bin/true";
  options.arguments = {"true"};
  options.directory = folder_;
  options.log = folder_ + "/log";
  options.cgroup = cgroups_.parent() + "/muster-" + tag_ + "-none";
  const Result<Spawned> spawned = Spawn(options);
  ASSERT_TRUE(spawned.ok()) << spawned.status().message();
  children_.push_back(spawned->pid);
  EXPECT_EQ(spawned->cgroup.code(), StatusCode::kNotFound) << spawned->cgroup.message();
}

// As in a unit of systemd's: a child process, since it leaves its cgroup.
TEST_F(RankCgroupTest, AProcessAloneInItsCgroupStepsDownAndOneInCompanyDoesNot) {
  Result<RankCgroup> unit = cgroups_.Make({1, 1, 0}, 0);
  ASSERT_TRUE(unit.ok()) << unit.status().message();
  const std::string members = unit->path() + "/cgroup.procs";
  EXPECT_EQ(StepDown(cgroups_.parent()).code(), StatusCode::kFailedPrecondition);
  const pid_t child = ::fork();
  if (child == 0) {
    const Result<FileDescriptor> file = FileDescriptor::Open(members, O_WRONLY);
    const bool entered = file.ok() && ::write(file->get(), "0", 1) == 1;
    const bool stepped = entered && StepDown(unit->path()).ok();
    // "0::PATH", below the one mount of the hierarchy.
    std::ifstream membership("/proc/self/cgroup");
    bool below = false;
    for (std::string line; std::getline(membership, line);) {
      below = below || (line.starts_with("0::") && line.ends_with("-1-1-0/muster-agent"));
    }
    ::_exit(stepped && below ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(unit->Remove().ok());
}

TEST_F(RankCgroupTest, TheKernelKeepsARankToItsMemory) {
  if (!cgroups_.no_memory_limit().empty()) GTEST_SKIP() << cgroups_.no_memory_limit();
  Result<RankCgroup> cgroup = cgroups_.Make({1, 1, 0}, 32);
  ASSERT_TRUE(cgroup.ok()) << cgroup.status().message();
  ASSERT_TRUE(cgroup->limits_memory());
  Start(*cgroup, "exec tail -c 200000000 /dev/zero");  // Keeps all of it.
  WaitUntil([&] { return cgroup->memory_events().killed > 0; }, "the kernel");
  EXPECT_GT(cgroup->memory_events().at_limit, 0U);
  WaitUntil([&] { return !cgroup->Populated(); }, "the cgroup to empty");
}

}  // namespace
}  // namespace muster::agent
