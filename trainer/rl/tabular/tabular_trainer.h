// TabularTrainer: learns by tables, as one rank of a job.
//
// A job has `runs` independent learners; run r's environment begins from seed + r. A lane carries
// runs / lanes of them, and a rank its lanes' runs, so nothing that a run does depends on lanes,
// ranks or the other runs: the result is a function of recipe and seed alone. What learns from one
// stream of experience is never spread over ranks; what knows no chance has one run.
//
// One step is, in each run:
//   value_iteration            one sweep over all states; ends when it changes nothing any more
//   policy_iteration           one policy evaluated and improved; ends when it stays the same
//   q_learning, sarsa, ...     episodes_per_step whole episodes
//   bandit                     one pull
//
// Metrics, one row a step, written by rank 0, means over runs: charts/{global_step, SPS,
// episodic_return, episodic_discounted_return, episodic_length, epsilon}, losses/td_error (the mean
// of |delta|) of what plays episodes; bandit/{reward, best_arm, regret}; train/{max_change,
// start_value} or train/{changed_states, start_value} of what uses the model; evaluation/{return,
// discounted_return, length} where evaluated; time/{learn, communication, evaluation, checkpoint,
// step}_ms.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "collectives/group.h"
#include "tensor/thread_pool.h"
#include "trainer/rl/tabular/tabular_checkpoint.h"
#include "trainer/rl/tabular/tabular_options.h"
#include "trainer/trainer_host.h"
#include "trainer/training_run.h"

namespace muster::rl {

struct TabularResult {
  std::uint64_t step = 0;                       // Steps done.
  bool ended_early = false;                     // Nothing was left to learn.
  bool stopped = false;                         // The host asked for it.
  std::optional<TabularEvaluation> evaluation;  // The latest.
};

// Learns from the beginning or from the checkpoint to the end, or until the host asks to stop.
// Collective over `group`; `pool` is this rank's, one thread of which is used. Errors name the
// field, the step or the file.
Result<TabularResult> TrainTabular(const TabularOptions& options, const TrainingRun& run,
                                   Group& group, ThreadPool& pool, TrainerHost& host);

}  // namespace muster::rl
