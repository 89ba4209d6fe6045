// Workers that are taken out of service.
#include "coordinator/journal/journal.h"

namespace muster::coordinator {

const char* const kDrainSchema = R"sql(
CREATE TABLE IF NOT EXISTS drains(
  worker TEXT PRIMARY KEY, reason TEXT NOT NULL, deadline_ms INTEGER NOT NULL) WITHOUT ROWID;
)sql";

Status Journal::SetDrain(const JournaledDrain& drain) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement set(database_.get(), "INSERT OR REPLACE INTO drains VALUES(?,?,?)");
  return set.Bind(drain.worker).Bind(drain.reason).Bind(drain.deadline_ms).Run();
}

Status Journal::RemoveDrain(const WorkerName& worker) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement remove(database_.get(), "DELETE FROM drains WHERE worker=?");
  return remove.Bind(worker).Run();
}

Result<std::vector<JournaledDrain>> Journal::LoadDrains() {
  std::vector<JournaledDrain> drains;
  Statement rows(database_.get(), "SELECT worker, reason, deadline_ms FROM drains ORDER BY worker");
  while (rows.Next()) {
    JournaledDrain& drain = drains.emplace_back();
    drain.worker = rows.Text();
    drain.reason = rows.Text();
    drain.deadline_ms = rows.Integer();
  }
  MUSTER_RETURN_IF_ERROR(rows.status());
  return drains;
}

}  // namespace muster::coordinator
