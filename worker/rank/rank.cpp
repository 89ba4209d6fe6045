#include "worker/rank/rank.h"

#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <utility>

#include "base/file.h"
#include "collectives/gloo/gloo_group.h"
#include "collectives/shm/shm_group.h"
#include "wire/attempt_name.h"
#include "worker/rank/agent_client.h"
#include "worker/rank/command_recipe.h"
#include "worker/rank/exit_report.h"
#include "worker/rank/lifeline.h"
#include "worker/rank/program.h"
#include "worker/rank/publish_queue.h"
#include "worker/rank/recipes.h"

namespace muster::rank {
namespace {

// What a training loop sees of this process.
class RankHost final : public TrainerHost {
 public:
  RankHost(const v1::RankAssignment& assignment, AgentClient& agent, PublishQueue& queue)
      : assignment_(assignment), agent_(agent), queue_(queue) {}

  void Started(std::uint64_t step, std::uint64_t steps_total) override {
    step_ = step;
    steps_total_ = steps_total;
    const v1::DesiredRank& desired = assignment_.desired();
    std::printf("muster: attempt %u, rank %u of %d, %u %s, %s: goes on from step %llu of %llu\n",
                desired.attempt(), desired.rank(), desired.members_size(), assignment_.threads(),
                assignment_.threads() == 1 ? "thread" : "threads", assignment_.transport().c_str(),
                static_cast<unsigned long long>(step),
                static_cast<unsigned long long>(steps_total));
    cpu_set_t cores;
    CPU_ZERO(&cores);
    if (::sched_getaffinity(0, sizeof(cores), &cores) == 0 &&
        assignment_.threads() > static_cast<unsigned>(CPU_COUNT(&cores))) {
      std::printf("muster: warning: %u threads share %d cores of this slot\n",
                  assignment_.threads(), CPU_COUNT(&cores));
    }
    agent_.SetProgress(v1::RANK_PHASE_STARTING, step, steps_total);
  }
  void StepDone(std::uint64_t step, std::uint64_t steps_total) override {
    step_ = step;
    steps_total_ = steps_total;
    agent_.SetProgress(v1::RANK_PHASE_RUNNING, step, steps_total);
  }
  Status SaveCheckpoint(const CheckpointNotice& notice) override {
    v1::PublishRequest request;
    request.set_step(notice.step);
    request.set_directory(notice.directory);
    request.set_sha256(notice.sha256);
    request.set_metrics_bytes(notice.metrics_bytes);
    request.set_write_ms(notice.write_ms);
    std::string score;
    if (notice.score) {
      request.set_score(*notice.score);
      const bool supervised = assignment_.desired().spec().has_supervised();
      score = (supervised ? ", validation accuracy " : ", return of the evaluation ") +
              std::to_string(*notice.score);
    }
    std::printf("muster: step %llu: checkpoint %s%s\n",
                static_cast<unsigned long long>(notice.step), notice.sha256.c_str(), score.c_str());
    request.set_final(notice.last);
    return queue_.Add(request);
  }
  void EndedEarly(const std::string& why) override {
    if (assignment_.desired().rank() == 0) std::printf("muster: %s\n", why.c_str());
    why_early_ = why;
  }
  // Otherwise a rank is stopped by ending it: what counts is in its checkpoints.
  bool StopRequested() override { return agent_.StopRequested(); }
  void Note(const std::string& sentence) override { std::printf("muster: %s\n", sentence.c_str()); }

  std::uint64_t step() const { return step_; }
  // The loop has ended before its last step.
  bool stopped() const { return step_ < steps_total_; }
  const std::string& why_early() const { return why_early_; }

