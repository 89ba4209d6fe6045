// What the coordinator must never forget: jobs, attempts, accepted checkpoints, known workers; and
// people (people.h).
// One SQLite database (WAL, synchronous=FULL). Everything written between two commits becomes
// durable at once (group commit), so a burst of submissions costs one fsync.
// Not thread-safe: the event loop owns it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/journal/sqlite.h"
#include "coordinator/scheduler/scheduler.h"

namespace muster::coordinator {

struct JournaledCheckpoint {
  std::uint64_t step = 0;
  std::string sha256;  // Of manifest.json.
  std::uint32_t attempt = 0;
  std::optional<double> score;
  std::uint64_t bytes = 0;
};

struct JournaledAttempt {
  std::uint32_t number = 0;
  std::uint64_t resume_step = 0;  // 0 = from the beginning.
  std::string numerics_class{};
  std::int64_t started_ms = 0;
  std::int64_t ended_ms = 0;            // 0 = not yet.
  std::string reason{};                 // Why it ended.
  std::vector<WorkerName> placement{};  // By rank.
};

struct JournaledJob {
  RestoredJob restored;
  std::string request_id;
  std::string owner;
  std::string spec;  // v1::JobSpec, serialised.
  bool infrastructure = false;
  std::int64_t submitted_ms = 0;
  std::int64_t started_ms = 0;
  std::int64_t ended_ms = 0;
  std::uint64_t steps_done = 0;
  std::uint64_t steps_total = 0;
  std::optional<std::int32_t> exit_code;         // Of the newest attempt that ended.
  std::vector<JournaledAttempt> attempts;        // By number.
  std::vector<JournaledCheckpoint> checkpoints;  // By step.
};

struct JournaledWorker {
  WorkerName name;
  std::uint32_t slots = 0;
};

struct JournaledDrain {
  WorkerName worker;
  std::string reason;
  std::int64_t deadline_ms = 0;  // Unix time; 0 = none.
};

struct JournaledJoinToken {
  std::int64_t expires_ms = 0;
  std::string worker{};          // That used it; empty = none has.
  std::string request_sha256{};  // With this signing request.
};

class Journal {
 public:
  // Opens or makes the database, and journals a new epoch. kDataLoss when it is damaged or of a
  // later version.
  static Result<std::unique_ptr<Journal>> Open(const std::string& path);

  std::uint64_t epoch() const { return epoch_; }
  const std::string& cluster_id() const { return cluster_id_; }

  Result<std::vector<JournaledJob>> LoadJobs();
  Result<std::vector<JournaledWorker>> LoadWorkers();

  // Jobs are numbered above `id` from now on.
  Status ReserveIds(JobId id);
  Status RaiseEpoch(std::uint64_t epoch);

  // Each opens a transaction when none is open, which CheckOwner may refuse.
  Result<JobId> AddJob(const JournaledJob& job);
  Status CancelJob(JobId job, const std::string& reason);
  Status AllowNewNumerics(JobId job);
  Status Record(const Decision& decision, std::uint64_t resume_step, std::int64_t now_ms);
  Status RecordProgress(JobId job, std::uint64_t steps_done, std::uint64_t steps_total);
  // Also starts the job's failure counts anew.
  Status AddCheckpoint(JobId job, const JournaledCheckpoint& checkpoint);
  Status RemoveCheckpoint(JobId job, std::uint64_t step);
  Status SetWorker(const JournaledWorker& worker);

  Status SetDrain(const JournaledDrain& drain);
  Status RemoveDrain(const WorkerName& worker);
  Result<std::vector<JournaledDrain>> LoadDrains();

  Status AddJoinToken(const std::string& sha256, std::int64_t expires_ms);
  Result<std::optional<JournaledJoinToken>> FindJoinToken(const std::string& sha256);
  // The worker's earlier certificate is replaced.
  Status UseJoinToken(const std::string& sha256, const std::string& worker,
                      const std::string& request_sha256, const std::string& certificate_sha256);
  // SHA-256 by worker.
  Result<std::map<WorkerName, std::string>> LoadWorkerCertificates();
  // For tables of other files of this folder: a transaction that Commit ends, unless one is open.
  Status Begin();
  sqlite3* database() { return database_.get(); }

  // kAborted when another process has opened the journal since this one did.
  Status CheckOwner();

  bool dirty() const { return open_; }
  // Durable once it returns OK. After an error nothing since the last commit is in the journal, so
  // what the caller holds in memory is no longer what would be restored: end the process.
  Status Commit();

 private:
  explicit Journal(Database database) : database_(std::move(database)) {}
  Status Prepare();
  Status RecordStart(const Decision& decision, std::uint64_t resume_step, std::int64_t now_ms);
  Status RecordEnd(const Decision& decision, std::int64_t now_ms);
  Status RecordJobEnd(const Decision& decision, std::int64_t now_ms);
  Status LoadDetails(JournaledJob& job);

  Database database_;
  std::uint64_t epoch_ = 0;
  std::string cluster_id_;
  bool open_ = false;
};

extern const char* const kJoinSchema;
extern const char* const kDrainSchema;

}  // namespace muster::coordinator
