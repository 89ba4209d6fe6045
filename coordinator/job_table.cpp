#include "coordinator/job_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"

namespace muster::coordinator {

Job& JobTable::Add(JournaledJob journaled, v1::JobSpec spec) {
  const JobId id = journaled.restored.request.id;
  requests_[{journaled.owner, journaled.request_id}] = id;
  Job& job = jobs_[id];
  job.steps_done = journaled.steps_done;
  job.steps_total = journaled.steps_total;
  job.journaled = std::move(journaled);
  job.spec = std::move(spec);
  if (!job.ended()) live_.insert(id);
  return job;
}

Job* JobTable::Find(JobId id) {
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? nullptr : &found->second;
}

Job* JobTable::FindRequest(const std::string& owner, const std::string& request_id) {
  const auto found = requests_.find({owner, request_id});
  return found == requests_.end() ? nullptr : Find(found->second);
}

Result<std::shared_ptr<RecordLog>> JobTable::Records(Job& job, v1::Stream stream) {
  // Of a job that has ended nothing stays open: there may be many thousands.
  std::shared_ptr<RecordLog> once;
  std::shared_ptr<RecordLog>& kept = stream == v1::STREAM_METRICS ? job.metrics : job.logs;
  std::shared_ptr<RecordLog>& log = job.ended() ? once : kept;
  if (log == nullptr) {
    const std::string folder = directory_ + "/" + std::to_string(job.id());
    MUSTER_RETURN_IF_ERROR(MakeDirectories(folder));
    if (stream == v1::STREAM_METRICS) {
      MUSTER_ASSIGN_OR_RETURN(log, RecordLog::Open(folder + "/metrics"));
    } else {
      MUSTER_ASSIGN_OR_RETURN(
          log, RecordLog::Open(folder + "/logs",
                               "muster: a job's log ends at 1 GiB; what follows is not kept\n"));
    }
    if (job.ended()) log->Close();
  }
  return log;
}

void JobTable::RewindMetrics(Job& job, std::uint64_t step) {
  if (job.metrics_step() > step) job.last_metrics.clear();
}

void JobTable::TakeMetrics(Job& job, std::string_view rows, std::uint64_t last_step) {
  while (!rows.empty()) {
    const std::string_view row = rows.substr(0, rows.find('\n'));
    rows.remove_prefix(std::min(rows.size(), row.size() + 1));
    const auto json = nlohmann::json::parse(row, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;
    const auto step = json.find("step");
    if (step != json.end() && step->is_number_unsigned() &&
        step->get<std::uint64_t>() > last_step) {
      continue;
    }
    for (const auto& [name, value] : json.items()) {
      if (value.is_number()) job.last_metrics[name] = value.get<double>();
    }
  }
}

void JobTable::LoadMetrics(Job& job) {
  if (job.metrics_read) return;
  job.metrics_read = true;
  if (job.journaled.restored.attempt == 0) return;
  const auto log = Records(job, v1::STREAM_METRICS);
  if (!log.ok()) return;
  // The end is enough: a series that has not been written for so long is not news.
  std::uint64_t position = (*log)->TailPosition();
  for (Result<Record> record = (*log)->Read(position); record.ok();
       record = (*log)->Read(position)) {
    // Steps after which a later attempt began count no more.
    std::uint64_t last_step = UINT64_MAX;
    for (const JournaledAttempt& attempt : job.journaled.attempts) {
      if (attempt.number > record->attempt) last_step = std::min(last_step, attempt.resume_step);
    }
    TakeMetrics(job, record->data, last_step);
    position = record->next_position;
  }
}

}  // namespace muster::coordinator