 private:
  const v1::RankAssignment& assignment_;
  AgentClient& agent_;
  PublishQueue& queue_;
  std::uint64_t step_ = 0;
  std::uint64_t steps_total_ = 0;
  std::string why_early_;
};

Result<std::unique_ptr<Group>> Connect(const v1::RankAssignment& assignment, AgentClient& agent) {
  const v1::DesiredRank& desired = assignment.desired();
  const auto size = static_cast<std::size_t>(std::max(desired.members_size(), 1));
  if (size == 1 || assignment.transport() == "shm") {
    ShmGroupOptions options;
    options.name =
        "/" +
        wire::SharedMemoryPrefix(assignment.cluster_id(), desired.job_id(), desired.attempt()) +
        "group";
    options.generation = desired.attempt();
    options.rank = desired.rank();
    options.size = size;
    return CreateShmGroup(options);
  }
  if (assignment.transport() != "gloo") {
    return InvalidArgument("no such transport: " + assignment.transport());
  }
  GlooGroupOptions options;
  options.name = "gloo";
  options.rank = desired.rank();
  options.size = size;
  options.interface = assignment.interface();
  AgentRendezvous rendezvous(agent);
  return CreateGlooGroup(options, rendezvous);
}

Status Train(const v1::RankAssignment& assignment, AgentClient& agent, PublishQueue& queue,
             RankHost& host) {
  AgentRendezvous rendezvous(agent);
  // Ranks beyond the gang's are rollout workers.
  if (static_cast<int>(assignment.desired().rank()) >=
      std::max(assignment.desired().members_size(), 1)) {
    return RunRolloutWorker(assignment, rendezvous, host);
  }
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<Group> group, Connect(assignment, agent));
  MUSTER_RETURN_IF_ERROR(RunRecipe(assignment, *group, rendezvous, host));
  return queue.WaitForAll();
}

RankEnd Run(const v1::RankAssignment& assignment, AgentClient& agent, PublishQueue& queue,
            RankHost& host) {
  if (assignment.desired().spec().has_command()) return RunCommand(assignment, agent);
  const Status status = Train(assignment, agent, queue, host);
  if (!status.ok()) return EndOf(status, host.step());
  if (!host.stopped()) return {v1::EXIT_KIND_SUCCESS, host.why_early(), host.step()};
  return {v1::EXIT_KIND_STOPPED, "stopped as it was asked to", host.step()};
}

// The end of the process: what it said is written, nothing waits for threads or destructors.
[[noreturn]] void Exit(const v1::RankAssignment& assignment, const RankEnd& end) {
  if (end.kind != v1::EXIT_KIND_SUCCESS) {
    std::fprintf(stderr, "muster: rank %u: %s\n", assignment.desired().rank(), end.reason.c_str());
  }
  std::fflush(nullptr);
  if (!WriteExitReport(assignment.directory(), end)) ::_exit(wire::kExitWithoutReport);
  ::_exit(end.kind == v1::EXIT_KIND_SUCCESS ? 0 : 1);
}

}  // namespace

void RunRank(const std::string& assignment_path) {
  WatchLifeline(kLifelineDescriptor, KillDescendants);
  v1::RankAssignment assignment;
  const Result<std::string> bytes = ReadFile(assignment_path, 64U << 20U);
  if (!bytes.ok() || !assignment.ParseFromString(*bytes)) {
    std::fprintf(stderr, "muster: %s is no rank's assignment%s\n", assignment_path.c_str(),
                 bytes.ok() ? "" : (": " + bytes.status().message()).c_str());
    ::_exit(2);
  }
  // Lines reach the log as they are printed; the log is a file.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  AgentClient agent(assignment, [&assignment](auto silence, std::uint64_t step) {
    KillDescendants();  // An agent that does not answer may not either.
    Exit(assignment,
         EndOf(Unavailable("no word from the coordinator for " +
                           std::to_string(silence.count() / 1000) + " s: the rank ends itself"),
               step));
  });
  PublishQueue queue([&agent](const v1::PublishRequest& request) {
    const auto begin = std::chrono::steady_clock::now();
    const Status published = agent.Publish(request);
    const auto took = std::chrono::ceil<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - begin + std::chrono::milliseconds(request.write_ms()));
    if (published.ok()) agent.NoteSave(took);
    return published;
  });
  RankHost host(assignment, agent, queue);
  RankEnd end;
  try {
    end = Run(assignment, agent, queue, host);
  } catch (const std::exception& error) {  // main() may: a broken contract ends the rank.
    end = EndOf(Internal(error.what()), host.step());
  }
  agent.TellNow();
  Exit(assignment, end);
}

}  // namespace muster::rank
