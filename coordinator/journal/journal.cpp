#include "coordinator/journal/journal.h"

#include <utility>

#include "base/uuid.h"

namespace muster::coordinator {
namespace {

// 1 had no numerics of attempts, 2 no people.
constexpr std::int64_t kFormat = 3;

constexpr const char* kSchema = R"sql(
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value);
CREATE TABLE IF NOT EXISTS jobs(
  id INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL, owner TEXT NOT NULL,
  spec BLOB NOT NULL, ranks INTEGER NOT NULL, failures_max INTEGER NOT NULL,
  submitted_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL DEFAULT 0,
  ended_ms INTEGER NOT NULL DEFAULT 0, state INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '', infrastructure INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
  attempt_live INTEGER NOT NULL DEFAULT 0, placement TEXT NOT NULL DEFAULT '',
  numerics TEXT NOT NULL DEFAULT '', failures INTEGER NOT NULL DEFAULT 0,
  retries INTEGER NOT NULL DEFAULT 0, failed_step INTEGER, failed_reason TEXT NOT NULL DEFAULT '',
  succeeded INTEGER NOT NULL DEFAULT 0, last INTEGER NOT NULL DEFAULT 0,
  steps_done INTEGER NOT NULL DEFAULT 0, steps_total INTEGER NOT NULL DEFAULT 0,
  UNIQUE(owner, request_id));
CREATE TABLE IF NOT EXISTS attempts(
  job INTEGER NOT NULL, number INTEGER NOT NULL, resume_step INTEGER NOT NULL,
  started_ms INTEGER NOT NULL, ended_ms INTEGER, reason TEXT, placement TEXT NOT NULL,
  numerics TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(job, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints(
  job INTEGER NOT NULL, step INTEGER NOT NULL, sha256 TEXT NOT NULL, attempt INTEGER NOT NULL,
  score REAL, bytes INTEGER NOT NULL, PRIMARY KEY(job, step)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS exit_codes(
  job INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, code INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS workers(name TEXT PRIMARY KEY, slots INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users(
  name TEXT PRIMARY KEY, role INTEGER NOT NULL, disabled INTEGER NOT NULL, running INTEGER,
  slots INTEGER, queued INTEGER, created_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens(
  id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, sha256 TEXT NOT NULL UNIQUE,
  label TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
  revoked_ms INTEGER NOT NULL DEFAULT 0);
)sql";

std::string Join(const std::vector<WorkerName>& names) {
  std::string text;
  for (const WorkerName& name : names) text += name + "\n";
  return text;
}

std::vector<WorkerName> Split(const std::string& text) {
  std::vector<WorkerName> names;
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    names.push_back(text.substr(begin, end - begin));
  }
  return names;
}

}  // namespace

Result<std::unique_ptr<Journal>> Journal::Open(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(Database database, OpenDatabase(path));
  std::unique_ptr<Journal> journal(new Journal(std::move(database)));
  MUSTER_RETURN_IF_ERROR(journal->Prepare().During(path));
  return journal;
}

Status Journal::Prepare() {
  sqlite3* database = database_.get();
  MUSTER_RETURN_IF_ERROR(Execute(database, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"));
  MUSTER_RETURN_IF_ERROR(Begin());
  MUSTER_RETURN_IF_ERROR(Execute(database, kSchema));
  MUSTER_RETURN_IF_ERROR(Execute(database, kJoinSchema));
  MUSTER_RETURN_IF_ERROR(Execute(database, kDrainSchema));
  std::int64_t format = 0;
  Statement meta(database, "SELECT key, value FROM meta");
  while (meta.Next()) {
    const std::string key = meta.Text();
    if (key == "format") format = meta.Integer();
    if (key == "epoch") epoch_ = meta.Unsigned();
    if (key == "cluster_id") cluster_id_ = meta.Text();
  }
  MUSTER_RETURN_IF_ERROR(meta.status());
  if (format > kFormat) {
    return DataLoss("the journal has format " + std::to_string(format) + ", this version knows " +
                    std::to_string(kFormat) + "; start a newer muster on it");
  }
  if (format == 1) {
    MUSTER_RETURN_IF_ERROR(
        Execute(database, "ALTER TABLE attempts ADD COLUMN numerics TEXT NOT NULL DEFAULT ''"));
  }
  if (cluster_id_.empty()) cluster_id_ = NewUuid();
  ++epoch_;
  Statement set(database,
                "INSERT OR REPLACE INTO meta VALUES('format',?),('epoch',?),('cluster_id',?)");
  MUSTER_RETURN_IF_ERROR(set.Bind(kFormat).Bind(epoch_).Bind(cluster_id_).Run());
  return Commit();
}

Status Journal::Begin() {
  if (open_) return {};
  MUSTER_RETURN_IF_ERROR(Execute(database_.get(), "BEGIN IMMEDIATE"));
  open_ = true;
  return epoch_ == 0 ? Status() : CheckOwner();
}

Status Journal::CheckOwner() {
  Statement row(database_.get(), "SELECT value FROM meta WHERE key='epoch'");
  const std::uint64_t newest = row.Next() ? row.Unsigned() : 0;
  MUSTER_RETURN_IF_ERROR(row.status());
  if (newest == epoch_) return {};
  return Aborted("journal: another coordinator has opened it, as epoch " + std::to_string(newest) +
                 "; this one is epoch " + std::to_string(epoch_));
}

Status Journal::ReserveIds(JobId id) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement insert(database_.get(),
                   "INSERT INTO sqlite_sequence(name, seq) SELECT 'jobs', 0 WHERE NOT EXISTS"
                   " (SELECT 1 FROM sqlite_sequence WHERE name='jobs')");
  MUSTER_RETURN_IF_ERROR(insert.Run());
  Statement update(database_.get(),
                   "UPDATE sqlite_sequence SET seq=?1 WHERE name='jobs' AND seq<?1");
  return update.Bind(id).Run();
}

Status Journal::RaiseEpoch(std::uint64_t epoch) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement set(database_.get(), "UPDATE meta SET value=? WHERE key='epoch'");
  MUSTER_RETURN_IF_ERROR(set.Bind(epoch).Run());
  epoch_ = epoch;
  return {};
}

Status Journal::Commit() {
  if (!open_) return {};
  open_ = false;
  return Execute(database_.get(), "COMMIT");
}

Result<std::vector<JournaledJob>> Journal::LoadJobs() {
  std::vector<JournaledJob> jobs;
  Statement rows(database_.get(),
                 "SELECT id, request_id, owner, spec, ranks, failures_max, submitted_ms,"
                 " started_ms, ended_ms, state, reason, infrastructure, cancelled, attempt,"
                 " attempt_live, placement, numerics, failures, retries, failed_step,"
                 " failed_reason, succeeded, last, steps_done, steps_total FROM jobs ORDER BY id");
  while (rows.Next()) {
    JournaledJob& job = jobs.emplace_back();
    RestoredJob& restored = job.restored;
    restored.request.id = rows.Unsigned();
    job.request_id = rows.Text();
    job.owner = rows.Text();
    job.spec = rows.Text();
    restored.request.ranks = rows.Unsigned32();
    restored.request.failures_max = rows.Unsigned32();
    job.submitted_ms = rows.Integer();
    job.started_ms = rows.Integer();
    job.ended_ms = rows.Integer();
    restored.state = static_cast<JobState>(rows.Integer());
    restored.reason = rows.Text();
    job.infrastructure = rows.Integer() != 0;
    restored.cancelled = rows.Integer() != 0;
    restored.attempt = rows.Unsigned32();
    restored.attempt_live = rows.Integer() != 0;
    restored.placement = Split(rows.Text());
    restored.numerics_class = rows.Text();
    restored.failures = rows.Unsigned32();
    restored.retries = rows.Unsigned32();
    restored.failed_step = rows.MaybeUnsigned();
    restored.failed_reason = rows.Text();
    restored.succeeded = rows.Integer() != 0;
    restored.last = rows.Integer() != 0;
    restored.infrastructure = job.infrastructure;
    job.steps_done = rows.Unsigned();
    job.steps_total = rows.Unsigned();
  }
  MUSTER_RETURN_IF_ERROR(rows.status());
  for (JournaledJob& job : jobs) MUSTER_RETURN_IF_ERROR(LoadDetails(job));
  return jobs;
}

Status Journal::LoadDetails(JournaledJob& job) {
  Statement attempts(database_.get(),
                     "SELECT number, resume_step, numerics, started_ms, ended_ms, reason, placement"
                     " FROM attempts WHERE job=? ORDER BY number");
  attempts.Bind(job.restored.request.id);
  while (attempts.Next()) {
    JournaledAttempt& attempt = job.attempts.emplace_back();
    attempt.number = attempts.Unsigned32();
    attempt.resume_step = attempts.Unsigned();
    attempt.numerics_class = attempts.Text();
    attempt.started_ms = attempts.Integer();
    attempt.ended_ms = attempts.Integer();
    attempt.reason = attempts.Text();
    attempt.placement = Split(attempts.Text());
  }
  MUSTER_RETURN_IF_ERROR(attempts.status());
  Statement checkpoints(database_.get(),
                        "SELECT step, sha256, attempt, score, bytes FROM checkpoints WHERE job=?"
                        " ORDER BY step");
  checkpoints.Bind(job.restored.request.id);
  while (checkpoints.Next()) {
    JournaledCheckpoint& checkpoint = job.checkpoints.emplace_back();
    checkpoint.step = checkpoints.Unsigned();
    checkpoint.sha256 = checkpoints.Text();
    checkpoint.attempt = checkpoints.Unsigned32();
    checkpoint.score = checkpoints.MaybeReal();
    checkpoint.bytes = checkpoints.Unsigned();
  }
  MUSTER_RETURN_IF_ERROR(checkpoints.status());
  Statement code(database_.get(), "SELECT code FROM exit_codes WHERE job=? AND attempt=?");
  code.Bind(job.restored.request.id).Bind(job.restored.attempt);
  if (code.Next()) job.exit_code = static_cast<std::int32_t>(code.Integer());
  return code.status();
}

Result<std::vector<JournaledWorker>> Journal::LoadWorkers() {
  std::vector<JournaledWorker> workers;
  Statement rows(database_.get(), "SELECT name, slots FROM workers ORDER BY name");
  while (rows.Next()) {
    JournaledWorker& worker = workers.emplace_back();
    worker.name = rows.Text();
    worker.slots = rows.Unsigned32();
  }
  MUSTER_RETURN_IF_ERROR(rows.status());
  return workers;
}

Result<JobId> Journal::AddJob(const JournaledJob& job) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement insert(database_.get(),
                   "INSERT INTO jobs(request_id, owner, spec, ranks, failures_max, submitted_ms)"
                   " VALUES(?,?,?,?,?,?)");
  const JobRequest& request = job.restored.request;
  MUSTER_RETURN_IF_ERROR(insert.Bind(job.request_id)
                             .Bind(job.owner)
                             .BindBlob(job.spec)
                             .Bind(request.ranks)
                             .Bind(request.failures_max)
                             .Bind(job.submitted_ms)
                             .Run());
  return static_cast<JobId>(sqlite3_last_insert_rowid(database_.get()));
}

Status Journal::CancelJob(JobId job, const std::string& reason) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement update(database_.get(), "UPDATE jobs SET cancelled=1, reason=? WHERE id=?");
  return update.Bind(reason).Bind(job).Run();
}

Status Journal::AllowNewNumerics(JobId job) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement update(database_.get(), "UPDATE jobs SET numerics='' WHERE id=?");
  return update.Bind(job).Run();
}

Status Journal::Record(const Decision& decision, std::uint64_t resume_step, std::int64_t now_ms) {
  MUSTER_RETURN_IF_ERROR(Begin());
  switch (decision.kind) {
    case Decision::Kind::kAttemptStarted:
      return RecordStart(decision, resume_step, now_ms);
    case Decision::Kind::kAttemptEnded:
      return RecordEnd(decision, now_ms);
    case Decision::Kind::kJobEnded:
      return RecordJobEnd(decision, now_ms);
  }
  return Internal("journal: unknown decision");
}

Status Journal::RecordStart(const Decision& decision, std::uint64_t resume_step,
                            std::int64_t now_ms) {
  const std::string placement = Join(decision.placement);
  Statement insert(database_.get(),
                   "INSERT INTO attempts(job, number, resume_step, started_ms, placement, numerics)"
                   " VALUES(?,?,?,?,?,?)");
  MUSTER_RETURN_IF_ERROR(insert.Bind(decision.attempt.job)
                             .Bind(decision.attempt.number)
                             .Bind(resume_step)
                             .Bind(now_ms)
                             .Bind(placement)
                             .Bind(decision.numerics_class)
                             .Run());
  Statement update(
      database_.get(),
      "UPDATE jobs SET attempt=?, attempt_live=1, succeeded=0, last=0, placement=?, numerics=?,"
      " state=?,"
      " started_ms=CASE started_ms WHEN 0 THEN ? ELSE started_ms END WHERE id=?");
  return update.Bind(decision.attempt.number)
      .Bind(placement)
      .Bind(decision.numerics_class)
      .Bind(static_cast<std::int64_t>(JobState::kStarting))
      .Bind(now_ms)
      .Bind(decision.attempt.job)
      .Run();
}

Status Journal::RecordEnd(const Decision& decision, std::int64_t now_ms) {
  Statement attempt(database_.get(),
                    "UPDATE attempts SET ended_ms=?, reason=? WHERE job=? AND number=?");
  MUSTER_RETURN_IF_ERROR(attempt.Bind(now_ms)
                             .Bind(decision.reason)
                             .Bind(decision.attempt.job)
                             .Bind(decision.attempt.number)
                             .Run());
  // A cancellation stays the reason, whatever ends the attempt.
  Statement job(
      database_.get(),
      "UPDATE jobs SET attempt_live=0, state=?, failures=?, retries=?, succeeded=?, last=?,"
      " infrastructure=?, reason=CASE cancelled WHEN 0 THEN ? ELSE reason END WHERE id=?");
  MUSTER_RETURN_IF_ERROR(job.Bind(static_cast<std::int64_t>(JobState::kQueued))
                             .Bind(decision.failures)
                             .Bind(decision.retries)
                             .Bind(decision.exit == ExitKind::kSuccess)
                             .Bind(decision.last)
                             .Bind(decision.infrastructure)
                             .Bind(decision.reason)
                             .Bind(decision.attempt.job)
                             .Run());
  if (decision.exit_code) {
    Statement code(database_.get(), "INSERT OR REPLACE INTO exit_codes VALUES(?,?,?)");
    MUSTER_RETURN_IF_ERROR(code.Bind(decision.attempt.job)
                               .Bind(decision.attempt.number)
                               .Bind(static_cast<std::int64_t>(*decision.exit_code))
                               .Run());
  }
  if (decision.exit != ExitKind::kOwnFailure) return {};
  Statement failed(database_.get(), "UPDATE jobs SET failed_step=?, failed_reason=? WHERE id=?");
  return failed.Bind(decision.step).Bind(decision.failure).Bind(decision.attempt.job).Run();
}

Status Journal::RecordJobEnd(const Decision& decision, std::int64_t now_ms) {
  Statement update(database_.get(),
                   "UPDATE jobs SET attempt_live=0, state=?, reason=?, infrastructure=?,"
                   " ended_ms=? WHERE id=?");
  return update.Bind(static_cast<std::int64_t>(decision.state))
      .Bind(decision.reason)
      .Bind(decision.infrastructure)
      .Bind(now_ms)
      .Bind(decision.attempt.job)
      .Run();
}

Status Journal::RecordProgress(JobId job, std::uint64_t steps_done, std::uint64_t steps_total) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement update(database_.get(), "UPDATE jobs SET steps_done=?, steps_total=? WHERE id=?");
  return update.Bind(steps_done).Bind(steps_total).Bind(job).Run();
}

Status Journal::AddCheckpoint(JobId job, const JournaledCheckpoint& checkpoint) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement insert(database_.get(), "INSERT OR REPLACE INTO checkpoints VALUES(?,?,?,?,?,?)");
  MUSTER_RETURN_IF_ERROR(insert.Bind(job)
                             .Bind(checkpoint.step)
                             .Bind(checkpoint.sha256)
                             .Bind(checkpoint.attempt)
                             .Bind(checkpoint.score)
                             .Bind(checkpoint.bytes)
                             .Run());
  Statement update(database_.get(), "UPDATE jobs SET failures=0, retries=0 WHERE id=?");
  return update.Bind(job).Run();
}

Status Journal::RemoveCheckpoint(JobId job, std::uint64_t step) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement remove(database_.get(), "DELETE FROM checkpoints WHERE job=? AND step=?");
  return remove.Bind(job).Bind(step).Run();
}

Status Journal::SetWorker(const JournaledWorker& worker) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement set(database_.get(), "INSERT OR REPLACE INTO workers VALUES(?,?)");
  return set.Bind(worker.name).Bind(worker.slots).Run();
}

}  // namespace muster::coordinator
