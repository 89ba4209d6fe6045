// PpoTrainer: trains a policy in an environment, as one rank of a job. One step of the job is an
// update: a rollout of all environments, and what the options' algorithm (learner.h) makes of it.
//
// Data-parallel over lanes, which carry environments. Its result, the bytes of every checkpoint but
// for provenance.json, depends on the options and the numerics class alone: not on the number of
// ranks or threads, on when checkpoints are taken, or on how often it was interrupted and resumed.
// Of an asynchronous job it depends on when rollouts come, too.
//
// Metrics, one row an update, written by rank 0, under CleanRL's names: charts/{global_step, SPS,
// learning_rate, episodic_return, episodic_length, episodes}, losses/{policy_loss, value_loss,
// entropy, old_approx_kl, approx_kl, clipfrac, explained_variance}; train/{gradient_norm,
// advantage, value, policy_lag, epochs, clip_range, rollout_workers}; evaluation/{return,
// return_std, return_min, return_max, length}; time/{rollout, update, forward, backward,
// communication, optimizer, evaluation, checkpoint, step}_ms; clipfrac, epochs and clip_range of
// PPO alone. Of an asynchronous job policy_lag is the mean of the update's rollouts, and there are
// train/{policy_lag_max, rollouts_dropped, rollouts_by_learner}: dropped for being too old since
// the update before, and collected by the ranks themselves. Where the numerics of rollouts may be
// others: train/behaviour_logprob_difference, the mean, and ..._max, absent where others brought
// nothing. Episodic numbers are means over the
// episodes that ended in the update, and absent where none did.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "collectives/group.h"
#include "tensor/thread_pool.h"
#include "trainer/rl/policy_evaluation.h"
#include "trainer/rl/ppo_options.h"
#include "trainer/rl/remote_rollouts.h"
#include "trainer/trainer_host.h"
#include "trainer/training_run.h"

namespace muster::rl {

struct PpoResult {
  std::uint64_t updates = 0;                   // Done.
  bool reached = false;                        // evaluation.stop_at_return.
  bool stopped = false;                        // The host asked for it.
  std::optional<PolicyEvaluation> evaluation;  // The latest.
  std::vector<float> values;                   // The policy's, laid out as its parameters.
};

// Trains from the beginning or from the checkpoint to the end, or until the host asks to stop.
// Collective over `group`; `pool` runs this rank's threads. `remote`: who may collect for this
// rank, null = nobody; the result is the same. Errors name the update, the environment or the file:
// what PlanPpo refuses, a loss or gradient that is not finite, observations that are no numbers,
// another recipe than the checkpoint's, a lost rank, a full disk.
Result<PpoResult> TrainPpo(const PpoOptions& options, const TrainingRun& run, Group& group,
                           ThreadPool& pool, TrainerHost& host, RemoteRollouts* remote = nullptr);

}  // namespace muster::rl
