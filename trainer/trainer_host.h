// TrainerHost: what a training loop needs of the process it runs in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace muster {

// A checkpoint that lies complete in a folder of this rank's.
struct CheckpointNotice {
  std::uint64_t step = 0;
  std::string directory;
  std::string sha256;               // Its digest.
  std::optional<double> score;      // The higher the better; absent when not evaluated here.
  std::uint64_t metrics_bytes = 0;  // The metrics file must be known up to here first.
  bool last = false;                // The job is done.
  std::int64_t write_ms = 0;        // What writing it took.
};

// Implemented by the rank process, and by tests. Called from the loop's thread only.
class TrainerHost {
 public:
  virtual ~TrainerHost() = default;

  // A sentence for the job's log, such as that the data cache is full. On every rank.
  virtual void Note(const std::string& /*sentence*/) {}
  // Everything is read and checked; the next step is `step` + 1 of `steps_total`. On every rank.
  virtual void Started(std::uint64_t step, std::uint64_t steps_total) = 0;
  // On every rank, after each step. `steps_total` becomes `step` where the training ends early.
  virtual void StepDone(std::uint64_t step, std::uint64_t steps_total) = 0;
  // All has been done although steps are left: `why`, a sentence for the job's log and its reason.
  // On every rank, after the last StepDone; also where a finished training is started again.
  virtual void EndedEarly(const std::string& /*why*/) {}
  // On rank 0 only. Takes over the folder; may publish it later, from another thread. An error ends
  // the training.
  virtual Status SaveCheckpoint(const CheckpointNotice& notice) = 0;
  // Asked on every rank at each step, so cheap. Once any rank says yes, all ranks stop after the
  // same step, with a checkpoint of it.
  virtual bool StopRequested() = 0;
};

}  // namespace muster
