#include "cli/job_view.h"

#include <algorithm>

#include "cli/exit_code.h"
#include "wire/field_rules.h"
#include "wire/policy_rules.h"
#include "wire/printable.h"

namespace muster::cli {
namespace {

std::string MetricOf(const v1::JobInfo& job, const std::string& name) {
  const auto found = job.last_metrics().find(name);
  return found == job.last_metrics().end() ? "" : MetricText(found->second);
}

// Of the policy: in an evaluation, or else in training.
std::string ReturnOf(const v1::JobInfo& job) {
  const std::string evaluated = MetricOf(job, "evaluation/return");
  return evaluated.empty() ? MetricOf(job, "charts/episodic_return") : evaluated;
}

std::string AccuracyOf(const v1::JobInfo& job) {
  const std::string test = MetricOf(job, "test/accuracy");
  return test.empty() ? MetricOf(job, "validation/accuracy") : test;
}

// A command has no steps: how long it has run so far.
std::string StepsText(const v1::JobInfo& job, std::int64_t now_ms) {
  if (job.spec().has_command()) return "for " + DurationText(now_ms - job.started_ms());
  if (job.steps_total() == 0) return GroupedText(job.steps_done()) + " steps";
  return GroupedText(job.steps_done()) + "/" + GroupedText(job.steps_total()) + " steps";
}

std::string SpeedText(const v1::JobInfo& job, double steps_per_second) {
  if (steps_per_second <= 0) return "";
  if (wire::CollectsRollouts(job.spec())) {
    const v1::PpoRecipe& ppo = job.spec().ppo();
    const v1::VpgRecipe& vpg = job.spec().vpg();  // One of them is empty.
    const double steps = steps_per_second * (1.0 * ppo.envs() * ppo.rollout_steps() +
                                             1.0 * vpg.envs() * vpg.rollout_steps());
    return GroupedText(static_cast<std::uint64_t>(steps)) + " environment steps/s";
  }
  if (!job.spec().has_supervised()) return MetricText(steps_per_second) + " steps/s";
  const double samples = steps_per_second * job.spec().supervised().batch_size();
  return GroupedText(static_cast<std::uint64_t>(samples)) + " samples/s";
}

std::string TimeLeftText(const v1::JobInfo& job, double steps_per_second) {
  if (steps_per_second <= 0 || job.steps_total() <= job.steps_done()) return "";
  const auto left = static_cast<double>(job.steps_total() - job.steps_done());
  return DurationText(static_cast<std::int64_t>(left / steps_per_second * 1e3)) + " left";
}

}  // namespace

std::string StateText(const v1::JobInfo& job) {
  const auto* value = v1::JobState_descriptor()->FindValueByNumber(job.state());
  return value == nullptr ? std::to_string(job.state()) : wire::ShortName(*value);
}

void StepRate::Add(std::uint64_t steps_done, std::int64_t now_ms) {
  constexpr std::int64_t kWindowMs = 15'000;
  if (!seen_.empty() && steps_done < seen_.back().second) seen_.clear();
  // Ranks say how far they are now and then: between two such moments nothing is known. Two seconds
  // without a step are slowness.
  constexpr std::int64_t kQuietMs = 2'000;
  const bool quiet = !seen_.empty() && steps_done == seen_.back().second;
  if (quiet && now_ms < seen_.back().first + kQuietMs) return;
  seen_.emplace_back(now_ms, steps_done);
  while (seen_.size() > 2 && seen_.front().first < now_ms - kWindowMs) seen_.pop_front();
}

double StepRate::steps_per_second() const {
  if (seen_.size() < 2) return 0;
  const auto elapsed_ms = static_cast<double>(seen_.back().first - seen_.front().first);
  if (elapsed_ms <= 0) return 0;
  return static_cast<double>(seen_.back().second - seen_.front().second) / elapsed_ms * 1e3;
}

std::string ProgressText(const v1::JobInfo& job, double steps_per_second, unsigned columns,
                         std::int64_t now_ms) {
  const std::string id = "job " + std::to_string(job.id()) + " ";
  const std::string named = id + wire::Printable(job.name()) + " " + StateText(job);
  constexpr std::size_t kStepsMost = 32;  // Room that a long name must leave.
  const bool fits = columns == 0 || (columns >= 72 && TextColumns(named) + kStepsMost <= columns);
  const std::string head = fits ? named : id + StateText(job);
  if (job.state() != v1::JOB_STATE_RUNNING) {
    return job.reason().empty() ? head : head + ": " + wire::Printable(job.reason(), 1000);
  }
  std::string tail = "  " + StepsText(job, now_ms);
  const std::string loss = MetricOf(job, "train/loss");
  const std::string accuracy = AccuracyOf(job);
  const std::string policy_return = ReturnOf(job);
  constexpr unsigned kBarLeast = 12;
  // From the most important to the least: what does not fit is left out.
  for (const std::string& piece :
       {TimeLeftText(job, steps_per_second), loss.empty() ? "" : "loss " + loss,
        accuracy.empty() ? "" : "accuracy " + accuracy,
        policy_return.empty() ? "" : "return " + policy_return, SpeedText(job, steps_per_second)}) {
    const std::size_t used = TextColumns(head) + TextColumns(tail) + TextColumns(piece) + 3;
    const bool has_room = columns == 0 || used + kBarLeast < columns;
    if (!piece.empty() && has_room) tail += "  " + piece;
  }
  const std::size_t used = TextColumns(head) + TextColumns(tail) + 2;
  if (columns == 0 || job.steps_total() == 0 || used + 5 > columns) return head + tail;
  const double share =
      static_cast<double>(job.steps_done()) / static_cast<double>(job.steps_total());
  return head + " " + Bar(share, static_cast<unsigned>(std::min<std::size_t>(columns - used, 32))) +
         tail;
}

std::string ResultText(const v1::JobInfo& job) {
  std::string text = "job " + std::to_string(job.id()) + " " + StateText(job);
  if (job.started_ms() > 0 && job.ended_ms() >= job.started_ms()) {
    text += " after " + DurationText(job.ended_ms() - job.started_ms());
  }
  if (job.has_exit_code()) text += ", exit code " + std::to_string(job.exit_code());
  std::string details;
  const auto add = [&](const std::string& detail) { details += "\n  " + detail; };
  if (!job.reason().empty()) add(wire::Printable(job.reason(), 1000));
  if (const std::string test = MetricOf(job, "test/accuracy"); !test.empty()) {
    add("test accuracy " + test);
  }
  if (const std::string evaluated = MetricOf(job, "evaluation/return"); !evaluated.empty()) {
    add("evaluation return " + evaluated);
  }
  if (job.checkpoints_size() > 0) {
    const v1::CheckpointInfo& newest =
        *std::max_element(job.checkpoints().begin(), job.checkpoints().end(),
                          [](const auto& a, const auto& b) { return a.step() < b.step(); });
    add("checkpoint of step " + GroupedText(newest.step()));
    add("sha256 " + newest.sha256());
  }
  return text + details;
}

JobView::JobView(std::function<void(const std::string&)> print,
                 std::function<void(const std::string&, unsigned)> draw)
    : print_(std::move(print)), draw_(std::move(draw)) {}

void JobView::Show(const v1::JobInfo& job, std::int64_t now_ms, unsigned columns) {
  if (job.state() == v1::JOB_STATE_RUNNING) rate_.Add(job.steps_done(), now_ms);
  const double rate = rate_.steps_per_second();
  const std::string state =
      StateText(job) + " " + std::to_string(job.attempt()) + " " + job.reason();
  const bool changed = state != last_state_;
  last_state_ = state;
  if (HasEnded(job)) return;
  if (columns > 0) {
    // Another attempt, or why it waits, is worth a line that stays.
    if (changed && job.attempt() > 1) print_(ProgressText(job, rate, 0, now_ms));
    draw_(ProgressText(job, rate, columns, now_ms), columns);
    return;
  }
  constexpr std::int64_t kLineEveryMs = 5'000;
  const bool moved = job.steps_done() != last_line_steps_;
  if (!changed && !(moved && now_ms >= last_line_ms_ + kLineEveryMs)) return;
  last_line_ms_ = now_ms;
  last_line_steps_ = job.steps_done();
  print_(ProgressText(job, rate, 0, now_ms));
}

}  // namespace muster::cli
