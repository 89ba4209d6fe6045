// Images a second of the main job, by ranks that are processes of one thread and share memory.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "collectives/shm/shm_group.h"
#include "tensor/thread_pool.h"
#include "trainer/supervised/supervised_trainer.h"
#include "wire/job_file.h"
#include "worker/rank/recipes.h"
#include "worker/tools/benchmarks.h"

namespace muster::tools {
namespace {

constexpr std::uint64_t kWarmUpSteps = 20;

// Times the steps between the warm-up and the end, then stops the training.
class TimingHost final : public TrainerHost {
 public:
  explicit TimingHost(std::uint64_t steps) : steps_(steps) {}
  void Started(std::uint64_t /*step*/, std::uint64_t /*steps_total*/) override {}
  void StepDone(std::uint64_t step, std::uint64_t /*steps_total*/) override {
    const auto now = std::chrono::steady_clock::now();
    if (step == kWarmUpSteps) begin_ = now;
    if (step == kWarmUpSteps + steps_) {
      seconds_ = std::chrono::duration<double>(now - begin_).count();
    }
  }
  Status SaveCheckpoint(const CheckpointNotice& /*notice*/) override { return {}; }
  bool StopRequested() override { return seconds_ > 0; }
  double seconds() const { return seconds_; }

 private:
  std::uint64_t steps_;
  std::chrono::steady_clock::time_point begin_;
  double seconds_ = 0;
};

struct Run {
  SupervisedOptions options;
  std::string directory;
  std::uint64_t steps = 0;
  unsigned ranks = 1;
  unsigned number = 0;  // Of the repetition: names the segment.
};

Result<double> ImagesPerSecond(const Run& run, unsigned rank) {
  cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(rank, &core);
  ::sched_setaffinity(0, sizeof(core), &core);  // Without that core the scheduler decides.
  ShmGroupOptions group_options;
  group_options.name = "/muster-bench-" + std::to_string(::getppid()) + "-" +
                       std::to_string(run.ranks) + "-" + std::to_string(run.number);
  group_options.rank = rank;
  group_options.size = run.ranks;
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<Group> group, CreateShmGroup(group_options));
  ThreadPool pool(1);
  TimingHost host(run.steps);
  SupervisedRun where;
  where.staging_directory = run.directory;
  MUSTER_RETURN_IF_ERROR(TrainSupervised(run.options, where, *group, pool, host).status());
  if (host.seconds() <= 0) {
    return InvalidArgument("the job has fewer than " + std::to_string(kWarmUpSteps + run.steps) +
                           " steps; give fewer with steps=N");
  }
  return static_cast<double>(run.steps * run.options.batch_size) / host.seconds();
}

// One process a rank; what rank 0 measured.
Result<double> Measure(const Run& run) {
  int ends[2];
  if (::pipe(ends) != 0) return FromErrno("pipe");
  std::vector<pid_t> children;
  for (unsigned rank = 0; rank < run.ranks; ++rank) {
    const pid_t child = ::fork();
    if (child < 0) return FromErrno("fork");
    if (child == 0) {
      const Result<double> rate = ImagesPerSecond(run, rank);
      if (!rate.ok()) std::fprintf(stderr, "%s\n", rate.status().message().c_str());
      const double value = rate.ok() ? *rate : 0;
      const bool told = rank != 0 || ::write(ends[1], &value, sizeof(value)) == sizeof(value);
      ::_exit(rate.ok() && told ? 0 : 1);
    }
    children.push_back(child);
  }
  ::close(ends[1]);
  double rate = 0;
  const bool told = ::read(ends[0], &rate, sizeof(rate)) == sizeof(rate);
  ::close(ends[0]);
  bool all = told && rate > 0;
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    all = all && status == 0;
  }
  if (!all) return Internal("a rank failed");
  return rate;
}

}  // namespace

Status BenchmarkTrain(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  MUSTER_ASSIGN_OR_RETURN(const unsigned steps, settings.Count("steps"));
  MUSTER_ASSIGN_OR_RETURN(const unsigned repetitions, settings.Count("repetitions"));
  MUSTER_ASSIGN_OR_RETURN(v1::JobSpec spec, wire::LoadJobFile(settings.Text("job"), {}));
  wire::FillDefaults(spec);
  if (!spec.has_supervised()) return InvalidArgument("job: its recipe is not [supervised]");
  std::string folder = std::filesystem::temp_directory_path() / "muster-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return FromErrno("mkdtemp " + folder);
  Run run;
  run.directory = folder;
  run.steps = steps;
  std::vector<double> one, two, ratio;
  Status status;
  const Result<SupervisedOptions> options = rank::SupervisedOptionsOf(spec, folder);
  status = options.status();
  if (options.ok()) run.options = *options;
  for (unsigned i = 0; i <= repetitions && status.ok(); ++i) {
    double rates[2] = {};
    for (unsigned ranks = 1; ranks <= 2 && status.ok(); ++ranks) {
      run.ranks = ranks;
      run.number = i;
      const Result<double> rate = Measure(run);
      status = rate.status();
      if (rate.ok()) rates[ranks - 1] = *rate;
      std::error_code ignored;
      for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
        const std::string name = entry.path().filename();
        if (name.rfind("step-", 0) == 0) std::filesystem::remove_all(entry.path(), ignored);
      }
    }
    if (i == 0) continue;  // Fills the data cache.
    one.push_back(rates[0]);
    two.push_back(rates[1]);
    ratio.push_back(rates[0] > 0 ? rates[1] / rates[0] : 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  MUSTER_RETURN_IF_ERROR(std::move(status));
  const Spread first = SpreadOf(one), second = SpreadOf(two), speedup = SpreadOf(ratio);
  char text[512];
  if (json) {
    std::snprintf(text, sizeof(text),
                  "{\"images_per_second_1_rank_median\":%.0f,"
                  "\"images_per_second_2_ranks_median\":%.0f,\"speedup_2_ranks_median\":%.3f}\n",
                  first.median, second.median, speedup.median);
  } else {
    std::snprintf(text, sizeof(text),
                  "%-24s %10s %10s %10s\n%-24s %10.0f %10.0f %10.0f\n%-24s %10.0f %10.0f %10.0f\n"
                  "%-24s %10.2f %10.2f %10.2f\n",
                  "images/s", "median", "least", "most", "1 rank, 1 thread", first.median,
                  first.least, first.most, "2 ranks, 1 thread each", second.median, second.least,
                  second.most, "2 ranks : 1 rank", speedup.median, speedup.least, speedup.most);
  }
  out << text << std::flush;
  return {};
}

}  // namespace muster::tools
