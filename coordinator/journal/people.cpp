#include "coordinator/journal/people.h"

namespace muster::coordinator {

const char* NameOf(Role role) {
  switch (role) {
    case Role::kStudent:
      return "student";
    case Role::kAssistant:
      return "assistant";
    case Role::kAdmin:
      return "admin";
    case Role::kWorker:
      return "worker";
  }
  return "nobody";
}

Result<std::vector<JournaledUser>> PeopleJournal::LoadUsers() {
  std::vector<JournaledUser> users;
  Statement rows(journal_.database(),
                 "SELECT name, role, disabled, running, slots, queued, created_ms FROM users"
                 " ORDER BY name");
  while (rows.Next()) {
    JournaledUser& user = users.emplace_back();
    user.name = rows.Text();
    const std::int64_t role = rows.Integer();
    if (role < 1 || role > 3) return DataLoss("journal: user " + user.name + " has no known role");
    user.role = static_cast<Role>(role);
    user.disabled = rows.Integer() != 0;
    user.limits.running = rows.MaybeUnsigned();
    user.limits.slots = rows.MaybeUnsigned();
    user.limits.queued = rows.MaybeUnsigned();
    user.created_ms = rows.Integer();
  }
  MUSTER_RETURN_IF_ERROR(rows.status());
  return users;
}

Result<std::vector<JournaledToken>> PeopleJournal::LoadTokens() {
  std::vector<JournaledToken> tokens;
  Statement rows(journal_.database(),
                 "SELECT id, user, sha256, label, created_ms, expires_ms, revoked_ms FROM tokens"
                 " ORDER BY id");
  while (rows.Next()) {
    JournaledToken& token = tokens.emplace_back();
    token.id = rows.Unsigned();
    token.user = rows.Text();
    token.sha256 = rows.Text();
    token.label = rows.Text();
    token.created_ms = rows.Integer();
    token.expires_ms = rows.Integer();
    token.revoked_ms = rows.Integer();
  }
  MUSTER_RETURN_IF_ERROR(rows.status());
  return tokens;
}

Status PeopleJournal::SetUser(const JournaledUser& user) {
  MUSTER_RETURN_IF_ERROR(journal_.Begin());
  Statement set(journal_.database(), "INSERT OR REPLACE INTO users VALUES(?,?,?,?,?,?,?)");
  return set.Bind(user.name)
      .Bind(static_cast<std::int64_t>(user.role))
      .Bind(user.disabled)
      .Bind(user.limits.running)
      .Bind(user.limits.slots)
      .Bind(user.limits.queued)
      .Bind(user.created_ms)
      .Run();
}

Result<std::uint64_t> PeopleJournal::AddToken(const JournaledToken& token) {
  MUSTER_RETURN_IF_ERROR(journal_.Begin());
  Statement insert(journal_.database(),
                   "INSERT INTO tokens(user, sha256, label, created_ms, expires_ms)"
                   " VALUES(?,?,?,?,?)");
  MUSTER_RETURN_IF_ERROR(insert.Bind(token.user)
                             .Bind(token.sha256)
                             .Bind(token.label)
                             .Bind(token.created_ms)
                             .Bind(token.expires_ms)
                             .Run());
  return static_cast<std::uint64_t>(sqlite3_last_insert_rowid(journal_.database()));
}

Status PeopleJournal::RevokeToken(std::uint64_t id, std::int64_t now_ms) {
  MUSTER_RETURN_IF_ERROR(journal_.Begin());
  Statement update(journal_.database(),
                   "UPDATE tokens SET revoked_ms=? WHERE id=? AND revoked_ms=0");
  return update.Bind(now_ms).Bind(id).Run();
}

}  // namespace muster::coordinator
