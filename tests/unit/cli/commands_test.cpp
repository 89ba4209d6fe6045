// Commands against a cluster that is played by this process.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/exit_code.h"
#include "tests/unit/cli/fake_cluster.h"
#include "wire/cluster_files.h"

namespace muster::cli {
namespace {

constexpr char kJob[] = "examples/jobs/collective.toml";

v1::JobInfo Job(std::uint64_t id, v1::JobState state) {
  v1::JobInfo job;
  job.set_id(id);
  job.set_name("job");
  job.set_state(state);
  job.mutable_spec()->mutable_resources()->set_ranks(2);
  return job;
}

class CommandsTest : public testing::Test {
 protected:
  CommandsTest() {
    ::unsetenv("MUSTER_ADDRESS");
    ::unsetenv("MUSTER_TOKEN_FILE");
  }
  CommandResult On(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--state", cluster_.state()});
    return Muster(arguments);
  }
  FakeCluster cluster_;
};

TEST_F(CommandsTest, SubmitPrintsTheIdAlone) {
  const CommandResult result = On({"submit", kJob});
  EXPECT_EQ(result.exit_code, kExitOk) << result.err;
  EXPECT_EQ(result.out, "7\n");
}

TEST_F(CommandsTest, SubmitRetriesWithOneRequestId) {
  cluster_.lose_submit_answers = 2;
  const CommandResult result = On({"submit", kJob});
  EXPECT_EQ(result.exit_code, kExitOk) << result.err;
  EXPECT_EQ(cluster_.submissions, 3);
  EXPECT_EQ(cluster_.request_ids.size(), 1U);
}

TEST_F(CommandsTest, SubmitSaysThatTheJobMayExistWhenTheAnswerIsLostForGood) {
  cluster_.lose_submit_answers = 1;
  // Nobody watches over it, so nobody waits for it either.
  cluster_.ReleaseLock();
  ASSERT_TRUE(WriteFileAtomically(wire::FilesOf(cluster_.state()).stopped(), "x").ok());
  const CommandResult lost = On({"submit", kJob, "--request-id", "mine"});
  EXPECT_EQ(lost.exit_code, kExitUnreachable);
  EXPECT_NE(lost.err.find("the job may have been submitted"), std::string::npos) << lost.err;
  EXPECT_NE(lost.err.find("--request-id mine\n"), std::string::npos) << lost.err;
  cluster_.StopServer();
  const CommandResult never = On({"submit", kJob});
  EXPECT_EQ(never.exit_code, kExitUnreachable);
  EXPECT_EQ(never.err.find("may have been"), std::string::npos) << never.err;
}

TEST_F(CommandsTest, SubmitTellsTheNumberSomewhere) {
  std::cout.setstate(std::ios::badbit);  // As on a full disk.
  const CommandResult result = On({"submit", kJob});
  std::cout.clear();
  EXPECT_EQ(result.exit_code, kExitInfrastructure);
  EXPECT_NE(result.err.find("submitted as job 7\n"), std::string::npos) << result.err;
}

TEST_F(CommandsTest, SubmitNamesThePlaceOfARefusalByTheCluster) {
  cluster_.refuse_submits = "resources.ranks: 2 ranks, but the workers hold 1";
  EXPECT_EQ(
      On({"submit", kJob}).err,
      std::string("muster: ") + kJob + ":6:9: resources.ranks: 2 ranks, but the workers hold 1\n");
}

TEST_F(CommandsTest, SubmitWaitsOnceWhenItIsAskedToAndSaysSo) {
  cluster_.throttle_submits = 1;
  const CommandResult once = On({"submit", kJob});
  EXPECT_EQ(once.exit_code, kExitOk);
  EXPECT_EQ(once.out, "7\n");
  EXPECT_EQ(once.err, "muster: ada (student) calls too often; waiting for that long\n");
  EXPECT_EQ(cluster_.submissions, 2);
  EXPECT_EQ(cluster_.request_ids.size(), 1U);
  cluster_.throttle_submits = 2;
  const CommandResult twice = On({"submit", kJob});
  EXPECT_EQ(twice.exit_code, kExitInfrastructure);
  EXPECT_EQ(cluster_.submissions, 4);
}

TEST_F(CommandsTest, UserRefusesWhatItDoesNotUnderstandBeforeAnythingIsSent) {
  EXPECT_EQ(On({"user", "remove", "ada"}).exit_code, kExitUsage);
  EXPECT_EQ(On({"user", "add"}).exit_code, kExitUsage);
  EXPECT_EQ(On({"user", "list", "ada"}).exit_code, kExitUsage);
  EXPECT_EQ(On({"user", "add", "ada", "--role", "king"}).exit_code, kExitUsage);
  EXPECT_EQ(On({"user", "add", "ada", "--running", "1000001"}).exit_code, kExitUsage);
}

TEST_F(CommandsTest, SubmitRefusesABadJobBeforeAnythingIsSent) {
  const CommandResult result = On({"submit", kJob, "--set", "resources.ranks=3"});
  EXPECT_EQ(result.exit_code, kExitUsage);
  EXPECT_EQ(cluster_.submissions, 0);
  EXPECT_EQ(On({"submit", "no-such-file.toml"}).exit_code, kExitUsage);
}

TEST_F(CommandsTest, FollowExitsWithTheVerdict) {
  cluster_.jobs = {Job(7, v1::JOB_STATE_RUNNING), Job(7, v1::JOB_STATE_FAILED)};
  cluster_.jobs[1].set_reason("loss is NaN at step 3");
  const CommandResult result = On({"submit", "--follow", kJob});
  EXPECT_EQ(result.exit_code, kExitJobFailed);
  EXPECT_EQ(result.out, "7\n");
  EXPECT_NE(result.err.find("job 7 FAILED\n  loss is NaN at step 3"), std::string::npos);
}

TEST_F(CommandsTest, RunUsesTheClusterThatAnswers) {
  cluster_.jobs = {Job(7, v1::JOB_STATE_SUCCEEDED)};
  const CommandResult result = On({"run", "--json", kJob});
  EXPECT_EQ(result.exit_code, kExitOk) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out)["state"], "SUCCEEDED");
}

