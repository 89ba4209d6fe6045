// The parts of a [command]'s rank: its environment, its port, its program, its checkpoints.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "tests/support/temporary_directory.h"
#include "trainer/checkpoint/manifest.h"
#include "worker/rank/command_checkpoint.h"
#include "worker/rank/command_environment.h"
#include "worker/rank/program.h"
#include "worker/rank/reserved_port.h"

namespace muster::rank {
namespace {

namespace fs = std::filesystem;

v1::RankAssignment AssignmentOf(std::uint32_t rank, const std::vector<std::string>& hosts) {
  v1::RankAssignment assignment;
  v1::DesiredRank& desired = *assignment.mutable_desired();
  desired.set_job_id(7);
  desired.set_attempt(2);
  desired.set_rank(rank);
  desired.mutable_spec()->set_name("job");
  desired.mutable_spec()->mutable_command()->add_arguments("true");
  for (std::uint32_t i = 0; i < hosts.size(); ++i) {
    v1::Member& member = *desired.add_members();
    member.set_rank(i);
    member.set_host_id(hosts[i]);
  }
  assignment.set_directory("/ranks/7-2-0");
  assignment.set_job_directory("/jobs/7");
  assignment.set_interface("lo");
  assignment.set_threads(3);
  return assignment;
}

std::map<std::string, std::string> VariablesOf(const v1::RankAssignment& assignment) {
  std::map<std::string, std::string> variables;
  for (const std::string& entry : CommandEnvironment(assignment, {"10.0.0.1", 4711})) {
    const std::size_t equals = entry.find('=');
    EXPECT_TRUE(variables.emplace(entry.substr(0, equals), entry.substr(equals + 1)).second);
  }
  return variables;
}

TEST(CommandEnvironmentTest, TellsARankWhereItStands) {
  const auto variables = VariablesOf(AssignmentOf(2, {"x", "y", "y", "x", "y"}));
  EXPECT_EQ(variables.at("RANK"), "2");
  EXPECT_EQ(variables.at("WORLD_SIZE"), "5");
  EXPECT_EQ(variables.at("LOCAL_RANK"), "1");
  EXPECT_EQ(variables.at("LOCAL_WORLD_SIZE"), "3");
  EXPECT_EQ(variables.at("NODE_RANK"), "1");
  EXPECT_EQ(variables.at("MASTER_ADDR"), "10.0.0.1");
  EXPECT_EQ(variables.at("MASTER_PORT"), "4711");
  EXPECT_EQ(variables.at("CUDA_VISIBLE_DEVICES"), "");
  EXPECT_EQ(variables.at("MUSTER_JOB_ID"), "7");
  EXPECT_EQ(variables.at("MUSTER_JOB_NAME"), "job");
  EXPECT_EQ(variables.at("MUSTER_ATTEMPT_NUMBER"), "2");
  EXPECT_EQ(variables.at("MUSTER_JOB_DIR"), "/jobs/7");
  EXPECT_EQ(variables.at("MUSTER_CHECKPOINT_DIR"), "/ranks/7-2-0/checkpoint");
  EXPECT_EQ(variables.at("OMP_NUM_THREADS"), "3");
}

TEST(CommandEnvironmentTest, PassesOnWhatTheJobGivesAndLittleOfTheAgents) {
  ::setenv("MUSTER_TOKEN", "secret", 1);
  ::setenv("SOMETHING_OF_THE_AGENTS", "1", 1);
  v1::RankAssignment assignment = AssignmentOf(0, {"x"});
  auto& given = *assignment.mutable_desired()->mutable_spec()->mutable_command();
  (*given.mutable_environment())["OMP_NUM_THREADS"] = "1";
  (*given.mutable_environment())["RANK"] = "9";  // Refused at submission; it would not win either.
  const auto variables = VariablesOf(assignment);
  EXPECT_FALSE(variables.contains("MUSTER_TOKEN"));
  EXPECT_FALSE(variables.contains("SOMETHING_OF_THE_AGENTS"));
  EXPECT_TRUE(variables.contains("PATH"));
  EXPECT_EQ(variables.at("OMP_NUM_THREADS"), "1");
  EXPECT_EQ(variables.at("RANK"), "0");
  ::unsetenv("MUSTER_TOKEN");
  ::unsetenv("SOMETHING_OF_THE_AGENTS");
}

TEST(CommandEnvironmentTest, RanksOnOneHostMeetOnLoopback) {
  EXPECT_EQ(MasterAddress(AssignmentOf(0, {"x", "x"})), "127.0.0.1");
  EXPECT_EQ(MasterAddress(AssignmentOf(0, {"x", "y"})), "127.0.0.1");  // The address of lo.
}

bool Listens(int port) {
  const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
         ::listen(socket.get(), 1) == 0;
}

TEST(ReservedPortTest, EachHolderGetsAPortOfItsOwnThatAProgramCanListenOn) {
  const TemporaryDirectory directory;
  const std::string folder = directory.path() + "/ports";
  std::vector<ReservedPort> held;
  std::set<int> ports;
  for (int i = 0; i < 20; ++i) {
    Result<ReservedPort> port = ReservedPort::Acquire(folder, 5);  // All begin at one place.
    ASSERT_TRUE(port.ok()) << port.status().message();
    EXPECT_TRUE(ports.insert(port->port()).second);
    EXPECT_TRUE(Listens(port->port()));
    held.push_back(std::move(*port));
  }
  const int first = held.front().port();
  held.clear();
  const Result<ReservedPort> again = ReservedPort::Acquire(folder, 5);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->port(), first);  // Its lock has gone with its holder.
}

TEST(ReservedPortTest, PassesOverAPortThatSomebodyElseListensOn) {
  const TemporaryDirectory directory;
  const std::string folder = directory.path() + "/ports";
  int taken = 0;
  {
    const Result<ReservedPort> port = ReservedPort::Acquire(folder, 11);
    ASSERT_TRUE(port.ok());
    taken = port->port();
  }
  const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(taken));
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  const Result<ReservedPort> other = ReservedPort::Acquire(folder, 11);
  ASSERT_TRUE(other.ok());
  EXPECT_NE(other->port(), taken);
}

