// Everything the cluster can run: maps a job's recipe to what runs it. The one place that knows
// both the job file and the trainers.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "collectives/group.h"
#include "collectives/rendezvous.h"
#include "muster/v1/agent.pb.h"
#include "muster/v1/job.pb.h"
#include "trainer/rl/ppo_options.h"
#include "trainer/rl/tabular/tabular_options.h"
#include "trainer/supervised/supervised_options.h"
#include "trainer/trainer_host.h"

namespace muster::rank {

// Runs the recipe from the beginning, or from the assignment's checkpoint, to its end. Collective
// over `group`, whose ranks all have the same spec; rollout workers find them by `rendezvous`.
// Errors name the step or the file.
Status RunRecipe(const v1::RankAssignment& assignment, Group& group, Rendezvous& rendezvous,
                 TrainerHost& host);

// What a rollout worker of the attempt does: collects for its ranks until the process is ended.
// Errors are the environment's or the policy's own.
Status RunRolloutWorker(const v1::RankAssignment& assignment, Rendezvous& rendezvous,
                        TrainerHost& host);

// What is told before a job runs.
struct RecipePlan {
  std::uint64_t steps_total = 0;
  std::uint64_t parameters = 0;  // Of the model; 0 without one.
};

// Reads and checks what the recipe names (files, shapes, sizes) for a spec that is filled in.
// kInvalidArgument and others name the field or the file. `cache_directory`: of inflated data.
Result<RecipePlan> PlanRecipe(const v1::JobSpec& spec, const std::string& cache_directory);

// `spec.supervised()` in the trainer's terms. kInvalidArgument when no model is given.
Result<SupervisedOptions> SupervisedOptionsOf(const v1::JobSpec& spec,
                                              const std::string& cache_directory);

// `spec.ppo()` or `spec.vpg()` in the trainer's terms.
rl::PpoOptions PpoOptionsOf(const v1::JobSpec& spec);

Activation ActivationOf(v1::Activation activation);

// Whether a recipe of environments records an episode. Pictures of what is built in cost little;
// those of a plug-in may cost anything, or crash it, and have to be asked for.
template <class Recipe>
bool RecordsEpisode(const Recipe& recipe) {
  return recipe.evaluation().has_record_episode() ? recipe.evaluation().record_episode()
                                                  : !recipe.has_environment_library();
}

// `spec.tabular()` in the trainer's terms, for a spec that is filled in.
rl::TabularOptions TabularOptionsOf(const v1::JobSpec& spec);

}  // namespace muster::rank
