// SupervisedTrainer: trains a classifier, as one rank of a job.
//
// Data-parallel over lanes. Its result, the bytes of every checkpoint but for provenance.json,
// depends on the options, the data and the numerics class alone: not on the number of ranks or
// threads, on when checkpoints are taken, or on how often it was interrupted and resumed.
//
// Metrics, one row a step, written by rank 0: train/{loss,accuracy,learning_rate,gradient_norm,
// images_per_second}, validation/{loss,accuracy} where evaluated, test/{loss,accuracy} at the last
// step, time/{data,forward,backward,communication,optimizer,evaluation,checkpoint,step}_ms.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "collectives/group.h"
#include "tensor/thread_pool.h"
#include "trainer/supervised/supervised_options.h"
#include "trainer/supervised/training_state.h"
#include "trainer/trainer_host.h"
#include "trainer/training_run.h"

namespace muster {

struct SupervisedResult {
  std::uint64_t step = 0;                // Steps done.
  std::uint64_t steps_total = 0;         // That the job asks for.
  bool ended_early = false;              // By its early_stop.
  bool stopped = false;                  // The host asked for it.
  std::optional<Evaluation> validation;  // The latest.
  std::optional<Evaluation> test;        // After the last step.
};

// Trains from the beginning or from the checkpoint to the end, or until the host asks to stop.
// Collective over `group`; `pool` runs this rank's threads. Errors name the step or the file: a
// loss or a gradient that is not finite (kFailedPrecondition, on all ranks at the same step), no
// memory for a step (kFailedPrecondition), bad data, another recipe than the checkpoint's, a lost
// rank, a full disk (kResourceExhausted).
Result<SupervisedResult> TrainSupervised(const SupervisedOptions& options, const TrainingRun& run,
                                         Group& group, ThreadPool& pool, TrainerHost& host);

}  // namespace muster
