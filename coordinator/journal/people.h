// What the journal remembers of people: users, their limits, and their tokens as SHA-256.
// Same database, transactions and thread as journal.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/journal/journal.h"

namespace muster::coordinator {

// Numbers are in the journal: never reused.
enum class Role : std::uint8_t { kStudent = 1, kAssistant = 2, kAdmin = 3, kWorker = 4 };

// "student"; for messages and the audit log.
const char* NameOf(Role role);

// Absent = what the role has; 0 = no limit.
struct UserLimits {
  std::optional<std::uint64_t> running;
  std::optional<std::uint64_t> slots;
  std::optional<std::uint64_t> queued;
};

struct JournaledUser {
  std::string name;
  Role role = Role::kStudent;
  bool disabled = false;
  UserLimits limits{};
  std::int64_t created_ms = 0;
};

struct JournaledToken {
  std::uint64_t id = 0;  // From 1.
  std::string user;
  std::string sha256;  // Of the token, which is kept nowhere.
  std::string label;
  std::int64_t created_ms = 0;
  std::int64_t expires_ms = 0;
  std::int64_t revoked_ms = 0;  // 0 = not revoked.
};

class PeopleJournal {
 public:
  // `journal` must outlive it.
  explicit PeopleJournal(Journal& journal) : journal_(journal) {}

  Result<std::vector<JournaledUser>> LoadUsers();    // By name.
  Result<std::vector<JournaledToken>> LoadTokens();  // By id.

  // Each opens a transaction when none is open.
  Status SetUser(const JournaledUser& user);  // New, or in place of the one of this name.
  Result<std::uint64_t> AddToken(const JournaledToken& token);  // Its id.
  Status RevokeToken(std::uint64_t id, std::int64_t now_ms);

 private:
  Journal& journal_;
};

}  // namespace muster::coordinator
