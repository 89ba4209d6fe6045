// The coordinator's jobs in memory: what the journal holds of each, and what ranks say now.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/journal/journal.h"
#include "coordinator/store/record_log.h"
#include "muster/v1/agent.pb.h"
#include "muster/v1/cluster.pb.h"

namespace muster::coordinator {

struct Job {
  JournaledJob journaled;  // Kept up to date.
  v1::JobSpec spec;
  std::uint64_t steps_done = 0;
  std::uint64_t steps_total = 0;
  std::vector<v1::RankInfo> ranks;  // Of the newest attempt, as last seen.
  // Whom the numbers above the ranks' were given since this coordinator started: attempt and
  // number, the newest few thousand.
  std::map<std::pair<std::uint32_t, std::uint32_t>, WorkerName> rollout_workers;
  std::shared_ptr<RecordLog> logs;     // Opened on first use, until the job ends.
  std::shared_ptr<RecordLog> metrics;  // Likewise.
  bool metrics_read = false;           // last_metrics is filled.
  std::map<std::string, double> last_metrics;
  // Why what the newest attempt has written is not taken yet; empty = nothing waits.
  std::string records_wait, checkpoint_waits;

  JobId id() const { return journaled.restored.request.id; }
  // Of the newest row of metrics; 0 = there is none.
  std::uint64_t metrics_step() const {
    const auto step = last_metrics.find("step");
    return step == last_metrics.end() || !(step->second > 0) || step->second > 1e15
               ? 0
               : static_cast<std::uint64_t>(step->second);
  }
  bool ended() const { return IsFinal(journaled.restored.state); }
  // Where the newest checkpoint lies; 0 = there is none.
  std::uint64_t newest_step() const {
    return journaled.checkpoints.empty() ? 0 : journaled.checkpoints.back().step;
  }
};

class JobTable {
 public:
  // Files of a job's records: DIRECTORY/<id>/logs and DIRECTORY/<id>/metrics.
  explicit JobTable(std::string directory) : directory_(std::move(directory)) {}

  Job& Add(JournaledJob journaled, v1::JobSpec spec);
  Job* Find(JobId id);
  std::map<JobId, Job>& all() { return jobs_; }
  // Those that have not ended: few, where all of a course are many.
  const std::set<JobId>& live() const { return live_; }
  // The job has just ended.
  void Retire(JobId id) { live_.erase(id); }

  // The job that this request made, or null.
  Job* FindRequest(const std::string& owner, const std::string& request_id);

  Result<std::shared_ptr<RecordLog>> Records(Job& job, v1::Stream stream);
  // Takes up the values of `rows` (whole JSON lines) as the newest, but for rows after `last_step`.
  static void TakeMetrics(Job& job, std::string_view rows, std::uint64_t last_step = UINT64_MAX);
  // Forgets them if they are of steps that come again.
  static void RewindMetrics(Job& job, std::uint64_t step);
  // Reads the last stored rows that still count once, after a restart.
  void LoadMetrics(Job& job);

 private:
  std::string directory_;
  std::map<JobId, Job> jobs_;
  std::set<JobId> live_;
  std::map<std::pair<std::string, std::string>, JobId> requests_;
};

}  // namespace muster::coordinator