int WaitFor(Program& program) {
  while (true) {
    pollfd event = {program.descriptor(), POLLIN, 0};
    ::poll(&event, 1, -1);
    if (const std::optional<int> status = program.Ended()) return *status;
  }
}

TEST(ProgramTest, RunsWithExactlyItsEnvironmentInItsFolder) {
  const TemporaryDirectory directory;
  Result<Program> program = Program::Start(
      {{"sh", "-c", "env > env; pwd > where; read line || echo none > input; exit 3"},
       {"PATH=/usr/bin:/bin", "GREETING=hello"},
       directory.path()});
  ASSERT_TRUE(program.ok()) << program.status().message();
  const int status = WaitFor(*program);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
  const std::string environment = *ReadFile(directory.path() + "/env");
  EXPECT_NE(environment.find("GREETING=hello\n"), std::string::npos);
  EXPECT_EQ(environment.find("HOME="), std::string::npos);
  EXPECT_EQ(*ReadFile(directory.path() + "/where"),
            fs::canonical(directory.path()).string() + "\n");
  EXPECT_EQ(*ReadFile(directory.path() + "/input"), "none\n");
}

TEST(ProgramTest, SaysWhyItCannotStart) {
  const auto reason = [](const std::string& name, const std::string& folder) {
    return Program::Start({{name}, {"PATH=/usr/bin:/bin"}, folder}).status().message();
  };
  EXPECT_NE(reason("no-such-program", "/").find("`no-such-program` is not in PATH"),
            std::string::npos);
  EXPECT_NE(reason("/etc/passwd", "/").find("start `/etc/passwd`"), std::string::npos);
  EXPECT_NE(reason("/no/such", "/").find("start `/no/such`"), std::string::npos);
  EXPECT_NE(reason("true", "/no/folder").find("working directory /no/folder"), std::string::npos);
}

TEST(ProgramTest, NothingThatItStartedOutlivesKillDescendants) {
  const TemporaryDirectory directory;
  // Its grandchildren leave its group and its session, and it ends before them.
  Result<Program> program =
      Program::Start({{"sh", "-c", "for i in 1 2 3; do setsid sleep 1000 & echo $! >> pids; done"},
                      {"PATH=/usr/bin:/bin"},
                      directory.path()});
  ASSERT_TRUE(program.ok()) << program.status().message();
  WaitFor(*program);
  KillDescendants();
  std::istringstream pids(*ReadFile(directory.path() + "/pids"));
  int count = 0;
  for (pid_t pid = 0; pids >> pid; ++count) EXPECT_NE(::kill(pid, 0), 0) << pid;
  EXPECT_EQ(count, 3);
}

class CommandCheckpointTest : public testing::Test {
 protected:
  CommandCheckpoint Open(const std::string& resume = {}, std::uint64_t step = 0) {
    Result<CommandCheckpoint> opened = CommandCheckpoint::Open(
        folder_, base_.path() + "/publish", resume, step,
        [this](const v1::PublishRequest& request) {
          const std::string kept = base_.path() + "/kept-" + std::to_string(request.step());
          fs::remove_all(kept);
          fs::rename(request.directory(), kept);
          digests_.push_back(request.sha256());
          return answer_;
        });
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    return std::move(*opened);
  }
  void Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(folder_ + "/" + name, text).ok());
  }
  bool Has(const std::string& name) const { return fs::exists(folder_ + "/" + name); }
  std::string Kept(int step, const std::string& name) const {
    const Result<std::string> text =
        ReadFile(base_.path() + "/kept-" + std::to_string(step) + "/" + name);
    return text.ok() ? *text : "none";
  }

  TemporaryDirectory base_;
  std::string folder_ = base_.path() + "/checkpoint";
  Status answer_;
  std::vector<std::string> digests_;
};

