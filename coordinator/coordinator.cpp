#include "coordinator/coordinator.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "base/file.h"
#include "base/version.h"
#include "coordinator/busy.h"
#include "coordinator/clock.h"
#include "coordinator/job_request.h"
#include "coordinator/journal_copy.h"
#include "wire/cluster_files.h"
#include "wire/job_file.h"
#include "wire/manifest.h"

namespace muster::coordinator {
namespace {

constexpr std::size_t kLiveJobsMax = 10'000;
constexpr Millis kHungAfterMs = 5'000;
constexpr std::chrono::milliseconds kTick{50};

// Keeps the last of the disk for what must be journaled.
Status CheckDisk(const std::string& directory, std::uint64_t wanted_bytes = 0) {
  const std::uint64_t free_bytes = FreeDiskBytes(directory);
  if (free_bytes >= wire::kJournalReserveBytes + wanted_bytes) return {};
  return {StatusCode::kResourceExhausted,
          "the coordinator's disk has " + MebibytesText(free_bytes) + " left, and keeps the last " +
              MebibytesText(wire::kJournalReserveBytes) + " for its journal" +
              (wanted_bytes < 1U << 20U ? "" : "; this needs " + MebibytesText(wanted_bytes)) +
              ": make room in " + directory};
}

}  // namespace

Result<std::unique_ptr<Coordinator>> Coordinator::Open(CoordinatorOptions options) {
  MUSTER_RETURN_IF_ERROR(MakeDirectories(options.directory, 0700));
  for (const char* part : {"/jobs", "/checkpoints", "/content"}) {
    MUSTER_RETURN_IF_ERROR(MakeDirectories(options.directory + part, 0700));
  }
  MUSTER_RETURN_IF_ERROR(SyncDirectory(options.directory));
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<Journal> journal,
                          Journal::Open(options.directory + "/journal.sqlite"));
  MUSTER_RETURN_IF_ERROR(ReconcileFiles(*journal, options.directory));
  std::unique_ptr<Coordinator> coordinator(new Coordinator(std::move(options), std::move(journal)));
  MUSTER_RETURN_IF_ERROR(coordinator->OpenContent());
  MUSTER_RETURN_IF_ERROR(coordinator->Restore());
  return coordinator;
}

Coordinator::Coordinator(CoordinatorOptions options, std::unique_ptr<Journal> journal)
    : options_(std::move(options)),
      journal_(std::move(journal)),
      people_(options_.people == nullptr ? std::make_shared<People>() : options_.people),
      scheduler_({.epoch = journal_->epoch(), .worker_timeout_ms = options_.worker_timeout_ms},
                 SteadyMillis()),
      jobs_(options_.directory + "/jobs"),
      store_(options_.directory + "/checkpoints") {}

Coordinator::~Coordinator() { Stop(); }

void Coordinator::Start() {
  turned_at_ = SteadyMillis();
  sweeper_.Start(std::chrono::minutes(1), [] {});
  SweepContent();
  loop_.Start(kTick, [this] { AfterBatch(); });
}

void Coordinator::AnswerWaiting() {
  static_cast<void>(loop_.Post([this] { board_.Close(); }));
}

void Coordinator::Stop() {
  loop_.Stop();
  sweeper_.Stop();
}

bool Coordinator::Healthy() const { return SteadyMillis() - turned_at_ < kHungAfterMs; }

