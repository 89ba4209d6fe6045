#include "coordinator/people.h"

#include "base/sha256.h"

namespace muster::coordinator {
namespace {

// What a role has unless its user was given something else.
EffectiveLimits LimitsOfRole(Role role) {
  switch (role) {
    case Role::kStudent:
      return {.running = 4, .slots = 16, .queued = 20};
    case Role::kAssistant:
      return {.running = 16, .slots = 64, .queued = 100};
    case Role::kAdmin:
    case Role::kWorker:
      break;
  }
  return {};
}

Status Unauthenticated(std::string message) {
  return {StatusCode::kUnauthenticated, std::move(message)};
}

std::uint32_t Either(const std::optional<std::uint64_t>& own, std::uint32_t role) {
  return own.has_value() ? static_cast<std::uint32_t>(*own) : role;
}

}  // namespace

EffectiveLimits LimitsOf(const JournaledUser& user) {
  const EffectiveLimits role = LimitsOfRole(user.role);
  if (user.role == Role::kAdmin) return role;
  return {Either(user.limits.running, role.running), Either(user.limits.slots, role.slots),
          Either(user.limits.queued, role.queued)};
}

void People::Set(const JournaledUser& user) {
  const std::lock_guard lock(mutex_);
  users_[user.name] = user;
}

void People::Set(const JournaledToken& token) {
  const std::lock_guard lock(mutex_);
  by_digest_[token.sha256] = token.id;
  tokens_[token.id] = token;
}

Result<Identity> People::Find(const std::string& token, std::int64_t now_ms) const {
  // Looking a digest up tells by its time at most digits of a digest, and no token follows from
  // those.
  const std::string digest = Sha256Of(token);
  const std::lock_guard lock(mutex_);
  const auto found = by_digest_.find(digest);
  if (found == by_digest_.end()) {
    return Unauthenticated("the token is not valid for this cluster");
  }
  return Holder(tokens_.at(found->second), now_ms);
}

Result<Identity> People::Holder(const JournaledToken& token, std::int64_t now_ms) const {
  const JournaledUser& user = users_.at(token.user);
  const std::string which = "token " + std::to_string(token.id) + " of " + token.user;
  if (token.revoked_ms != 0) {
    return Unauthenticated(which + " has been revoked; ask an administrator for a new one");
  }
  if (now_ms >= token.expires_ms) {
    return Unauthenticated(which + " has expired; ask an administrator for a new one");
  }
  if (user.disabled) {
    return Status(StatusCode::kPermissionDenied,
                  user.name + " (" + NameOf(user.role) + ") is disabled; ask an administrator");
  }
  return Identity{user.name, user.role, token.id};
}

Status People::Check(const Identity& identity, std::int64_t now_ms) const {
  if (identity.token == 0) return {};
  const std::lock_guard lock(mutex_);
  const Result<Identity> now = Holder(tokens_.at(identity.token), now_ms);
  MUSTER_RETURN_IF_ERROR(now.status());
  if (now->role == identity.role) return {};
  return {StatusCode::kPermissionDenied,
          identity.name + " is now " + NameOf(now->role) + "; call again"};
}

std::optional<JournaledUser> People::User(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = users_.find(name);
  if (found == users_.end()) return std::nullopt;
  return found->second;
}

std::vector<JournaledUser> People::Users() const {
  const std::lock_guard lock(mutex_);
  std::vector<JournaledUser> users;
  for (const auto& [name, user] : users_) users.push_back(user);
  return users;
}

std::vector<JournaledToken> People::Tokens(const std::string& user) const {
  const std::lock_guard lock(mutex_);
  std::vector<JournaledToken> tokens;
  for (const auto& [id, token] : tokens_) {
    if (token.user == user) tokens.push_back(token);
  }
  return tokens;
}

}  // namespace muster::coordinator
