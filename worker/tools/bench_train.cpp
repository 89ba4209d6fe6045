// Images a second of the main job, by ranks that are processes of one thread and share memory; and
// of two jobs of one rank at once, which share nothing: more than that the machine does not give.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "bench/peer.h"
#include "collectives/shm/shm_group.h"
#include "tensor/thread_pool.h"
#include "trainer/supervised/supervised_trainer.h"
#include "worker/rank/recipes.h"
#include "worker/tools/bench_job.h"
#include "worker/tools/benchmarks.h"

namespace muster::tools {
namespace {

constexpr std::uint64_t kWarmUpSteps = 20;

// The main job's network and step in PyTorch, on random images: images a second on one thread,
// eager and (0 where it cannot) compiled.
constexpr const char* kTorch = R"(
import statistics, sys, time
import torch
from torch import nn
batch, repetitions = map(int, sys.argv[1:3])
torch.manual_seed(1)
torch.set_num_threads(1)
def measure(compiled):
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))
    model = model.to(memory_format=torch.channels_last)
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    except (TypeError, RuntimeError):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_of, run = nn.CrossEntropyLoss(), torch.compile(model) if compiled else model
    images = torch.randn(batch, 1, 28, 28).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,))
    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(run(images), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for _ in range(10):
        step()
    times = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        for _ in range(50):
            step()
        times.append((time.perf_counter() - begin) / 50)
    return batch / statistics.median(times)
eager = measure(False)
try:
    compiled = measure(True)
except Exception:
    compiled = 0.0
print(eager, compiled)
)";

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
  unsigned jobs = 1;    // At once; their rates are added.
  unsigned number = 0;  // Of the repetition: names the segment.
};

Result<double> ImagesPerSecond(const Run& run, unsigned job, unsigned rank) {
  ShmGroupOptions group_options;
  group_options.name = "/muster-bench-" + std::to_string(::getppid()) + "-" +
                       std::to_string(run.ranks) + "-" + std::to_string(job) + "-" +
                       std::to_string(run.number);
  group_options.rank = rank;
  group_options.size = run.ranks;
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<Group> group, CreateShmGroup(group_options));
  ThreadPool pool(1);
  TimingHost host(run.steps);
  TrainingRun where;
  where.staging_directory = run.directory + "/" + std::to_string(job);
  MUSTER_RETURN_IF_ERROR(TrainSupervised(run.options, where, *group, pool, host).status());
  if (host.seconds() <= 0) {
    return InvalidArgument("the job has fewer than " + std::to_string(kWarmUpSteps + run.steps) +
                           " steps; give fewer with steps=N");
  }
  return static_cast<double>(run.steps * run.options.batch_size) / host.seconds();
}

// One process a rank; the sum of what the jobs' ranks 0 measured.
Result<double> Measure(const Run& run) {
  int ends[2];
  if (::pipe(ends) != 0) return FromErrno("pipe");
  std::vector<pid_t> children;
  for (unsigned i = 0; i < run.jobs * run.ranks; ++i) {
    const pid_t child = ::fork();
    if (child < 0) return FromErrno("fork");
    if (child == 0) {
      const unsigned rank = i % run.ranks;
      const Result<double> rate = ImagesPerSecond(run, i / run.ranks, rank);
      if (!rate.ok()) std::fprintf(stderr, "%s\n", rate.status().message().c_str());
      const double value = rate.ok() ? *rate : 0;
      const bool told = rank != 0 || ::write(ends[1], &value, sizeof(value)) == sizeof(value);
      ::_exit(rate.ok() && told ? 0 : 1);
    }
    children.push_back(child);
  }
  ::close(ends[1]);
  double sum = 0;
  bool all = true;
  for (unsigned job = 0; job < run.jobs; ++job) {
    double rate = 0;
    all = all && ::read(ends[0], &rate, sizeof(rate)) == sizeof(rate) && rate > 0;
    sum += rate;
  }
  ::close(ends[0]);
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    all = all && status == 0;
  }
  if (!all) return Internal("a rank failed");
  return sum;
}

}  // namespace

