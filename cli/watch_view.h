// What `muster watch` shows of a job: curves of its metrics under its progress.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cli/chart.h"
#include "muster/v1/cluster.pb.h"

namespace muster::cli {

// The numbers of a job by name, as their stream brings them: steps that a new attempt repeats
// replace the old ones.
class Curves {
 public:
  // The metrics to show. Empty = the first there is of episode/return, charts/episodic_return,
  // evaluation/return, validation/accuracy and train/loss, or else of all by name; times are only
  // shown when asked.
  explicit Curves(std::vector<std::string> wanted);

  void Take(const v1::MetricsChunk& chunk);

  // What is to be drawn now, in the order in which it was asked for.
  std::vector<std::string> shown() const;
  // Of a name that is shown: its values, null as NaN; empty where it has none.
  const std::vector<ChartPoint>& points(const std::string& name) const;

  bool empty() const { return names_.empty(); }
  // Of what was asked for and has no value so far: one line with the nearest name and those that
  // there are. Empty where nothing is missing.
  std::string MissingText() const;

 private:
  void Add(const std::string& name, std::uint64_t step, double value);

  std::vector<std::string> wanted_;
  std::set<std::string> names_;  // Of all values.
  std::map<std::string, std::vector<ChartPoint>> points_;
};

// "  train/loss 0.53  validation/accuracy 0.9": the newest of what is shown.
std::string NewestText(const Curves& curves);

// At most `size.rows` lines of at most `size.columns` characters: `head`, broken into lines, and
// below it the curves, which share what is left. With a head it also says that there is no metric
// yet, and which of those that were asked for are missing.
std::vector<std::string> DrawWatch(const std::string& head, const Curves& curves,
                                   const ChartSize& size);

}  // namespace muster::cli
