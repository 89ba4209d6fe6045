// The half of the coordinator that agents talk to: reports, records, checkpoints, rendezvous.
#include <algorithm>
#include <map>
#include <set>

#include "base/version.h"
#include "coordinator/busy.h"
#include "coordinator/clock.h"
#include "coordinator/coordinator.h"

namespace muster::coordinator {
namespace {

constexpr std::uint32_t kSlotsMax = 4096;
constexpr Millis kMeasuredMaxMs = 86'400'000;

RankReport FromProto(const v1::RankReport& report) {
  RankReport rank;
  rank.id = {{report.job_id(), report.attempt()}, report.rank()};
  rank.phase = report.phase() == v1::RANK_PHASE_EXITED    ? RankPhase::kExited
               : report.phase() == v1::RANK_PHASE_RUNNING ? RankPhase::kRunning
                                                          : RankPhase::kStarting;
  rank.pid = report.pid();
  rank.exit = report.exit_kind() == v1::EXIT_KIND_SUCCESS       ? ExitKind::kSuccess
              : report.exit_kind() == v1::EXIT_KIND_OWN_FAILURE ? ExitKind::kOwnFailure
              : report.exit_kind() == v1::EXIT_KIND_STOPPED     ? ExitKind::kStopped
                                                                : ExitKind::kInfrastructure;
  rank.exit_reason = report.exit_reason();
  rank.exit_step = report.exit_step();
  rank.released = report.released();
  rank.drained = report.drained();
  if (report.has_exit_code()) rank.exit_code = report.exit_code();
  rank.save_ms = std::clamp<Millis>(report.save_ms(), 0, kMeasuredMaxMs);
  rank.step_ms = std::clamp<Millis>(report.step_ms(), 0, kMeasuredMaxMs);
  return rank;
}

WorkerReport FromProto(const v1::AgentReport& report) {
  WorkerReport worker;
  worker.worker = report.worker();
  worker.incarnation = report.incarnation();
  worker.slots = report.slots();
  worker.numerics_class = report.numerics_class();
  worker.memory_mib_per_slot = report.memory_mib_per_slot();
  worker.leaving = report.leaving();
  worker.obeyed = {report.obeyed().epoch(), report.obeyed().n()};
  for (const v1::RankReport& rank : report.ranks()) worker.ranks.push_back(FromProto(rank));
  return worker;
}

}  // namespace

void Coordinator::OnReport(const std::shared_ptr<AgentLink>& link, v1::AgentReport report) {
  static_cast<void>(
      loop_.Post([this, link, report = std::move(report)] { HandleReport(link, report); }));
}

void Coordinator::HandleReport(const std::shared_ptr<AgentLink>& link,
                               const v1::AgentReport& report) {
  const Millis now = SteadyMillis();
  if (report.worker().empty() || report.worker().size() > 128 || report.slots() > kSlotsMax) {
    return link->Close(InvalidArgument("a report without a worker's name, or with too many slots"));
  }
  if (report.version() != kVersion) {
    return link->Close(FailedPrecondition("worker " + report.worker() + " is muster " +
                                          report.version() + ", the coordinator is " + kVersion +
                                          "; install the same version on both"));
  }
  if (!scheduler_.MayRegister(report.worker(), report.incarnation(), now)) {
    return link->Close(
        Status(StatusCode::kAlreadyExists, "another agent is connected as " + report.worker()));
  }
  Register(link, report);
  scheduler_.OnReport(FromProto(report), now);
  for (const v1::RankReport& rank : report.ranks()) {
    Job* job = jobs_.Find(rank.job_id());
    if (job == nullptr || rank.rank() != 0 || rank.attempt() != job->journaled.restored.attempt ||
        !CheckPlaced(report.worker(), {rank.job_id(), rank.attempt()}, 0).ok()) {
      continue;
    }
    if (rank.steps_total() > 0) job->steps_total = rank.steps_total();
    job->steps_done = std::max(job->steps_done, rank.steps_done());
  }
  // Each report is answered, which also tells the agent that it is heard.
  to_answer_.insert(report.worker());
}

void Coordinator::Register(const std::shared_ptr<AgentLink>& link, const v1::AgentReport& report) {
  Worker& worker = workers_[report.worker()];
  if (worker.link != link) {
    if (worker.link != nullptr) worker.link->Close(Aborted("replaced by a newer connection"));
    worker.link = link;
  }
  if (worker.last.slots() != report.slots()) {
    Must(journal_->SetWorker({report.worker(), report.slots()}));
  }
  worker.last = report;
  worker.last.clear_ranks();
}

void Coordinator::OnLinkClosed(const std::shared_ptr<AgentLink>& link) {
  static_cast<void>(loop_.Post([this, link] {
    for (auto& [name, worker] : workers_) {
      if (worker.link != link) continue;
      worker.link = nullptr;
      scheduler_.OnDisconnect(name, worker.last.incarnation());
    }
  }));
}

void Coordinator::AnswerWorkers() {
  std::set<WorkerName> names = scheduler_.TakeChanged();
  names.merge(std::exchange(to_answer_, {}));
  for (const WorkerName& name : names) {
    const auto found = workers_.find(name);
    if (found == workers_.end() || found->second.link == nullptr) continue;
    const Answer answer = scheduler_.AnswerFor(name);
    if (answer.incarnation != found->second.last.incarnation()) continue;
    v1::DesiredState state;
    state.mutable_number()->set_epoch(answer.number.epoch);
    state.mutable_number()->set_n(answer.number.n);
    state.set_cluster_id(journal_->cluster_id());
    for (const RankId& id : answer.desired) {
      v1::DesiredRank& rank = *state.add_ranks() = DescribeRank(id);
      Job& job = *jobs_.Find(id.attempt.job);
      if (IsRolloutWorker(job, id.rank)) {
        NoteRolloutWorker(job, id, name);
        continue;
      }
      DescribeStart(job, rank);
      rank.set_stop_requested(answer.stopping.contains(id.attempt));
    }
    state.set_answers(found->second.last.sequence());
    for (const JobId job : commands_) state.add_live_jobs(job);
    found->second.link->Send(std::move(state));
  }
}

v1::DesiredRank Coordinator::DescribeRank(const RankId& id) {
  const Job& job = *jobs_.Find(id.attempt.job);
  v1::DesiredRank rank;
  rank.set_job_id(id.attempt.job);
  rank.set_attempt(id.attempt.number);
  rank.set_rank(id.rank);
  *rank.mutable_spec() = job.spec;
  const std::vector<WorkerName>& placement = job.journaled.restored.placement;
  for (std::uint32_t member = 0; member < placement.size(); ++member) {
    v1::Member& entry = *rank.add_members();
    entry.set_rank(member);
    entry.set_worker(placement[member]);
    const auto found = workers_.find(placement[member]);
    if (found == workers_.end()) continue;
    entry.set_host_id(found->second.last.host_id());
    entry.set_address(found->second.last.address());
  }
  return rank;
}

void Coordinator::DescribeStart(const Job& job, v1::DesiredRank& rank) const {
  // Where the attempt began, not where the newest checkpoint is: all its ranks must agree.
  const std::uint64_t resume_step =
      job.journaled.attempts.empty() ? 0 : job.journaled.attempts.back().resume_step;
  for (const JournaledCheckpoint& checkpoint : job.journaled.checkpoints) {
    if (resume_step == 0 || checkpoint.step != resume_step) continue;
    rank.set_resume_step(checkpoint.step);
    rank.set_resume_sha256(checkpoint.sha256);
  }
}

bool Coordinator::IsRolloutWorker(const Job& job, std::uint32_t rank) {
  return rank >= job.spec.resources().ranks();
}

void Coordinator::NoteRolloutWorker(Job& job, const RankId& id, const WorkerName& worker) {
  constexpr std::size_t kNotedMax = 4096;
  job.rollout_workers[{id.attempt.number, id.rank}] = worker;
  if (job.rollout_workers.size() > kNotedMax) {
    job.rollout_workers.erase(job.rollout_workers.begin());
  }
}

Status Coordinator::CheckRolloutWorker(const WorkerName& worker, const Job& job, const RankId& id) {
  if (job.spec.resources().rollout_workers() == 0) return InvalidArgument("rank: too large");
  if (worker.empty()) return {};
  const auto found = job.rollout_workers.find({id.attempt.number, id.rank});
  const std::string which = "rollout worker " + std::to_string(id.rank) + " of job " +
                            std::to_string(id.attempt.job) + ", attempt " +
                            std::to_string(id.attempt.number);
  // Not a denial: its agent would keep what it wrote, and all that it has to send after that.
  if (found == job.rollout_workers.end()) {
    return NotFound("no " + which + " is known since the coordinator was started");
  }
  if (found->second == worker) return {};
  return {StatusCode::kPermissionDenied, "worker " + worker + " has not been given " + which};
}

bool Coordinator::HasRolloutWorker(const WorkerName& worker, const AttemptId& attempt) {
  const Job* job = jobs_.Find(attempt.job);
  if (job == nullptr) return false;
  const auto& noted = job->rollout_workers;
  for (auto entry = noted.lower_bound({attempt.number, 0});
       entry != noted.end() && entry->first.first == attempt.number; ++entry) {
    if (entry->second == worker) return true;
  }
  return false;
}

Status Coordinator::CheckPlaced(const WorkerName& worker, const AttemptId& attempt,
                                std::optional<std::uint32_t> rank) {
  if (worker.empty()) return {};
  if (const Job* job = jobs_.Find(attempt.job); job != nullptr) {
    for (const JournaledAttempt& entry : job->journaled.attempts) {
      if (entry.number != attempt.number) continue;
      for (std::uint32_t member = 0; member < entry.placement.size(); ++member) {
        if (entry.placement[member] == worker && member == rank.value_or(member)) return {};
      }
    }
  }
  return {StatusCode::kPermissionDenied,
          "worker " + worker + " has not been given " +
              (rank ? "rank " + std::to_string(*rank) : std::string("a rank")) + " of job " +
              std::to_string(attempt.job) + ", attempt " + std::to_string(attempt.number)};
}

void Coordinator::Append(const WorkerName& worker, v1::AppendRequest request,
                         Done<Result<std::uint64_t>> done) {
  const bool posted = loop_.Post([this, worker, request = std::move(request), done] {
    Result<std::uint64_t> stored = HandleAppend(worker, request);
    Reply([done, stored] { done(stored); });
  });
  if (!posted) done(Busy());
}

Result<std::uint64_t> Coordinator::HandleAppend(const WorkerName& worker,
                                                const v1::AppendRequest& request) {
  Job* job = jobs_.Find(request.job_id());
  if (job == nullptr) return NotFound("no job " + std::to_string(request.job_id()));
  const std::uint32_t newest = job->journaled.restored.attempt;
  if (request.attempt() == 0 || request.attempt() > newest) {
    return NotFound("job " + std::to_string(request.job_id()) + " has no attempt " +
                    std::to_string(request.attempt()));
  }
  const AttemptId attempt{request.job_id(), request.attempt()};
  const bool helps = IsRolloutWorker(*job, request.rank());
  MUSTER_RETURN_IF_ERROR(helps ? CheckRolloutWorker(worker, *job, {attempt, request.rank()})
                               : CheckPlaced(worker, attempt, request.rank()));
  const bool metrics = request.stream() == v1::STREAM_METRICS;
  // What comes and goes measures nothing of the job: counts as stored.
  if (metrics && helps) return request.offset() + request.data().size();
  // What an attempt wrote before its replacement started stays valid up to the checkpoint from
  // which that one resumed, and that part came before the checkpoint was accepted.
  if (metrics && request.attempt() != newest) {
    return Aborted("metrics of a replaced attempt: job " + std::to_string(request.job_id()) +
                   " is at attempt " + std::to_string(newest));
  }
  MUSTER_ASSIGN_OR_RETURN(const std::shared_ptr<RecordLog> log,
                          jobs_.Records(*job, request.stream()));
  // Not stored: its agent keeps it and comes again, also with what newer attempts write.
  const Status room = CheckRoomFor(request.data().size());
  job->records_wait = room.ok() ? "" : "its records wait: " + room.message();
  MUSTER_RETURN_IF_ERROR(room);
  const std::uint64_t before = log->StoredBytes(request.attempt(), request.rank());
  MUSTER_ASSIGN_OR_RETURN(
      const std::uint64_t stored,
      log->Append(request.attempt(), request.rank(), request.offset(), request.data()));
  if (metrics && stored > before) {
    const std::string& data = request.data();
    jobs_.LoadMetrics(*job);
    JobTable::TakeMetrics(*job, std::string_view(data).substr(before - request.offset()));
  }
  return stored;
}

Result<std::unique_ptr<CheckpointUpload>> Coordinator::BeginUpload(
    const v1::CheckpointBegin& begin) {
  const Status room = CheckRoomFor(begin.bytes_total());
  NoteUpload({begin.job_id(), begin.attempt()}, room);
  MUSTER_RETURN_IF_ERROR(room);
  return store_.Begin(begin.job_id(), {begin.job_id(), begin.attempt()}, begin.step());
}

void Coordinator::Publish(const WorkerName& worker, std::shared_ptr<CheckpointUpload> upload,
                          v1::CheckpointBegin begin, Done<Status> done) {
  const bool posted =
      loop_.Post([this, worker, upload = std::move(upload), begin = std::move(begin), done] {
        Status status = HandlePublish(worker, *upload, begin);
        Reply([done, status, upload] { done(status); });
      });
  if (!posted) done(Busy());
}

Status Coordinator::HandlePublish(const WorkerName& worker, CheckpointUpload& upload,
                                  const v1::CheckpointBegin& begin) {
  const AttemptId attempt{begin.job_id(), begin.attempt()};
  Job* job = jobs_.Find(begin.job_id());
  if (job == nullptr) return NotFound("no job " + std::to_string(begin.job_id()));
  if (!scheduler_.MayCommit(attempt)) {
    return Aborted("attempt " + std::to_string(begin.attempt()) + " of job " +
                   std::to_string(begin.job_id()) + " may not commit any more");
  }
  MUSTER_RETURN_IF_ERROR(CheckPlaced(worker, attempt, 0));  // Rank 0 writes them.
  MUSTER_ASSIGN_OR_RETURN(const std::shared_ptr<RecordLog> metrics,
                          jobs_.Records(*job, v1::STREAM_METRICS));
  const std::uint64_t stored = metrics->StoredBytes(begin.attempt(), 0);
  if (stored < begin.metrics_bytes()) {
    return FailedPrecondition(
        "the metrics up to this checkpoint have not arrived: " + std::to_string(stored) + " of " +
        std::to_string(begin.metrics_bytes()) + " bytes");
  }
  auto& checkpoints = job->journaled.checkpoints;
  const auto same = std::find_if(checkpoints.begin(), checkpoints.end(),
                                 [&](const auto& entry) { return entry.step == begin.step(); });
  // A repeated upload, after an answer that was lost.
  if (same != checkpoints.end() && same->sha256 == begin.sha256()) return {};
  MUSTER_RETURN_IF_ERROR(metrics->Sync());
  MUSTER_RETURN_IF_ERROR(store_.Publish(upload, begin.job_id(), begin.step()));
  JournaledCheckpoint checkpoint{begin.step(), begin.sha256(), begin.attempt(), std::nullopt,
                                 upload.bytes()};
  if (begin.has_score()) checkpoint.score = begin.score();
  Must(journal_->AddCheckpoint(begin.job_id(), checkpoint));
  if (same != checkpoints.end()) checkpoints.erase(same);
  checkpoints.insert(std::find_if(checkpoints.begin(), checkpoints.end(),
                                  [&](const auto& entry) { return entry.step > begin.step(); }),
                     checkpoint);
  scheduler_.OnCheckpoint(attempt, begin.step());
  job->steps_done = std::max(job->steps_done, begin.step());
  // The training may have ended early, and the rank's own word of it may be lost.
  if (begin.final() && job->steps_total > 0) job->steps_total = begin.step();
  Must(journal_->RecordProgress(begin.job_id(), begin.step(), job->steps_total));
  RemoveSuperfluous(*job);
  return {};
}

// Keeps the newest `keep_last` and the best `keep_best`; of equally good ones the earlier.
void Coordinator::RemoveSuperfluous(Job& job) {
  auto& checkpoints = job.journaled.checkpoints;
  std::set<std::uint64_t> keep;
  const std::size_t last = std::max<std::size_t>(job.spec.checkpoint().keep_last(), 1);
  for (std::size_t i = checkpoints.size() - std::min(last, checkpoints.size());
       i < checkpoints.size(); ++i) {
    keep.insert(checkpoints[i].step);
  }
  std::vector<JournaledCheckpoint> best;
  for (const auto& checkpoint : checkpoints) {
    if (checkpoint.score.has_value()) best.push_back(checkpoint);
  }
  std::stable_sort(best.begin(), best.end(),
                   [](const auto& a, const auto& b) { return *a.score > *b.score; });
  best.resize(std::min<std::size_t>(best.size(), job.spec.checkpoint().keep_best()));
  for (const auto& checkpoint : best) keep.insert(checkpoint.step);
  std::erase_if(checkpoints, [&](const JournaledCheckpoint& checkpoint) {
    if (keep.count(checkpoint.step) > 0) return false;
    Must(journal_->RemoveCheckpoint(job.id(), checkpoint.step));
    // The files go once the journal has forgotten them.
    Reply([this, id = job.id(), step = checkpoint.step] { store_.Remove(id, step); });
    return true;
  });
}

Status Coordinator::CheckCurrent(const WorkerName& worker, const AttemptId& attempt) {
  if (!scheduler_.MayCommit(attempt)) return Aborted("rendezvous: the attempt has been replaced");
  return HasRolloutWorker(worker, attempt) ? Status() : CheckPlaced(worker, attempt);
}

void Coordinator::Put(const WorkerName& worker, v1::PutRequest request, Done<Status> done) {
  const bool posted = loop_.Post([this, worker, request = std::move(request), done] {
    const AttemptId attempt{request.job_id(), request.attempt()};
    if (Status current = CheckCurrent(worker, attempt); !current.ok()) return done(current);
    done(board_.Put(attempt, request.key(), request.value()));
  });
  if (!posted) done(Busy());
}

void Coordinator::Get(const WorkerName& worker, v1::GetRequest request,
                      Done<Result<std::string>> done) {
  const bool posted = loop_.Post([this, worker, request = std::move(request), done] {
    const AttemptId attempt{request.job_id(), request.attempt()};
    if (Status current = CheckCurrent(worker, attempt); !current.ok()) return done(current);
    board_.Get(attempt, request.key(), SteadyMillis() + request.timeout_ms(), done);
  });
  if (!posted) done(Busy());
}

}  // namespace muster::coordinator
