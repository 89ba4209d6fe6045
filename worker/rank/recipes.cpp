#include "worker/rank/recipes.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/sha256.h"
#include "envs/encode.h"
#include "envs/plugin/crash_report.h"
#include "envs/plugin/plugin_env.h"
#include "tensor/thread_pool.h"
#include "trainer/rl/ppo_trainer.h"
#include "trainer/rl/tabular/tabular_trainer.h"
#include "trainer/supervised/supervised_trainer.h"
#include "wire/policy_rules.h"
#include "worker/rank/collective_recipe.h"
#include "worker/rank/rollout_server.h"
#include "worker/rank/rollout_worker.h"

namespace muster::rank {
namespace {

// `scored`: whether the recipe evaluates what it trains.
TrainingRun TrainingRunOf(const v1::RankAssignment& assignment, bool scored) {
  TrainingRun run;
  const v1::Checkpoint& checkpoint = assignment.desired().spec().checkpoint();
  run.cadence.every_steps = checkpoint.every_steps();
  run.cadence.every_seconds = checkpoint.every_seconds();
  run.cadence.on_best = checkpoint.keep_best() > 0 && scored;
  run.metrics_path = assignment.metrics_path();
  run.staging_directory = assignment.directory();
  run.resume_directory = assignment.resume_directory();
  run.memory_bytes = assignment.memory_mib() << 20U;
  run.not_repeatable = wire::WhyNotRepeatable(assignment.desired().spec());
  return run;
}

Status RunSupervised(const v1::RankAssignment& assignment, Group& group, TrainerHost& host) {
  const v1::JobSpec& spec = assignment.desired().spec();
  MUSTER_ASSIGN_OR_RETURN(const SupervisedOptions options,
                          SupervisedOptionsOf(spec, assignment.cache_directory()));
  const TrainingRun run = TrainingRunOf(assignment, options.data.validation_samples > 0);
  ThreadPool pool(std::max<std::size_t>(assignment.threads(), 1));
  return TrainSupervised(options, run, group, pool, host).status();
}

// What a plug-in's checkpoints say of it; empty for what is built in.
Result<std::string> LibraryDigest(const std::string& environment) {
  return envs::IsPlugin(environment) ? Sha256OfFile(environment) : std::string();
}

// Of one call into a plug-in: an environment that hangs ends the rank with its name and action.
constexpr std::chrono::seconds kPluginCallLimit{30};

// Of an environment that is a plug-in; otherwise nothing.
class PluginGuard {
 public:
  explicit PluginGuard(const std::string& environment) {
    if (!envs::IsPlugin(environment)) return;
    envs::ReportPluginCrashes();
    watchdog_.emplace(kPluginCallLimit);
  }

