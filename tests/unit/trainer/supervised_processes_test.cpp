// Supervised training in processes: over the transports between them, and under kill -9.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/unit/collectives/ranks.h"
#include "tests/unit/trainer/synthetic_job.h"
#include "trainer/checkpoint/checkpoint.h"

namespace muster {
namespace {

using test::QuadrantJob;
using test::RunJob;
using test::WatchingHost;

std::string FinalDigest(const SupervisedOptions& options, const TrainingRun& run) {
  const auto outcome = RunJob(options, run, {1, 1});
  return outcome.results[0].ok() ? outcome.hosts[0].notices.back().sha256
                                 : outcome.results[0].status().message();
}

// In a process that has no threads yet, so that it can fork.
std::string DigestInProcesses(const std::string& transport, std::size_t ranks,
                              const SupervisedOptions& options, const TrainingRun& run) {
  const auto results = RunRanks(transport, ranks, [&](Group& group) -> std::string {
    ThreadPool pool(2);
    WatchingHost host;
    const auto result = TrainSupervised(options, run, group, pool, host);
    if (!result.ok()) return result.status().message();
    return host.notices.empty() ? "" : host.notices.back().sha256;
  });
  for (std::size_t rank = 1; rank < ranks; ++rank) EXPECT_EQ(results[rank].report, "");
  return results[0].report;
}

TEST(SupervisedProcessesTest, SameBitsOverSharedMemoryAndTcp) {
  const std::string folder = test::EmptyFolder("processes");
  const SupervisedOptions options = QuadrantJob(folder, ModelKind::kCnn);
  TrainingRun run;
  run.staging_directory = folder + "/staging";
  std::vector<std::string> digests;
  for (const std::string transport : {"shm", "gloo"}) {
    for (const std::size_t ranks : {2, 4}) {
      digests.push_back(DigestInProcesses(transport, ranks, options, run));
    }
  }
  const std::string digest = FinalDigest(options, run);
  EXPECT_EQ(digest.size(), 64U) << digest;
  for (const std::string& other : digests) EXPECT_EQ(other, digest);
  EXPECT_TRUE(SegmentsLeft().empty());
}

// Tells of each step through a pipe.
class PipingHost : public WatchingHost {
 public:
  explicit PipingHost(int pipe) : pipe_(pipe) {}
  void StepDone(std::uint64_t step, std::uint64_t steps_total) override {
    WatchingHost::StepDone(step, steps_total);
    if (::write(pipe_, "x", 1) != 1) ::_exit(1);
  }

 private:
  int pipe_;
};

// Starts the job in a process and kills it once it has done `steps` steps, wherever it is then.
void RunAndKill(const SupervisedOptions& options, const TrainingRun& run, unsigned steps) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    ThreadPool pool(2);
    PipingHost host(ends[1]);
    const auto groups = CreateLocalGroups(1);
    const auto result = TrainSupervised(options, run, *groups[0], pool, host);
    ::_exit(result.ok() ? 0 : 1);
  }
  ::close(ends[1]);
  char byte = 0;
  for (unsigned done = 0; done < steps && ::read(ends[0], &byte, 1) == 1;) ++done;
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(ends[0]);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

// The newest checkpoint that is complete; "" for none. A damaged one with a manifest is a failure.
std::string NewestCheckpoint(const std::string& staging) {
  std::string newest;
  std::uint64_t newest_step = 0;
  if (!std::filesystem::exists(staging)) return newest;
  for (const auto& entry : std::filesystem::directory_iterator(staging)) {
    const auto checkpoint = ReadCheckpoint(entry.path().string());
    if (!checkpoint.ok()) {
      EXPECT_EQ(checkpoint.status().code(), StatusCode::kNotFound) << checkpoint.status().message();
      continue;
    }
    if (checkpoint->contents.step < newest_step) continue;
    newest_step = checkpoint->contents.step;
    newest = entry.path().string();
  }
  return newest;
}

// kill -9 at any moment, a checkpoint after every step: what is complete is intact, and the job
// ends in the bits of an undisturbed run.
TEST(SupervisedProcessesTest, SurvivesKillsAtRandomMoments) {
  const std::string folder = test::EmptyFolder("kills");
  SupervisedOptions options = QuadrantJob(folder, ModelKind::kMlp);
  options.augment = {1, true};
  options.early_stop = {2, 1.0};  // Ends after the third evaluation, at step 21 of 24.
  for (unsigned seed = 0; seed < 5; ++seed) {
    SCOPED_TRACE(seed);
    TrainingRun run;
    run.staging_directory = folder + "/staging" + std::to_string(seed);
    run.metrics_path = folder + "/metrics" + std::to_string(seed);
    run.cadence.every_steps = 1;
    for (unsigned kill = 0; kill < 4; ++kill) {
      const PhiloxBlock block = RandomBlock(seed, RandomPurpose::kAugmentation, 0, kill);
      RunAndKill(options, run, block[0] % 8);
      run.resume_directory = NewestCheckpoint(run.staging_directory);
    }
    const auto resumed = RunJob(options, run, {2, 1});
    ASSERT_TRUE(resumed.results[0].ok()) << resumed.results[0].status().message();
    const std::string last = NewestCheckpoint(run.staging_directory);
    TrainingRun undisturbed;
    undisturbed.staging_directory = folder + "/undisturbed";
    EXPECT_EQ(ReadCheckpoint(last)->contents.step, 21U);
    EXPECT_EQ(ReadCheckpoint(last)->sha256, FinalDigest(options, undisturbed));
  }
}

}  // namespace
}  // namespace muster
