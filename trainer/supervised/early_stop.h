// EarlyStop: ends a training whose validation accuracy no longer grows.
// Source: Prechelt, "Early stopping - but when?", 1998, section 2 (criterion UP, with a patience).
#pragma once

#include <cstdint>
#include <optional>

namespace muster {

struct EarlyStopOptions {
  std::uint64_t patience = 0;  // Evaluations in a row without improvement that end it; 0: never.
  double min_delta = 0.0;      // By how much an accuracy must be above the best to improve on it.
};

// Part of the checkpoint: a resumed training ends after the same step.
struct EarlyStop {
  std::optional<double> best;  // Of the evaluation that improved last.
  std::uint64_t without = 0;   // Evaluations since then.

  void Observe(const EarlyStopOptions& options, double accuracy) {
    if (best && accuracy <= *best + options.min_delta) {
      ++without;
      return;
    }
    best = accuracy;
    without = 0;
  }
  bool Ends(const EarlyStopOptions& options) const {
    return options.patience > 0 && without >= options.patience;
  }
};

}  // namespace muster
