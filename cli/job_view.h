// A job that is being followed, as a person sees it: one line that moves on a terminal, a line now
// and then elsewhere.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>

#include "cli/terminal.h"
#include "muster/v1/cluster.pb.h"

namespace muster::cli {

// "RUNNING".
std::string StateText(const v1::JobInfo& job);

// Steps a second over the last 15 seconds of watching; 0 = not known yet. A job that goes back to
// a checkpoint starts anew.
class StepRate {
 public:
  void Add(std::uint64_t steps_done, std::int64_t now_ms);
  double steps_per_second() const;

 private:
  std::deque<std::pair<std::int64_t, std::uint64_t>> seen_;
};

// "job 3 name RUNNING [###---] 20/100 steps  loss 0.53  accuracy 0.91  12,345 images/s  40 s left",
// as much of it as fits `columns`, the most important first. 0 columns = all of it, without the
// bar.
// Of a command the time since its start until `now_ms`, in place of steps.
std::string ProgressText(const v1::JobInfo& job, double steps_per_second, unsigned columns,
                         std::int64_t now_ms = 0);

// "job 3 SUCCEEDED after 45 s", and a line each for its reason, its test accuracy, its newest
// checkpoint and that one's digest.
std::string ResultText(const v1::JobInfo& job);

class JobView {
 public:
  // `print` writes a lasting line, `draw` replaces the moving one; both may be of one StatusLine.
  JobView(std::function<void(const std::string&)> print,
          std::function<void(const std::string&, unsigned columns)> draw);

  // The job has changed. `columns` as of a terminal; 0 = none: a line at changes of state and every
  // five seconds.
  void Show(const v1::JobInfo& job, std::int64_t now_ms, unsigned columns);

 private:
  std::function<void(const std::string&)> print_;
  std::function<void(const std::string&, unsigned)> draw_;
  StepRate rate_;
  std::string last_state_;
  std::int64_t last_line_ms_ = 0;
  std::uint64_t last_line_steps_ = 0;
};

}  // namespace muster::cli