TEST_F(CommandsTest, RunRefusesAFolderForTheModelBeforeAnythingIsSent) {
  std::filesystem::create_directory(cluster_.state() + "/full");
  ASSERT_TRUE(WriteFileAtomically(cluster_.state() + "/full/file", "x").ok());
  std::filesystem::create_symlink("nowhere", cluster_.state() + "/link");
  for (const char* folder : {"/full", "/full/file", "/full/file/below", "/link"}) {
    SCOPED_TRACE(folder);
    EXPECT_EQ(On({"run", kJob, "-o", cluster_.state() + folder}).exit_code, kExitUsage);
  }
  EXPECT_EQ(On({"run", kJob, "-o", "/proc/x"}).exit_code, kExitUsage);
  EXPECT_EQ(cluster_.submissions, 0);
}

TEST_F(CommandsTest, RunSaysWhereAModelIsThatCouldNotBeFetched) {
  cluster_.jobs = {Job(7, v1::JOB_STATE_SUCCEEDED)};
  cluster_.jobs[0].add_checkpoints()->set_step(20);
  cluster_.checkpoint = CheckpointOf({{"a.bin", "hello"}});
  cluster_.checkpoint[1].set_data("HE");
  const CommandResult result = On({"run", kJob, "-o", cluster_.state() + "/model"});
  EXPECT_EQ(result.exit_code, kExitInfrastructure) << "the job succeeded, and that is no usage";
  EXPECT_NE(result.err.find("`muster pull 7 DIR`"), std::string::npos) << result.err;
}

TEST_F(CommandsTest, RunSaysWhenThereIsNoModelForTheFolder) {
  cluster_.jobs = {Job(7, v1::JOB_STATE_SUCCEEDED)};
  const CommandResult result = On({"run", kJob, "-o", cluster_.state() + "/model"});
  EXPECT_EQ(result.exit_code, kExitOk);
  EXPECT_NE(result.err.find("job 7 has no checkpoint: nothing was written to " + cluster_.state() +
                            "/model\n"),
            std::string::npos)
      << result.err;
}