Status Coordinator::Restore() {
  const Millis now = SteadyMillis();
  MUSTER_ASSIGN_OR_RETURN(const std::vector<JournaledWorker> workers, journal_->LoadWorkers());
  for (const JournaledWorker& worker : workers) {
    scheduler_.RestoreWorker(worker.name, worker.slots, now);
  }
  MUSTER_RETURN_IF_ERROR(RestoreDrains());
  MUSTER_ASSIGN_OR_RETURN(auto certificates, journal_->LoadWorkerCertificates());
  if (options_.certificates == nullptr) {
    options_.certificates = std::make_shared<WorkerCertificates>();
  }
  options_.certificates->Reset(std::move(certificates));
  MUSTER_RETURN_IF_ERROR(RestorePeople());
  MUSTER_ASSIGN_OR_RETURN(std::vector<JournaledJob> jobs, journal_->LoadJobs());
  for (JournaledJob& job : jobs) {
    v1::JobSpec spec;
    if (!spec.ParseFromString(job.spec)) return DataLoss("journal: a job's spec is damaged");
    const JobId id = job.restored.request.id;
    job.restored.request = RequestOf(id, spec);
    job.restored.request.owner = job.owner;
    job.restored.used_ms = UsedMillis(job, WallMillis());
    std::set<std::uint64_t> accepted;
    for (auto checkpoint = job.checkpoints.begin(); checkpoint != job.checkpoints.end();) {
      const std::string manifest = store_.Path(id, checkpoint->step) + "/" + wire::kManifestName;
      const Result<std::string> digest = Sha256OfFile(manifest);
      if (digest.ok() && *digest == checkpoint->sha256) {
        accepted.insert(checkpoint->step);
        ++checkpoint;
        continue;
      }
      std::fprintf(stderr, "coordinator: job %llu: checkpoint of step %llu is gone or damaged\n",
                   static_cast<unsigned long long>(id),
                   static_cast<unsigned long long>(checkpoint->step));
      MUSTER_RETURN_IF_ERROR(journal_->RemoveCheckpoint(id, checkpoint->step));
      checkpoint = job.checkpoints.erase(checkpoint);
    }
    store_.RemoveLeftovers(id, accepted);
    Job& added = jobs_.Add(std::move(job), std::move(spec));
    const std::vector<WorkerName>& placement = added.journaled.restored.placement;
    for (std::uint32_t rank = 0; rank < placement.size(); ++rank) {
      added.ranks.push_back(DescribePlace(added, rank, placement[rank]));
    }
    if (!added.ended()) scheduler_.Restore(added.journaled.restored, now);
    if (!added.ended() && added.spec.has_command() && added.journaled.restored.attempt > 0) {
      commands_.insert(id);
    }
  }
  return journal_->Commit();
}

void Coordinator::Fatal(const Status& status) {
  std::fprintf(stderr, "coordinator: %s; ending, since what is in memory is not in the journal\n",
               status.message().c_str());
  std::_Exit(1);
}

void Coordinator::Must(const Status& status) {
  if (!status.ok()) Fatal(status);
}

