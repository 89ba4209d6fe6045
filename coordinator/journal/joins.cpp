// Join tokens and the certificates of workers that joined.
#include "coordinator/journal/journal.h"

namespace muster::coordinator {

const char* const kJoinSchema = R"sql(
CREATE TABLE IF NOT EXISTS join_tokens(
  sha256 TEXT PRIMARY KEY, expires_ms INTEGER NOT NULL, worker TEXT NOT NULL DEFAULT '',
  request_sha256 TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS worker_certificates(
  worker TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID;
)sql";

Status Journal::AddJoinToken(const std::string& sha256, std::int64_t expires_ms) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement insert(database_.get(), "INSERT INTO join_tokens(sha256, expires_ms) VALUES(?,?)");
  return insert.Bind(sha256).Bind(expires_ms).Run();
}

Result<std::optional<JournaledJoinToken>> Journal::FindJoinToken(const std::string& sha256) {
  Statement row(database_.get(),
                "SELECT expires_ms, worker, request_sha256 FROM join_tokens WHERE sha256=?");
  row.Bind(sha256);
  std::optional<JournaledJoinToken> token;
  if (row.Next()) {
    token.emplace();
    token->expires_ms = row.Integer();
    token->worker = row.Text();
    token->request_sha256 = row.Text();
  }
  MUSTER_RETURN_IF_ERROR(row.status());
  return token;
}

Status Journal::UseJoinToken(const std::string& sha256, const std::string& worker,
                             const std::string& request_sha256,
                             const std::string& certificate_sha256) {
  MUSTER_RETURN_IF_ERROR(Begin());
  Statement use(database_.get(),
                "UPDATE join_tokens SET worker=?, request_sha256=? WHERE sha256=?");
  MUSTER_RETURN_IF_ERROR(use.Bind(worker).Bind(request_sha256).Bind(sha256).Run());
  Statement set(database_.get(), "INSERT OR REPLACE INTO worker_certificates VALUES(?,?)");
  return set.Bind(worker).Bind(certificate_sha256).Run();
}

Result<std::map<WorkerName, std::string>> Journal::LoadWorkerCertificates() {
  std::map<WorkerName, std::string> certificates;
  Statement rows(database_.get(), "SELECT worker, sha256 FROM worker_certificates");
  while (rows.Next()) {
    const WorkerName worker = rows.Text();
    certificates[worker] = rows.Text();
  }
  MUSTER_RETURN_IF_ERROR(rows.status());
  return certificates;
}

}  // namespace muster::coordinator