TEST_F(CommandsTest, WaitExitsWithTheVerdict) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_CANCELLED), Job(2, v1::JOB_STATE_FAILED)};
  cluster_.jobs[1].set_infrastructure(true);
  EXPECT_EQ(On({"wait", "1"}).exit_code, kExitCancelled);
  EXPECT_EQ(On({"wait", "2"}).exit_code, kExitInfrastructure);
  EXPECT_EQ(On({"wait", "3"}).exit_code, kExitUsage);
}

TEST_F(CommandsTest, JsonIsOneObjectALine) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_RUNNING), Job(2, v1::JOB_STATE_QUEUED)};
  std::istringstream lines(On({"ps", "--json"}).out);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(nlohmann::json::parse(line)["state"], "RUNNING");
  std::getline(lines, line);
  EXPECT_EQ(nlohmann::json::parse(line)["id"], 2);
  EXPECT_EQ(nlohmann::json::parse(On({"show", "1", "--json"}).out)["id"], 1);
  EXPECT_EQ(nlohmann::json::parse(On({"nodes", "--json"}).out)["worker"], "host-0");
}

TEST_F(CommandsTest, RolloutWorkersAreShownBesideTheRanks) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_RUNNING)};
  v1::JobInfo& job = cluster_.jobs[0];
  job.mutable_spec()->mutable_resources()->set_ranks(4);
  EXPECT_EQ(On({"ps"}).out.find("+"), std::string::npos);
  EXPECT_EQ(On({"show", "1"}).out.find("ollout"), std::string::npos);
  EXPECT_EQ(On({"logs", "1", "--rank", "9"}).exit_code, kExitUsage);
  job.mutable_spec()->mutable_resources()->set_rollout_workers(3);
  EXPECT_NE(On({"show", "1"}).out.find("rollouts   by 0 of up to 3 workers"), std::string::npos);
  for (const unsigned number : {7U, 9U}) {
    v1::RankInfo& worker = *job.add_rollout_workers();
    worker.set_rank(number);
    worker.set_worker("host-1");
    worker.set_pid(static_cast<int>(100 + number));
  }
  EXPECT_NE(On({"ps"}).out.find(" 4+2 "), std::string::npos) << On({"ps"}).out;
  const std::string shown = On({"show", "1"}).out;
  EXPECT_NE(shown.find("rollouts   by 2 of up to 3 workers"), std::string::npos) << shown;
  EXPECT_NE(shown.find("ROLLOUT WORKER"), std::string::npos) << shown;
  EXPECT_NE(shown.find("host-1  109"), std::string::npos) << shown;
  EXPECT_EQ(On({"logs", "1", "--rank", "9"}).exit_code, kExitOk);
}

TEST_F(CommandsTest, WhatIsNotRepeatableSaysSo) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_RUNNING)};
  EXPECT_EQ(On({"show", "1"}).out.find("bits "), std::string::npos);
  cluster_.jobs[0].set_not_repeatable("it is thrown by dice");
  EXPECT_NE(
      On({"show", "1"}).out.find("bits       no two runs have the same: it is thrown by dice"),
      std::string::npos);
}

TEST_F(CommandsTest, CancelIsAcknowledged) {
  EXPECT_EQ(On({"cancel", "1"}).exit_code, kExitOk);
  EXPECT_EQ(cluster_.cancellations, 1);
  EXPECT_EQ(nlohmann::json::parse(On({"cancel", "1", "--json"}).out)["state"], "CANCELLED");
}

TEST_F(CommandsTest, LogsGoOnWhereABrokenStreamEnded) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_SUCCEEDED)};
  for (int i = 0; i < 4; ++i) {
    v1::LogChunk chunk;
    chunk.set_rank(static_cast<unsigned>(i % 2));
    chunk.set_text("line " + std::to_string(i) + "\n");
    cluster_.log.push_back(chunk);
  }
  cluster_.break_log_after = 2;
  const CommandResult result = On({"logs", "1", "-f"});
  EXPECT_EQ(result.exit_code, kExitOk) << result.err;
  EXPECT_EQ(result.out, "[rank 0] line 0\n[rank 1] line 1\n[rank 0] line 2\n[rank 1] line 3\n");
}