Status BenchmarkTrain(const BenchmarkSettings& settings, bool json, std::ostream& out) {
  MUSTER_ASSIGN_OR_RETURN(const unsigned steps, settings.Count("steps"));
  MUSTER_ASSIGN_OR_RETURN(const unsigned repetitions, settings.Count("repetitions"));
  std::string folder = std::filesystem::temp_directory_path() / "muster-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return FromErrno("mkdtemp " + folder);
  const Result<BenchJob> loaded = LoadBenchJob(settings.Text("job"), folder, folder);
  if (!loaded.ok() || !loaded->spec.has_supervised()) {
    std::error_code unused;
    std::filesystem::remove_all(folder, unused);
    return loaded.ok() ? InvalidArgument("job: its recipe is not [supervised]") : loaded.status();
  }
  Run run;
  run.directory = folder;
  run.steps = steps;
  // The contenders, in turns.
  struct Contender {
    const char* name;
    unsigned ranks, jobs;
    std::vector<double> rates{}, ratios{};
  };
  Contender contenders[] = {{"1 rank", 1, 1}, {"2 ranks", 2, 1}, {"2 jobs of 1 rank", 1, 2}};
  Status status;
  const Result<SupervisedOptions> options = rank::SupervisedOptionsOf(loaded->spec, folder);
  status = options.status();
  if (options.ok()) run.options = *options;
  for (unsigned i = 0; i <= repetitions && status.ok(); ++i) {
    double alone = 0;
    for (Contender& contender : contenders) {
      run.ranks = contender.ranks;
      run.jobs = contender.jobs;
      run.number = i;
      for (unsigned job = 0; job < run.jobs; ++job) {
        const std::string staging = run.directory + "/" + std::to_string(job);
        std::error_code ignored;
        std::filesystem::remove_all(staging, ignored);
        std::filesystem::create_directory(staging, ignored);
      }
      const Result<double> rate = Measure(run);
      status = rate.status();
      if (!rate.ok()) break;
      if (alone == 0) alone = *rate;
      if (i == 0) continue;  // Fills the data cache.
      contender.rates.push_back(*rate);
      contender.ratios.push_back(*rate / alone);
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  MUSTER_RETURN_IF_ERROR(std::move(status));
  std::string text;
  char line[256];
  if (json) {
    std::snprintf(line, sizeof(line),
                  "{\"images_per_second_1_rank_median\":%.0f,"
                  "\"images_per_second_2_ranks_median\":%.0f,\"speedup_2_ranks_median\":%.3f,"
                  "\"speedup_2_jobs_median\":%.3f}\n",
                  SpreadOf(contenders[0].rates).median, SpreadOf(contenders[1].rates).median,
                  SpreadOf(contenders[1].ratios).median, SpreadOf(contenders[2].ratios).median);
    text = line;
  } else {
    std::snprintf(line, sizeof(line), "%-32s %9s %9s %9s  %s\n", "images/s, ranks of one thread",
                  "median", "least", "most", "to 1 rank: median (least .. most)");
    text = line;
    for (const Contender& contender : contenders) {
      const Spread rate = SpreadOf(contender.rates), ratio = SpreadOf(contender.ratios);
      std::snprintf(line, sizeof(line), "%-32s %9.0f %9.0f %9.0f  %.2f (%.2f .. %.2f)\n",
                    contender.name, rate.median, rate.least, rate.most, ratio.median, ratio.least,
                    ratio.most);
      text += line;
    }
  }
  out << text << std::flush;
  const bool main_job = settings.Text("job") == kMainJobName;
  if (json || !main_job || settings.Text("torch") != "yes") return {};
  const auto torch =
      RunTorch(kTorch, {std::to_string(run.options.batch_size), std::to_string(repetitions)});
  if (!torch.ok() || torch->size() != 2) {
    out << "PyTorch: " << (torch.ok() ? "it gave no figures" : torch.status().message())
        << std::endl;
    return {};
  }
  const double best = std::max((*torch)[0], (*torch)[1]);
  std::snprintf(line, sizeof(line),
                "PyTorch, the same network on 1 thread: %.0f, compiled %.0f; 1 rank is %.2f times "
                "its best\n",
                (*torch)[0], (*torch)[1], SpreadOf(contenders[0].rates).median / best);
  out << line << std::flush;
  return {};
}

}  // namespace muster::tools