TEST_F(CommandCheckpointTest, KeepsWhatIsCompleteAndSaysSo) {
  CommandCheckpoint checkpoint = Open();
  Write("weights.bin", "one");
  ASSERT_TRUE(checkpoint.Poll().ok());
  EXPECT_EQ(checkpoint.step(), 0U);
  Write("COMPLETE", "");
  while (Has("COMPLETE")) ASSERT_TRUE(checkpoint.Poll().ok());
  EXPECT_TRUE(Has("ACCEPTED"));
  EXPECT_EQ(checkpoint.step(), 1U);
  EXPECT_EQ(Kept(1, "weights.bin"), "one");
  EXPECT_EQ(Kept(1, "ACCEPTED"), "none");
  const Result<Manifest> manifest = ParseManifest(Kept(1, kManifestFile), "m");
  ASSERT_TRUE(manifest.ok()) << manifest.status().message();
  EXPECT_EQ(manifest->step, 1U);
  ASSERT_EQ(manifest->files.size(), 1U);
  EXPECT_EQ(manifest->files[0].size, 3U);
  Write("weights.bin", "two");
  Write("COMPLETE", "");
  while (Has("COMPLETE")) ASSERT_TRUE(checkpoint.Poll().ok());
  EXPECT_EQ(Kept(2, "weights.bin"), "two");
  // Nothing has changed since: there is nothing more to keep.
  ASSERT_TRUE(checkpoint.Finish(true).ok());
  EXPECT_EQ(digests_.size(), 2U);
}

TEST_F(CommandCheckpointTest, SuccessKeepsTheRestAndFailureOnlyWhatIsComplete) {
  {
    CommandCheckpoint checkpoint = Open();
    Write("half", "written");
    ASSERT_TRUE(checkpoint.Finish(false).ok());
    EXPECT_TRUE(digests_.empty());
    Write("COMPLETE", "");
    ASSERT_TRUE(checkpoint.Finish(false).ok());
    EXPECT_EQ(digests_.size(), 1U);
  }
  CommandCheckpoint checkpoint = Open();
  Write("more", "");
  ASSERT_TRUE(checkpoint.Finish(true).ok());
  EXPECT_EQ(digests_.size(), 2U);
}

TEST_F(CommandCheckpointTest, ANextAttemptFindsTheFilesAndGoesOnCounting) {
  {
    CommandCheckpoint checkpoint = Open();
    Write("weights.bin", "one");
    ASSERT_TRUE(checkpoint.Finish(true).ok());
  }
  fs::remove_all(folder_);
  CommandCheckpoint checkpoint = Open(base_.path() + "/kept-1", 41);
  EXPECT_EQ(*ReadFile(folder_ + "/weights.bin"), "one");
  EXPECT_FALSE(Has(kManifestFile));
  EXPECT_EQ(checkpoint.step(), 41U);
  ASSERT_TRUE(checkpoint.Finish(true).ok());
  EXPECT_EQ(digests_.size(), 1U);  // The same files once more.
  EXPECT_FALSE(fs::exists(base_.path() + "/publish-42"));
  Write("weights.bin", "two");
  ASSERT_TRUE(checkpoint.Finish(true).ok());
  EXPECT_EQ(Kept(42, "weights.bin"), "two");
}

TEST_F(CommandCheckpointTest, RefusesWhatIsNoPlainFileAndGoesOn) {
  CommandCheckpoint checkpoint = Open();
  const auto refused = [&](const std::string& why) {
    SCOPED_TRACE(why);
    Write("COMPLETE", "");
    while (Has("COMPLETE")) ASSERT_TRUE(checkpoint.Poll().ok());
    EXPECT_TRUE(Has("REFUSED"));
    fs::remove(folder_ + "/REFUSED");
    EXPECT_TRUE(digests_.empty());
  };
  refused("empty");
  fs::create_directory(folder_ + "/folder");
  refused("a folder");
  EXPECT_EQ(checkpoint.Finish(true).code(), StatusCode::kInvalidArgument);
  fs::remove(folder_ + "/folder");
  fs::create_symlink("/etc/passwd", folder_ + "/link");
  refused("a link");
  fs::remove(folder_ + "/link");
  ASSERT_EQ(::mkfifo((folder_ + "/pipe").c_str(), 0600), 0);
  refused("a pipe");
  fs::remove(folder_ + "/pipe");
  Write("two words", "");
  refused("a name");
  fs::remove(folder_ + "/two words");
  Write(kManifestFile, "");
  refused("the manifest's name");
}

TEST_F(CommandCheckpointTest, AReplacedAttemptIsToldSo) {
  CommandCheckpoint checkpoint = Open();
  answer_ = Aborted("attempt 1 may not commit any more");
  Write("weights.bin", "one");
  EXPECT_EQ(checkpoint.Finish(true).code(), StatusCode::kAborted);
  EXPECT_EQ(checkpoint.step(), 0U);
}

}  // namespace
}  // namespace muster::rank