TEST_F(CommandsTest, MetricsLeaveOutWhatARewindMadeVoid) {
  cluster_.metrics.resize(3);
  cluster_.metrics[0].set_rows("{\"step\":1,\"a\":0.5}\n{\"step\":2,\"a\":0.25}\n");
  cluster_.metrics[1].set_rewind_to_step(1);
  cluster_.metrics[2].set_rows("{\"step\":2,\"a\":0.125,\"b\":3}\n");
  EXPECT_EQ(On({"metrics", "1", "--csv"}).out, "step,a,b\n1,0.5,\n2,0.125,3\n");
  EXPECT_NE(On({"metrics", "1", "--json"}).out.find("\n{\"rewind_to_step\":1}\n"),
            std::string::npos);
  EXPECT_EQ(On({"metrics", "1"}).out, "step 1  a 0.5\nstep 2  a 0.125  b 3\n");
}

// What was printed cannot be taken back: the file gets the rows of both attempts, stderr the word.
TEST_F(CommandsTest, MetricsFollowedAsCsvTellRewindsOnStderr) {
  cluster_.metrics.resize(2);
  cluster_.metrics[0].set_rows("{\"step\":1,\"a\":0.5}\n");
  cluster_.metrics[1].set_rows("{\"step\":2,\"a\":0.25}\n");
  cluster_.metrics_later.resize(1);
  cluster_.metrics_later[0].set_rewind_to_step(1);
  cluster_.metrics_later[0].set_rows("{\"step\":2,\"a\":0.125}\n");
  const CommandResult result = On({"metrics", "1", "--csv", "-f"});
  EXPECT_EQ(result.out, "step,a\n1,0.5\n2,0.25\n2,0.125\n");
  EXPECT_EQ(result.err,
            "muster: back to step 1: a new attempt repeats the steps after it; the last row of a "
            "step counts\n");
}

// The picture at the end goes to stdout, all else to stderr.
TEST_F(CommandsTest, WatchDrawsAnEndedJobOnceAndExitsWithItsVerdict) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_FAILED)};
  cluster_.jobs[0].set_reason("loss is NaN at step 3");
  cluster_.metrics.resize(2);
  cluster_.metrics[0].set_rows("{\"step\":1,\"a\":9,\"b\":2}\n{\"step\":2,\"a\":9,\"b\":2}\n");
  cluster_.metrics[1].set_rewind_to_step(1);
  cluster_.metrics_later.resize(1);
  cluster_.metrics_later[0].set_rows("{\"step\":3,\"a\":0.25,\"b\":2}\n");
  const CommandResult result = On({"watch", "1", "--ascii"});
  EXPECT_EQ(result.exit_code, kExitJobFailed);
  EXPECT_EQ(result.out.substr(0, result.out.find('\n')), "a 0.25 at step 3");
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 16);
  EXPECT_NE(result.out.find("\n   9 +*"), std::string::npos) << result.out;
  EXPECT_EQ(result.err, "job 1 FAILED\n  loss is NaN at step 3\n");
  const CommandResult two = On({"watch", "1", "--ascii", "--metric", "b", "--metric", "a"});
  EXPECT_EQ(two.out.substr(0, two.out.find('\n')), "b 2 at step 3");
  EXPECT_NE(two.out.find("\na 0.25 at step 3\n"), std::string::npos) << two.out;
}

TEST_F(CommandsTest, WatchNamesTheMetricsThatThereAre) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_SUCCEEDED)};
  cluster_.metrics.resize(1);
  cluster_.metrics[0].set_rows("{\"step\":1,\"train/loss\":9,\"b\":2}\n");
  const CommandResult result = On({"watch", "1", "--metric", "train/los"});
  EXPECT_EQ(result.exit_code, kExitUsage);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("muster: job 1: no metric 'train/los' (did you mean 'train/loss'?); "
                            "there are: b train/loss\n"),
            std::string::npos)
      << result.err;
  cluster_.metrics.clear();
  const CommandResult none = On({"watch", "1", "--metric", "train/los"});
  EXPECT_EQ(none.exit_code, kExitOk);
  EXPECT_EQ(none.err, "job 1 SUCCEEDED\nmuster: job 1 has no metrics\n");
  const CommandResult other = On({"watch", "9"});
  EXPECT_EQ(other.exit_code, kExitUsage);
  EXPECT_EQ(std::count(other.err.begin(), other.err.end(), '\n'), 1) << other.err;
}

