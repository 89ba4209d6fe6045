// `muster watch ID`: curves of a job's metrics in the terminal, while it runs.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/job_view.h"
#include "cli/screen.h"
#include "cli/session_interrupt.h"
#include "cli/watch_view.h"

namespace muster::cli {
namespace {

struct WatchArgs {
  ClusterOptions cluster;
  std::uint64_t job_id = 0;
  std::vector<std::string> metrics;
  bool ascii = false;
};

constexpr std::chrono::milliseconds kTick{100};
constexpr std::int64_t kRedrawMs = 1'000;  // What was typed, or printed by others, goes away again.

// Follows a job and its metrics on two streams, a thread each, and shows them from the caller's.
class Watcher {
 public:
  Watcher(const WatchArgs& args, Session& jobs, Session& metrics)
      : job_id_(args.job_id),
        unicode_(!args.ascii && ShowsUnicode()),
        jobs_(jobs),
        metrics_(metrics),
        curves_(args.metrics) {}

  // Until the job has ended: then it is there. kCancelled after an interrupt.
  Result<v1::JobInfo> Follow();

  // The curves as they were last, for good.
  void PrintCurves();
  const Curves& curves() const { return curves_; }

 private:
  void FollowJob();
  void FollowMetrics();
  // The end of one stream; the other has no use without it if it broke off.
  void End(Status status);
  void PrintWords();
  void Show();
  void ShowOnScreen(const ScreenSize& size, std::int64_t now_ms);
  void ShowLines(std::int64_t now_ms);

  const std::uint64_t job_id_;
  const bool unicode_;
  Session& jobs_;
  Session& metrics_;

  std::mutex mutex_;
  std::condition_variable changed_;
  Curves curves_;
  std::optional<v1::JobInfo> job_;
  std::string word_;                // About the coordinator, while it is away.
  std::vector<std::string> words_;  // The same, for where no screen shows it.
  bool fresh_ = false;
  int streams_ = 2;
  Status failed_;

