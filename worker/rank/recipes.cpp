#include "worker/rank/recipes.h"

#include "tensor/thread_pool.h"
#include "trainer/supervised/supervised_trainer.h"
#include "worker/rank/collective_recipe.h"

namespace muster::rank {
namespace {

Status RunSupervised(const v1::RankAssignment& assignment, Group& group, TrainerHost& host) {
  const v1::JobSpec& spec = assignment.desired().spec();
  MUSTER_ASSIGN_OR_RETURN(const SupervisedOptions options,
                          SupervisedOptionsOf(spec, assignment.cache_directory()));
  SupervisedRun run;
  const v1::Checkpoint& checkpoint = spec.checkpoint();
  run.cadence.every_steps = checkpoint.every_steps();
  run.cadence.every_seconds = checkpoint.every_seconds();
  run.cadence.on_best = checkpoint.keep_best() > 0 && options.data.validation_samples > 0;
  run.metrics_path = assignment.metrics_path();
  run.staging_directory = assignment.directory();
  run.resume_directory = assignment.resume_directory();
  ThreadPool pool(std::max<std::size_t>(assignment.threads(), 1));
  return TrainSupervised(options, run, group, pool, host).status();
}

}  // namespace

Status RunRecipe(const v1::RankAssignment& assignment, Group& group, TrainerHost& host) {
  const v1::JobSpec& spec = assignment.desired().spec();
  switch (spec.recipe_case()) {
    case v1::JobSpec::kSupervised:
      return RunSupervised(assignment, group, host);
    case v1::JobSpec::kCollective: {
      CollectiveOptions options;
      options.steps = spec.collective().steps();
      options.bytes = spec.collective().bytes();
      options.metrics_path = assignment.metrics_path();
      return RunCollective(options, group, host);
    }
    default:  // A [command] has no group and no steps: RunCommand.
      break;
  }
  return InvalidArgument("the job has no recipe that this version knows");
}

Result<RecipePlan> PlanRecipe(const v1::JobSpec& spec, const std::string& cache_directory) {
  RecipePlan plan;
  switch (spec.recipe_case()) {
    case v1::JobSpec::kSupervised: {
      MUSTER_ASSIGN_OR_RETURN(const SupervisedOptions options,
                              SupervisedOptionsOf(spec, cache_directory));
      MUSTER_ASSIGN_OR_RETURN(const SupervisedPlan supervised,
                              PlanSupervised(options, spec.resources().ranks()));
      plan.steps_total = supervised.steps_total;
      plan.parameters = supervised.parameters;
      return plan;
    }
    case v1::JobSpec::kCollective:
      plan.steps_total = spec.collective().steps();
      return plan;
    case v1::JobSpec::kCommand:
      return plan;  // Its program is on the workers.
    case v1::JobSpec::RECIPE_NOT_SET:
      break;
  }
  return InvalidArgument("the job has no recipe that this version knows");
}

}  // namespace muster::rank