TEST_F(CommandsTest, PullSaysThatTheClustersCopyIsDamagedAndWhatElseThereIs) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_SUCCEEDED)};
  cluster_.jobs[0].add_checkpoints()->set_step(20);
  cluster_.jobs[0].add_checkpoints()->set_step(10);
  cluster_.checkpoint = CheckpointOf({{"a.bin", "hello"}});
  cluster_.checkpoint[1].set_data("HE");
  const CommandResult result = On({"pull", "1", cluster_.state() + "/model"});
  EXPECT_EQ(result.exit_code, kExitInfrastructure);
  EXPECT_EQ(result.err,
            "muster: the cluster's copy of the checkpoint of step 20 is damaged (a.bin: SHA-256 "
            "differs from the manifest); pull another with --step 10\n");
}

TEST_F(CommandsTest, PullRefusesALinkThatLeadsNowhereAndFollowsOthers) {
  cluster_.checkpoint = CheckpointOf({{"a.bin", "hello"}});
  const std::string link = cluster_.state() + "/link";
  std::filesystem::create_symlink(cluster_.state() + "/there", link);
  const CommandResult result = On({"pull", "1", link});
  EXPECT_EQ(result.exit_code, kExitUsage);
  EXPECT_NE(result.err.find("leads nowhere"), std::string::npos) << result.err;
  std::filesystem::create_directory(cluster_.state() + "/there");
  EXPECT_EQ(On({"pull", "1", link}).exit_code, kExitOk);
  EXPECT_EQ(*ReadFile(cluster_.state() + "/there/a.bin"), "hello");
}

TEST_F(CommandsTest, PullFetchesAVerifiedCheckpoint) {
  cluster_.checkpoint = CheckpointOf({{"model.safetensors", "weights"}});
  const std::string directory = cluster_.state() + "/model";
  const CommandResult result = On({"pull", "1", directory});
  EXPECT_EQ(result.exit_code, kExitOk) << result.err;
  EXPECT_EQ(*ReadFile(directory + "/model.safetensors"), "weights");
  EXPECT_EQ(On({"pull", "1", directory}).exit_code, kExitUsage) << "it is not empty any more";
}

TEST_F(CommandsTest, FindsTheClusterAgainAfterItMoved) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_RUNNING)};
  cluster_.Restart();
  EXPECT_EQ(On({"show", "1"}).exit_code, kExitOk);
}

TEST_F(CommandsTest, SaysWhatToDoWithoutACluster) {
  const CommandResult none = Muster({"ps", "--state", cluster_.state() + "/none"});
  EXPECT_EQ(none.exit_code, kExitUnreachable);
  EXPECT_NE(none.err.find("start one with `muster up`"), std::string::npos);
  cluster_.StopServer();
  EXPECT_EQ(On({"ps"}).exit_code, kExitUnreachable);
}

TEST_F(CommandsTest, TellsAWrongTokenFromAMissingCluster) {
  const std::string token = cluster_.state() + "/wrong.token";
  ASSERT_TRUE(WriteFileAtomically(token, "wrong\n", 0600).ok());
  EXPECT_EQ(On({"ps", "--token-file", token}).exit_code, kExitNotAllowed);
  EXPECT_EQ(On({"ps", "--token-file", token + "x"}).exit_code, kExitNotAllowed);
  std::filesystem::permissions(token, std::filesystem::perms(0644));
  const CommandResult open = On({"ps", "--token-file", token});
  EXPECT_EQ(open.exit_code, kExitNotAllowed);
  EXPECT_NE(open.err.find("chmod 600"), std::string::npos);
}

TEST_F(CommandsTest, TakesAddressAndTokenFromTheEnvironment) {
  cluster_.jobs = {Job(1, v1::JOB_STATE_RUNNING)};
  std::string address = *ReadFile(cluster_.state() + "/address");
  address.pop_back();
  ::setenv("MUSTER_ADDRESS", address.c_str(), 1);
  ::setenv("MUSTER_TOKEN_FILE", (cluster_.state() + "/user.token").c_str(), 1);
  EXPECT_EQ(Muster({"show", "1"}).exit_code, kExitOk);
  ::unsetenv("MUSTER_ADDRESS");
  ::unsetenv("MUSTER_TOKEN_FILE");
}

}  // namespace
}  // namespace muster::cli