 private:
  std::optional<envs::PluginWatchdog> watchdog_;
};

std::string HostOf(const v1::RankAssignment& assignment) {
  const v1::DesiredRank& desired = assignment.desired();
  const int rank = static_cast<int>(desired.rank());
  if (rank >= desired.members_size() || desired.members(rank).address().empty()) {
    return "127.0.0.1";
  }
  return desired.members(rank).address();
}

// Keeps a rank's invitation in the rendezvous, which a coordinator that was restarted has lost.
class Inviter {
 public:
  Inviter(Rendezvous& rendezvous, std::uint32_t rank, std::string invitation)
      : thread_([this, &rendezvous, rank, invitation = std::move(invitation)] {
          constexpr std::chrono::seconds kEvery{2};
          std::unique_lock lock(mutex_);
          do {  // What cannot be put now is put the next time.
            lock.unlock();
            (void)rendezvous.Put(InvitationKey(rank), invitation);
            lock.lock();
          } while (!wake_.wait_for(lock, kEvery, [this] { return ending_; }));
        }) {}
  ~Inviter() {
    {
      const std::scoped_lock lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;  // Under the mutex.
  std::thread thread_;
};

Status RunPpo(const v1::RankAssignment& assignment, Group& group, Rendezvous& rendezvous,
              TrainerHost& host) {
  const v1::DesiredRank& desired = assignment.desired();
  rl::PpoOptions options = PpoOptionsOf(desired.spec());
  MUSTER_ASSIGN_OR_RETURN(options.environment.plugin_sha256,
                          LibraryDigest(options.environment.name));
  const TrainingRun run = TrainingRunOf(assignment, options.evaluation.episodes > 0);
  ThreadPool pool(std::max<std::size_t>(assignment.threads(), 1));
  const PluginGuard guard(options.environment.name);
  std::unique_ptr<RolloutServer> server;
  std::optional<Inviter> inviter;
  if (desired.spec().resources().rollout_workers() > 0) {
    MUSTER_ASSIGN_OR_RETURN(
        server,
        RolloutServer::Start({.host = HostOf(assignment),
                              .lanes = options.lanes / group.size(),
                              .asynchronous = options.asynchronous,
                              .note = [&host](const std::string& text) { host.Note(text); }}));
    inviter.emplace(rendezvous, desired.rank(), server->Invitation());
  }
  return rl::TrainPpo(options, run, group, pool, host, server.get()).status();
}

Status RunTabular(const v1::RankAssignment& assignment, Group& group, TrainerHost& host) {
  rl::TabularOptions options = TabularOptionsOf(assignment.desired().spec());
  MUSTER_ASSIGN_OR_RETURN(options.plugin_sha256, LibraryDigest(options.environment));
  const PluginGuard guard(options.environment);
  const TrainingRun run = TrainingRunOf(assignment, options.evaluation_episodes > 0);
  ThreadPool pool(1);  // One run after the other: they are too short to share.
  return rl::TrainTabular(options, run, group, pool, host).status();
}

// Refuses what takes more than a rank may have, or than there is here.
Status CheckLeast(const v1::Resources& resources, std::uint64_t bytes, const std::string& what) {
  const std::uint64_t least_mib = (bytes >> 20U) + 1;
  struct sysinfo machine {};
  const bool known = ::sysinfo(&machine) == 0;
  const std::uint64_t machine_mib =
      known ? static_cast<std::uint64_t>(machine.totalram) * machine.mem_unit >> 20U : UINT64_MAX;
  const std::uint64_t asked_mib = resources.memory_mib_per_rank();
  const std::string takes = what + " take " + std::to_string(least_mib) + " MiB";
  if (asked_mib > 0 && least_mib > asked_mib) {
    return InvalidArgument("resources.memory_mib_per_rank: " + std::to_string(asked_mib) +
                           " MiB, but " + takes);
  }
  if (least_mib <= machine_mib) return {};
  return InvalidArgument(takes + ", and this machine has " + std::to_string(machine_mib));
}

// What a rank holds at the least: parameters, gradients and moments, in f32. A model that cannot
// fit is refused before anything starts; activations come on top.
Status CheckMemory(const v1::Resources& resources, const SupervisedOptions& options,
                   std::uint64_t parameters) {
  const nn::OptimizerOptions& optimizer = options.optimizer;
  const std::uint64_t velocity = optimizer.momentum == 0.0F ? 0 : 1;
  std::uint64_t moments = 2;
  if (optimizer.kind == nn::OptimizerKind::kSgd) moments = velocity;
  if (optimizer.kind == nn::OptimizerKind::kRmsProp) moments = 1 + velocity;
  // What is sharded is held in parts.
  const std::uint64_t ranks = std::max<std::uint64_t>(resources.ranks(), 1);
  const std::uint64_t moments_held = parameters * moments / (options.zero_stage >= 1 ? ranks : 1);
  const std::uint64_t gradients_held = parameters / (options.zero_stage >= 2 ? ranks : 1);
  return CheckLeast(resources, (parameters + gradients_held + moments_held) * sizeof(float),
                    "supervised.model: its parameters, gradients and moments");
}

// The same of a learner, whose rollouts can be larger than its networks.
Status CheckMemory(const v1::JobSpec& spec, const rl::PpoOptions& options,
                   const rl::PpoPlan& plan) {
  const v1::Resources& resources = spec.resources();
  constexpr std::uint64_t kCopies = 4;       // Values, gradients and Adam's two moments.
  constexpr std::uint64_t kStepNumbers = 6;  // Log probability, reward, value, advantage, ...
  const std::uint64_t ranks = std::max<std::uint64_t>(resources.ranks(), 1);
  const std::uint64_t steps = options.batch_size() / ranks;
  const std::uint64_t width = envs::FeaturesOf(plan.spec.observation) +
                              plan.spec.action.elements() + kStepNumbers + options.epochs;
  return CheckLeast(resources, (plan.parameters * kCopies + steps * width) * sizeof(float),
                    std::string(spec.has_vpg() ? "vpg" : "ppo") +
                        ": its policy (policy.hidden) and rollouts (envs, rollout_steps)");
}

}  // namespace

Status RunRecipe(const v1::RankAssignment& assignment, Group& group, Rendezvous& rendezvous,
                 TrainerHost& host) {
  const v1::JobSpec& spec = assignment.desired().spec();
  switch (spec.recipe_case()) {
    case v1::JobSpec::kSupervised:
      return RunSupervised(assignment, group, host);
    case v1::JobSpec::kPpo:
    case v1::JobSpec::kVpg:
      return RunPpo(assignment, group, rendezvous, host);
    case v1::JobSpec::kCollective: {
      CollectiveOptions options;
      options.steps = spec.collective().steps();
      options.bytes = spec.collective().bytes();
      options.metrics_path = assignment.metrics_path();
      return RunCollective(options, group, host);
    }
    case v1::JobSpec::kTabular:
      return RunTabular(assignment, group, host);
    default:  // A [command] has no group and no steps: RunCommand.
      break;
  }
  return InvalidArgument("the job has no recipe that this version knows");
}

Status RunRolloutWorker(const v1::RankAssignment& assignment, Rendezvous& rendezvous,
                        TrainerHost& host) {
  const v1::DesiredRank& desired = assignment.desired();
  if (!wire::CollectsRollouts(desired.spec())) {
    return InvalidArgument("only [ppo] and [vpg] have rollout workers");
  }
  const rl::PpoOptions options = PpoOptionsOf(desired.spec());
  const PluginGuard guard(options.environment.name);
  RolloutWorkerOptions worker;
  char name[256] = {};
  worker.worker = ::gethostname(name, sizeof(name) - 1) == 0 ? name : "?";
  worker.rank = desired.rank();
  worker.learners = static_cast<std::size_t>(desired.members_size());
  worker.threads = std::max<std::size_t>(assignment.threads(), 1);
  worker.done = [&host](std::uint64_t tasks_done) { host.StepDone(tasks_done, 0); };
  const std::atomic<bool> stop = false;
  return CollectRollouts(options, worker, rendezvous, stop);
}

Result<RecipePlan> PlanRecipe(const v1::JobSpec& spec, const std::string& cache_directory) {
  RecipePlan plan;
  switch (spec.recipe_case()) {
    case v1::JobSpec::kSupervised: {
      MUSTER_ASSIGN_OR_RETURN(const SupervisedOptions options,
                              SupervisedOptionsOf(spec, cache_directory));
      MUSTER_ASSIGN_OR_RETURN(const SupervisedPlan supervised,
                              PlanSupervised(options, spec.resources().ranks()));
      MUSTER_RETURN_IF_ERROR(CheckMemory(spec.resources(), options, supervised.parameters));
      plan.steps_total = supervised.steps_total;
      plan.parameters = supervised.parameters;
      return plan;
    }
    case v1::JobSpec::kPpo:
    case v1::JobSpec::kVpg: {
      const rl::PpoOptions options = PpoOptionsOf(spec);
      const PluginGuard guard(options.environment.name);
      MUSTER_ASSIGN_OR_RETURN(const rl::PpoPlan ppo,
                              rl::PlanPpo(options, spec.resources().ranks()));
      MUSTER_RETURN_IF_ERROR(CheckMemory(spec, options, ppo));
      plan.steps_total = ppo.updates_total;
      plan.parameters = ppo.parameters;
      return plan;
    }
    case v1::JobSpec::kCollective:
      plan.steps_total = spec.collective().steps();
      return plan;
    case v1::JobSpec::kTabular: {
      const rl::TabularOptions options = TabularOptionsOf(spec);
      const PluginGuard guard(options.environment);
      MUSTER_ASSIGN_OR_RETURN(const rl::TabularPlan tabular,
                              rl::PlanTabular(options, spec.resources().ranks()));
      plan.steps_total = tabular.steps_total;
      plan.parameters = tabular.table_elements;
      return plan;
    }
    case v1::JobSpec::kCommand:
      return plan;  // Its program is on the workers.
    case v1::JobSpec::RECIPE_NOT_SET:
      break;
  }
  return InvalidArgument("the job has no recipe that this version knows");
}

}  // namespace muster::rank