void Coordinator::AfterBatch() {
  const Millis now = SteadyMillis();
  // Stopped, swapped out, or busy in one event: reports lie unread, and say nothing of workers.
  constexpr Millis kPauseMs = 500;
  if (const Millis pause = now - turned_at_; pause > kPauseMs) scheduler_.OnPause(pause);
  turned_at_ = now;
  board_.Tick(now);
  scheduler_.Tick(now);
  for (const Decision& decision : scheduler_.TakeDecisions()) Apply(decision);
  if (journal_->dirty()) {
    const auto begin = std::chrono::steady_clock::now();
    Must(journal_->Commit());
    metrics_.ObserveJournalWrite(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  // Only now is everything that answers tell durable.
  for (const auto& reply : std::exchange(replies_, {})) reply();
  AnswerWorkers();
  TellWatchers();
  UpdateGauges();
}

void Coordinator::Apply(const Decision& decision) {
  Job* job = jobs_.Find(decision.attempt.job);
  MUSTER_CHECK(job != nullptr, "the scheduler decides about known jobs only");
  const std::int64_t now = WallMillis();
  RestoredJob& restored = job->journaled.restored;
  const std::uint64_t resume_step = job->newest_step();
  Must(journal_->Record(decision, resume_step, now));
  switch (decision.kind) {
    case Decision::Kind::kAttemptStarted:
      if (restored.attempt > 0) board_.Remove({job->id(), restored.attempt});
      restored.attempt = decision.attempt.number;
      restored.attempt_live = true;
      restored.state = JobState::kStarting;
      restored.placement = decision.placement;
      restored.numerics_class = decision.numerics_class;
      job->journaled.attempts.push_back({decision.attempt.number, resume_step,
                                         decision.numerics_class, now, 0, "", decision.placement});
      if (job->journaled.started_ms == 0) job->journaled.started_ms = now;
      job->steps_done = resume_step;
      job->records_wait.clear();
      job->checkpoint_waits.clear();
      JobTable::RewindMetrics(*job, resume_step);
      job->ranks.clear();
      for (std::uint32_t rank = 0; rank < decision.placement.size(); ++rank) {
        job->ranks.push_back(DescribePlace(*job, rank, decision.placement[rank]));
      }
      if (job->spec.has_command()) commands_.insert(job->id());
      break;
    case Decision::Kind::kAttemptEnded:
      // What keeps failing to start may be a checkpoint that has gone bad on the disk.
      if (decision.retries >= 2) DropDamagedCheckpoint(*job);
      restored.attempt_live = false;
      restored.state = JobState::kQueued;
      restored.reason = decision.reason;
      if (decision.exit != ExitKind::kSuccess) board_.Remove(decision.attempt);
      job->journaled.exit_code = decision.exit_code;
      if (!job->journaled.attempts.empty()) {
        job->journaled.attempts.back().ended_ms = now;
        job->journaled.attempts.back().reason = decision.reason;
      }
      break;
    case Decision::Kind::kJobEnded:
      restored.attempt_live = false;
      restored.state = decision.state;
      restored.reason = decision.reason;
      job->journaled.infrastructure = decision.infrastructure;
      job->journaled.ended_ms = now;
      commands_.erase(job->id());
      jobs_.Retire(job->id());
      job->journaled.steps_done = job->steps_done;
      job->journaled.steps_total = job->steps_total;
      Must(journal_->RecordProgress(job->id(), job->steps_done, job->steps_total));
      board_.Remove(decision.attempt);
      // Followers may leave only once the verdict is durable.
      Reply([logs = std::exchange(job->logs, nullptr),
             metrics = std::exchange(job->metrics, nullptr)] {
        if (logs != nullptr) logs->Close();
        if (metrics != nullptr) metrics->Close();
      });
      break;
  }
}

void Coordinator::DropDamagedCheckpoint(Job& job) {
  auto& checkpoints = job.journaled.checkpoints;
  if (checkpoints.empty()) return;
  const JournaledCheckpoint newest = checkpoints.back();
  const Status whole = wire::VerifyCheckpoint(store_.Path(job.id(), newest.step), newest.sha256);
  if (whole.code() != StatusCode::kDataLoss && whole.code() != StatusCode::kNotFound) return;
  std::fprintf(stderr, "coordinator: job %llu: giving up the checkpoint of step %llu: %s\n",
               static_cast<unsigned long long>(job.id()),
               static_cast<unsigned long long>(newest.step), whole.message().c_str());
  Must(journal_->RemoveCheckpoint(job.id(), newest.step));
  checkpoints.pop_back();
  Reply([this, id = job.id(), step = newest.step] { store_.Remove(id, step); });
}

Status Coordinator::CheckRoomFor(std::uint64_t bytes) const {
  return CheckDisk(options_.directory, bytes);
}

void Coordinator::NoteUpload(const AttemptId& attempt, const Status& outcome) {
  static_cast<void>(loop_.Post([this, attempt, outcome] {
    Job* job = jobs_.Find(attempt.job);
    if (job == nullptr || attempt.number != job->journaled.restored.attempt) return;
    job->checkpoint_waits = outcome.ok() ? "" : "a checkpoint waits: " + outcome.message();
  }));
}

Status Coordinator::CheckFit(const v1::Resources& resources) const {
  const std::uint32_t all = scheduler_.LargestGang();
  if (all == 0) return {};  // No worker is known yet.
  if (resources.ranks() > all) {
    std::uint64_t slots = 0;
    for (const WorkerView& worker : scheduler_.Workers()) slots += worker.slots;
    return InvalidArgument(
        "resources.ranks: " + std::to_string(resources.ranks()) +
        " ranks, but the workers that are known hold at most " + std::to_string(all) +
        (slots >= resources.ranks()
             ? " of one numerics class (" + std::to_string(slots) +
                   " in all; see nodes --json): upgrade the others, or start more workers"
             : "; start more workers, or more slots each"));
  }
  const std::uint32_t large = scheduler_.LargestGang(resources.memory_mib_per_rank());
  if (resources.ranks() <= large) return {};
  std::uint64_t most_mib = 0;
  for (const auto& [name, worker] : workers_) {
    most_mib = std::max<std::uint64_t>(most_mib, worker.last.memory_mib_per_slot());
  }
  return InvalidArgument("resources.memory_mib_per_rank: the workers that are known hold " +
                         std::to_string(large) + " ranks of " +
                         std::to_string(resources.memory_mib_per_rank()) +
                         " MiB, and the largest slot has " + std::to_string(most_mib) +
                         "; ask for less, or start workers with fewer slots");
}

void Coordinator::Submit(const std::string& owner, const v1::SubmitJobRequest& request,
                         Done<Result<JobId>> done) {
  const bool posted =
      loop_.Post([this, owner, request, done, resolved = content_->Resolve(request.spec())] {
        Result<JobId> job = Admit(owner, request, resolved);
        Reply([done, job] { done(job); });
      });
  if (!posted) done(Busy());
}

Result<JobId> Coordinator::Admit(const std::string& owner, const v1::SubmitJobRequest& request,
                                 const Result<v1::JobSpec>& resolved) {
  if (request.request_id().empty() || request.request_id().size() > 128) {
    return InvalidArgument("request_id: 1 to 128 characters");
  }
  v1::JobSpec spec = request.spec();
  wire::FillDefaults(spec);
  MUSTER_RETURN_IF_ERROR(wire::ValidateSpec(spec));
  if (const Job* known = jobs_.FindRequest(owner, request.request_id()); known != nullptr) {
    if (known->journaled.spec == SpecBytes(WithReferencesOf(known->spec, spec))) {
      return known->id();
    }
    return Status(StatusCode::kAlreadyExists,
                  "request_id was used for another job, " + std::to_string(known->id()));
  }
  MUSTER_RETURN_IF_ERROR(resolved.status());
  spec = *resolved;
  wire::FillDefaults(spec);
  std::string bytes = SpecBytes(spec);
  MUSTER_RETURN_IF_ERROR(CheckFit(spec.resources()));
  if (jobs_.live().size() >= kLiveJobsMax) {
    return Status(StatusCode::kResourceExhausted,
                  "the queue is full (" + std::to_string(kLiveJobsMax) + " jobs); try later");
  }
  MUSTER_RETURN_IF_ERROR(CheckLimits(owner, spec.resources().ranks()));
  MUSTER_RETURN_IF_ERROR(CheckDisk(options_.directory));
  JournaledJob job;
  job.request_id = request.request_id();
  job.owner = owner;
  job.spec = bytes;
  job.submitted_ms = WallMillis();
  job.restored.request = RequestOf(0, spec);
  job.restored.request.owner = owner;
  Result<JobId> id = journal_->AddJob(job);
  if (!id.ok()) Fatal(id.status());
  job.restored.request.id = *id;
  scheduler_.Submit(job.restored.request);
  jobs_.Add(std::move(job), std::move(spec));
  return id;
}

Job* Coordinator::Find(const JobClaim& claim) {
  Job* job = jobs_.Find(claim.id);
  if (job == nullptr) return nullptr;
  if (!claim.only_of.empty() && job->journaled.owner != claim.only_of) return nullptr;
  const RestoredJob& restored = job->journaled.restored;
  if (!claim.worker.empty() && !CheckPlaced(claim.worker, {claim.id, restored.attempt}).ok()) {
    return nullptr;
  }
  return job;
}

void Coordinator::GetJob(const JobClaim& claim, Done<Result<v1::JobInfo>> done) {
  const bool posted = loop_.Post([this, claim, done] {
    // Described after the commit, with everything this batch has changed.
    Reply([this, claim, done] {
      Job* job = Find(claim);
      done(job == nullptr ? Result<v1::JobInfo>(claim.NoSuchJob()) : Describe(*job));
    });
  });
  if (!posted) done(Busy());
}

void Coordinator::ListJobs(bool all, const std::string& only_of,
                           Done<std::vector<v1::JobInfo>> done) {
  const bool posted = loop_.Post([this, all, only_of, done] {
    Reply([this, all, only_of, done] {
      std::vector<v1::JobInfo> jobs;
      for (auto& [id, job] : jobs_.all()) {
        const bool hidden = !only_of.empty() && job.journaled.owner != only_of;
        if (job.ended() && (hidden || !all)) continue;
        jobs.push_back(hidden ? DescribeHidden(job) : Describe(job));
      }
      done(std::move(jobs));
    });
  });
  if (!posted) done({});
}

void Coordinator::Cancel(const JobClaim& claim, const std::string& who,
                         Done<Result<v1::JobState>> done) {
  const bool posted = loop_.Post([this, claim, who, done] {
    Job* job = Find(claim);
    if (job == nullptr) return done(claim.NoSuchJob());
    const JobId id = claim.id;
    if (!job->ended() && !job->journaled.restored.cancelled) {
      const std::string reason = "cancelled by " + who;
      job->journaled.restored.cancelled = true;
      Must(journal_->CancelJob(id, reason));
      scheduler_.Cancel(id, reason, SteadyMillis());
    }
    Reply([this, job, done] { done(Describe(*job).state()); });
  });
  if (!posted) done(Busy());
}

void Coordinator::AllowNewNumerics(const JobClaim& claim, const std::string& who,
                                   Done<Result<v1::JobState>> done) {
  const bool posted = loop_.Post([this, claim, who, done] {
    Job* job = Find(claim);
    if (job == nullptr) return done(claim.NoSuchJob());
    const JobId id = claim.id;
    if (!scheduler_.AllowNewNumerics(id)) {
      const std::string why =
          job->ended()                           ? " has ended"
          : job->spec.has_command()              ? " is a [command], which no numerics class binds"
          : job->journaled.restored.attempt == 0 ? " has not begun, so no numerics class binds it"
                                                 : " runs in its numerics class";
      return done(Status(StatusCode::kFailedPrecondition,
                         "job " + std::to_string(id) + why + ": there is nothing to resume"));
    }
    job->journaled.restored.numerics_class.clear();
    Must(journal_->AllowNewNumerics(id));
    std::fprintf(stderr, "coordinator: job %llu may go on in a new numerics class, says %s\n",
                 static_cast<unsigned long long>(id), who.c_str());
    Reply([this, job, done] { done(Describe(*job).state()); });
  });
  if (!posted) done(Busy());
}

void Coordinator::Watch(const JobClaim& claim, std::function<bool(Result<v1::JobInfo>)> changed) {
  const bool posted = loop_.Post([this, claim, changed] {
    if (Find(claim) == nullptr) {
      static_cast<void>(changed(claim.NoSuchJob()));
      return;
    }
    watchers_.push_back({claim.id, "", 0, changed});
  });
  if (!posted) static_cast<void>(changed(Busy()));
}

void Coordinator::TellWatchers() {
  constexpr Millis kPauseMs = 100;
  const Millis now = SteadyMillis();
  std::map<JobId, std::pair<v1::JobInfo, std::string>> described;
  std::erase_if(watchers_, [&](Watcher& watcher) {
    Job& job = *jobs_.Find(watcher.job);
    // The end is told at once, everything else at a bounded rate.
    if (!job.ended() && !watcher.sent.empty() && now - watcher.sent_at < kPauseMs) return false;
    const auto [entry, fresh] = described.try_emplace(watcher.job);
    auto& [info, bytes] = entry->second;
    if (fresh) {
      info = Describe(job);
      bytes = info.SerializeAsString();
    }
    if (bytes == watcher.sent) return false;
    watcher.sent = bytes;
    watcher.sent_at = now;
    return !watcher.changed(info);
  });
}

void Coordinator::Records(const JobClaim& claim, v1::Stream stream, Done<Result<JobRecords>> done) {
  const bool posted = loop_.Post([this, claim, stream, done] {
    Job* job = Find(claim);
    if (job == nullptr) return done(claim.NoSuchJob());
    Result<std::shared_ptr<RecordLog>> log = jobs_.Records(*job, stream);
    if (!log.ok()) return done(log.status());
    done(JobRecords{*log, job->journaled.attempts});
  });
  if (!posted) done(Busy());
}

void Coordinator::FindCheckpoint(const JobClaim& claim, std::optional<std::uint64_t> step,
                                 Done<Result<std::pair<v1::CheckpointBegin, std::string>>> done) {
  const bool posted = loop_.Post([this, claim, step, done] {
    Job* job = Find(claim);
    if (job == nullptr) return done(claim.NoSuchJob());
    const JobId id = claim.id;
    const auto& checkpoints = job->journaled.checkpoints;
    if (checkpoints.empty()) {
      return done(NotFound("job " + std::to_string(id) + " has no checkpoint yet"));
    }
    const auto found = step.has_value()
                           ? std::find_if(checkpoints.begin(), checkpoints.end(),
                                          [&](const auto& entry) { return entry.step == *step; })
                           : checkpoints.end() - 1;
    if (found == checkpoints.end()) {
      std::string steps;
      for (const auto& entry : checkpoints) steps += " " + std::to_string(entry.step);
      return done(NotFound("job " + std::to_string(id) + " has no checkpoint of step " +
                           std::to_string(*step) + "; it has" + steps));
    }
    v1::CheckpointBegin begin;
    begin.set_job_id(id);
    begin.set_attempt(found->attempt);
    begin.set_step(found->step);
    begin.set_sha256(found->sha256);
    begin.set_bytes_total(found->bytes);
    // Once it is durable that this one counts.
    Reply([done, begin, path = store_.Path(id, found->step)] { done(std::pair{begin, path}); });
  });
  if (!posted) done(Busy());
}

void Coordinator::Info(Done<v1::InfoResponse> done) {
  const bool posted = loop_.Post([this, done] {
    v1::InfoResponse info;
    info.set_version(kVersion);
    info.set_cluster_id(journal_->cluster_id());
    info.set_epoch(journal_->epoch());
    std::uint32_t slots = 0;
    for (const WorkerView& worker : scheduler_.Workers()) slots += worker.lost ? 0 : worker.slots;
    info.set_slots(slots);
    done(std::move(info));
  });
  if (!posted) done({});
}

}  // namespace muster::coordinator
