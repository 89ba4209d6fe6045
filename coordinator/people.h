// Who may use the cluster: what the journal holds of people, in memory, for every call to look at.
// Thread-safe. The coordinator's loop alone changes it, after the journal.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/journal/people.h"

namespace muster::coordinator {

// Who calls. Once found it holds as long as People::Check says so.
struct Identity {
  std::string name;
  Role role = Role::kStudent;
  std::uint64_t token = 0;  // Its id in the journal; 0 = one of the cluster's own.
};

// What holds for a user; 0 = no limit.
struct EffectiveLimits {
  std::uint32_t running = 0;
  std::uint32_t slots = 0;
  std::uint32_t queued = 0;
};

// The user's own limits, the role's where there are none. An administrator has none at all.
EffectiveLimits LimitsOf(const JournaledUser& user);

class People {
 public:
  void Set(const JournaledUser& user);
  void Set(const JournaledToken& token);

  // Whose token this is. kUnauthenticated: nobody's, expired or revoked; kPermissionDenied: of a
  // user who is disabled. Messages say what to do and never hold the token.
  Result<Identity> Find(const std::string& token, std::int64_t now_ms) const;
  // Whether who was found before would be found now, in the same role.
  Status Check(const Identity& identity, std::int64_t now_ms) const;

  std::optional<JournaledUser> User(const std::string& name) const;
  std::vector<JournaledUser> Users() const;                           // By name.
  std::vector<JournaledToken> Tokens(const std::string& user) const;  // By id.

 private:
  Result<Identity> Holder(const JournaledToken& token, std::int64_t now_ms) const;

  mutable std::mutex mutex_;
  std::map<std::string, JournaledUser> users_;
  std::map<std::uint64_t, JournaledToken> tokens_;
  std::map<std::string, std::uint64_t> by_digest_;
};

}  // namespace muster::coordinator