  // Of the thread that shows.
  Screen screen_{STDOUT_FILENO};
  const bool on_screen_ = CanDrawOn(STDOUT_FILENO);
  ScreenSize drawn_size_{};
  std::int64_t drawn_ms_ = 0;
  StepRate rate_;
  StatusLine line_{STDERR_FILENO};
  JobView view_{[this](const std::string& text) { line_.Print(text + NewestText(curves_)); },
                [this](const std::string& text, unsigned) { line_.Draw(text); }};
  bool told_missing_ = false;
};

void Watcher::FollowJob() {
  End(jobs_.Watch(job_id_, [this](const v1::JobInfo& job) {
    const std::lock_guard lock(mutex_);
    if (job.state() == v1::JOB_STATE_RUNNING) rate_.Add(job.steps_done(), NowMs());
    job_ = job;
    fresh_ = true;
    changed_.notify_all();
  }));
}

void Watcher::FollowMetrics() {
  v1::MetricsRequest request;
  request.set_job_id(job_id_);
  request.set_follow(true);
  End(metrics_.Metrics(request, [this](const v1::MetricsChunk& chunk) {
    const std::lock_guard lock(mutex_);
    curves_.Take(chunk);
    fresh_ = true;
  }));
}

void Watcher::End(Status status) {
  const std::lock_guard lock(mutex_);
  --streams_;
  changed_.notify_all();
  if (status.ok() || !failed_.ok()) return;
  failed_ = std::move(status);
  jobs_.Interrupt();
  metrics_.Interrupt();
}

Result<v1::JobInfo> Watcher::Follow() {
  jobs_.on_word = [this](const std::string& word) {
    const std::lock_guard lock(mutex_);
    words_.push_back("muster: " + word);
    // It says that it went away, then that it is back.
    word_ = word_.empty() ? word : "";
    fresh_ = true;
  };
  std::thread job([this] { FollowJob(); });
  std::thread metrics([this] { FollowMetrics(); });
  {
    std::unique_lock lock(mutex_);
    while (streams_ > 0) {
      changed_.wait_for(lock, kTick, [this] { return streams_ == 0; });
      if (!on_screen_ || !job_.has_value()) PrintWords();
      // A job that has ended is shown once, when all of it is there.
      if (streams_ > 0 && job_.has_value() && !HasEnded(*job_)) Show();
    }
  }
  job.join();
  metrics.join();
  screen_.Leave();
  line_.Clear();
  if (!failed_.ok()) return failed_;
  if (!job_.has_value()) return Internal("the cluster has told nothing of the job");
  return *job_;
}

void Watcher::PrintWords() {
  for (const std::string& word : words_) line_.Print(word);
  words_.clear();
}

void Watcher::Show() {
  const std::int64_t now_ms = NowMs();
  if (!on_screen_) {
    if (fresh_) ShowLines(now_ms);
    fresh_ = false;
    return;
  }
  const ScreenSize size = ScreenSizeOf(STDOUT_FILENO);
  if (!fresh_ && size == drawn_size_ && now_ms < drawn_ms_ + kRedrawMs) return;
  fresh_ = false;
  drawn_size_ = size;
  drawn_ms_ = now_ms;
  ShowOnScreen(size, now_ms);
}

void Watcher::ShowOnScreen(const ScreenSize& size, std::int64_t now_ms) {
  std::string head =
      ProgressText(*job_, rate_.steps_per_second(), static_cast<unsigned>(size.columns), now_ms);
  if (!word_.empty()) head = word_;
  screen_.Draw(DrawWatch(head, curves_, {size.columns, size.rows, unicode_}));
}

void Watcher::ShowLines(std::int64_t now_ms) {
  const std::string missing = curves_.MissingText();
  if (!told_missing_ && !curves_.empty() && !missing.empty()) {
    told_missing_ = true;
    line_.Print("muster: " + missing + "; waiting for it");
  }
  view_.Show(*job_, now_ms, line_.columns());
}

void Watcher::PrintCurves() {
  constexpr std::size_t kRowsOfOne = 16, kColumns = 80;  // Where no terminal says otherwise.
  ChartSize size{kColumns, kRowsOfOne * std::max<std::size_t>(curves_.shown().size(), 1), unicode_};
  if (on_screen_) {
    const ScreenSize screen = ScreenSizeOf(STDOUT_FILENO);
    size.columns = screen.columns;
    // Room for the result, and for the next prompt.
    size.rows = std::min(size.rows, screen.rows - std::min<std::size_t>(screen.rows / 2, 6));
  }
  for (const std::string& line : DrawWatch("", curves_, size)) std::cout << line << "\n";
  std::cout.flush();
}

int Watch(const WatchArgs& args) {
  std::unique_ptr<Session> jobs, metrics;
  SessionInterrupt interrupt;
  for (std::unique_ptr<Session>* session : {&jobs, &metrics}) {
    Result<std::unique_ptr<Session>> opened = Session::Open(args.cluster);
    if (!opened.ok()) return Report(opened.status());
    *session = std::move(*opened);
  }
  interrupt.Use(jobs.get(), metrics.get());
  Watcher watcher(args, *jobs, *metrics);
  const Result<v1::JobInfo> job = watcher.Follow();
  watcher.PrintCurves();
  const std::string id = std::to_string(args.job_id);
  if (interrupt.came()) {
    std::cerr << "muster: detached; job " << id << " is left as it is" << std::endl;
    return kExitInterrupted;
  }
  if (!job.ok()) return Report(job.status());
  std::cerr << ResultText(*job) << std::endl;
  if (watcher.curves().empty()) {
    std::cerr << "muster: job " << id << " has no metrics" << std::endl;
    return VerdictOf(*job);
  }
  const std::string missing = watcher.curves().MissingText();
  if (!missing.empty()) return Report(InvalidArgument("job " + id + ": " + missing));
  return VerdictOf(*job);
}

}  // namespace

void AddWatch(CommandLine& line) {
  const auto args = std::make_shared<WatchArgs>();
  Command command = line.Add("watch", "Draw a job's metrics as curves while it runs");
  command.Value("ID", args->job_id, "The job's number").Required();
  command
      .Values("--metric", args->metrics,
              "Which one; may be repeated (otherwise what matters most, see below)")
      .OneOf({"charts/episodic_return", "evaluation/return", "validation/accuracy", "train/loss"})
      .Flag("--ascii", args->ascii, "Draw without braille, also where the locale is UTF-8")
      .Example("muster watch 3 --metric train/loss --metric validation/accuracy")
      .More(
          "Without --metric: the first there is of episode/return, charts/episodic_return,\n"
          "evaluation/return, validation/accuracy and train/loss.\n"
          "Fills the terminal until the job has ended, then leaves the curve there and exits with\n"
          "the job's verdict. Ctrl-C leaves the job alone. Where the output is no terminal, a "
          "line\n"
          "every few seconds goes to standard error and the curve is printed once, at the end.")
      .Runs([args] { return Watch(*args); });
  AddClusterOptions(command, args->cluster);
}

}  // namespace muster::cli
