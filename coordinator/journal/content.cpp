#include "coordinator/journal/content.h"

namespace muster::coordinator {

Result<std::vector<v1::DataInfo>> LoadDataNames(Journal& journal) {
  MUSTER_RETURN_IF_ERROR(journal.Begin());
  sqlite3* const database = journal.database();
  MUSTER_RETURN_IF_ERROR(Execute(database, R"sql(
CREATE TABLE IF NOT EXISTS data_names(
  name TEXT PRIMARY KEY, sha256 TEXT NOT NULL, folder INTEGER NOT NULL, bytes INTEGER NOT NULL,
  files INTEGER NOT NULL, owner TEXT NOT NULL, named_ms INTEGER NOT NULL) WITHOUT ROWID;
)sql"));
  std::vector<v1::DataInfo> names;
  Statement rows(database,
                 "SELECT name, sha256, folder, bytes, files, owner, named_ms FROM data_names"
                 " ORDER BY name");
  while (rows.Next()) {
    v1::DataInfo& data = names.emplace_back();
    data.set_name(rows.Text());
    data.set_sha256(rows.Text());
    data.set_folder(rows.Integer() != 0);
    data.set_bytes(rows.Unsigned());
    data.set_files(rows.Unsigned());
    data.set_owner(rows.Text());
    data.set_named_ms(rows.Integer());
  }
  MUSTER_RETURN_IF_ERROR(rows.status());
  return names;
}

Status JournalDataName(Journal& journal, const v1::DataInfo& data) {
  MUSTER_RETURN_IF_ERROR(journal.Begin());
  sqlite3* const database = journal.database();
  Statement set(database, "INSERT OR REPLACE INTO data_names VALUES(?,?,?,?,?,?,?)");
  set.Bind(data.name()).Bind(data.sha256()).Bind(data.folder());
  set.Bind(std::uint64_t{data.bytes()}).Bind(std::uint64_t{data.files()}).Bind(data.owner());
  return set.Bind(std::int64_t{data.named_ms()}).Run();
}

Status JournalDataRemoval(Journal& journal, const std::string& name) {
  MUSTER_RETURN_IF_ERROR(journal.Begin());
  sqlite3* const database = journal.database();
  Statement remove(database, "DELETE FROM data_names WHERE name = ?");
  return remove.Bind(name).Run();
}

}  // namespace muster::coordinator
