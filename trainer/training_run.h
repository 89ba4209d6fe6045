// What every training loop shares: where an attempt writes, how its ranks begin together, and what
// they say of themselves.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "collectives/group.h"
#include "tensor/thread_pool.h"
#include "trainer/metrics/metrics_writer.h"

namespace muster {

// Which steps leave a checkpoint besides the last one; never what is in it.
struct CheckpointCadence {
  std::uint64_t every_steps = 0;  // 0: never, as for seconds.
  double every_seconds = 0.0;     // By rank 0's clock.
  bool on_best = false;           // When an evaluation is the best so far.
};

// Where and how often this attempt writes: nothing here has an effect on the result.
struct TrainingRun {
  CheckpointCadence cadence;
  std::string metrics_path;        // Rank 0's spool file. Empty: no metrics.
  std::string staging_directory;   // Rank 0 writes "<staging>/step-<n>". Empty: none.
  std::string resume_directory;    // A checkpoint that every rank can read; empty: start anew.
  std::uint64_t memory_bytes = 0;  // What this process may hold; 0 = what the system has.
  // Why no two runs have the same bits, for the log and for provenance.json; empty = they have.
  std::string not_repeatable;
};

// A rank that cannot start tells the others instead of leaving them to wait for it, and all go on
// from the same step. Collective, also where `prepared` is an error. `step` is read where it is
// none.
Status AgreeOnStart(Group& group, const Status& prepared, std::uint64_t step);

// For a checkpoint: which host, how many ranks and threads, when.
nlohmann::json Provenance(const Group& group, const ThreadPool& pool);

// Keeps a row's memory: only new names allocate.
void Put(MetricsRow& row, std::string_view name, double value);
// Takes names away that not every row has.
template <class Names>
void Forget(MetricsRow& row, const Names& names) {
  for (const std::string_view name : names) {
    if (const auto found = row.find(name); found != row.end()) row.erase(found);
  }
}

class Stopwatch {
 public:
  double total_ms() const {
    return std::chrono::duration<double, std::milli>(Clock::now() - begin_).count();
  }
  // Since the last lap.
  double lap_ms() {
    const auto now = Clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(lap_, now)).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point lap_ = begin_;
};

}  // namespace muster
