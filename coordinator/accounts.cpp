// The half of the coordinator that keeps accounts: users, their limits and tokens.
#include <algorithm>

#include "base/sha256.h"
#include "coordinator/busy.h"
#include "coordinator/clock.h"
#include "coordinator/coordinator.h"
#include "wire/token.h"

namespace muster::coordinator {
namespace {

constexpr std::uint32_t kTokenDays = 120;
constexpr std::uint32_t kTokenDaysMax = 3650;
constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::size_t kNameMax = 32;
constexpr std::size_t kLabelMax = 64;
constexpr std::uint32_t kLimitMax = 1'000'000;

Status NoSuchUser(const std::string& name) {
  return NotFound("no user " + name + "; `muster user list` names them");
}

// What a name of an owner, in messages and in files, may hold without care.
Status CheckName(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  const bool good = !name.empty() && name.size() <= kNameMax && name[0] >= 'a' && name[0] <= 'z' &&
                    std::all_of(name.begin(), name.end(), plain);
  if (good) return {};
  return InvalidArgument("name: 1 to " + std::to_string(kNameMax) +
                         " of a-z, 0-9, '-', '_' and '.', a letter first");
}

Status CheckLabel(const std::string& label) {
  const bool plain =
      std::all_of(label.begin(), label.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (plain && label.size() <= kLabelMax) return {};
  return InvalidArgument("label: at most " + std::to_string(kLabelMax) +
                         " printable ASCII characters");
}

Result<Role> RoleOf(v1::UserRole role) {
  if (role < v1::USER_ROLE_STUDENT || role > v1::USER_ROLE_ADMIN) {
    return InvalidArgument("role: student, assistant or admin");
  }
  return static_cast<Role>(role);
}

Status TakeLimits(const v1::UserLimits& given, UserLimits& limits) {
  for (const std::uint32_t limit : {given.running(), given.slots(), given.queued()}) {
    if (limit > kLimitMax) {
      return InvalidArgument("limits: at most " + std::to_string(kLimitMax) + "; 0 = no limit");
    }
  }
  if (given.has_running()) limits.running = given.running();
  if (given.has_slots()) limits.slots = given.slots();
  if (given.has_queued()) limits.queued = given.queued();
  return {};
}

v1::TokenInfo DescribeToken(const JournaledToken& token) {
  v1::TokenInfo info;
  info.set_id(token.id);
  info.set_user(token.user);
  info.set_label(token.label);
  info.set_created_ms(token.created_ms);
  info.set_expires_ms(token.expires_ms);
  info.set_revoked_ms(token.revoked_ms);
  return info;
}

}  // namespace

Status Coordinator::RestorePeople() {
  PeopleJournal journal(*journal_);
  MUSTER_ASSIGN_OR_RETURN(const std::vector<JournaledUser> users, journal.LoadUsers());
  for (const JournaledUser& user : users) TakeUser(user);
  MUSTER_ASSIGN_OR_RETURN(const std::vector<JournaledToken> tokens, journal.LoadTokens());
  for (const JournaledToken& token : tokens) {
    if (!people_->User(token.user)) return DataLoss("journal: a token of nobody");
    people_->Set(token);
  }
  return {};
}

void Coordinator::TakeUser(const JournaledUser& user) {
  people_->Set(user);
  const EffectiveLimits limits = LimitsOf(user);
  scheduler_.SetLimits(user.name, {limits.running, limits.slots, user.disabled});
}

OwnerLoad Coordinator::LoadOf(const std::string& owner) {
  OwnerLoad load;
  for (const JobId id : jobs_.live()) {
    const Job& job = *jobs_.Find(id);
    if (job.journaled.owner != owner) continue;
    if (job.journaled.restored.attempt_live) {
      ++load.running;
      load.slots += job.journaled.restored.request.ranks +
                    static_cast<std::uint32_t>(scheduler_.View(id).helpers.size());
    } else {
      ++load.queued;
    }
  }
  return load;
}

Status Coordinator::CheckLimits(const std::string& owner, std::uint32_t ranks) {
  const std::optional<JournaledUser> user = people_->User(owner);
  if (!user) return {};  // The cluster's own.
  const EffectiveLimits limits = LimitsOf(*user);
  if (limits.slots > 0 && ranks > limits.slots) {
    return InvalidArgument("resources.ranks: " + std::to_string(ranks) + " ranks, but " + owner +
                           " (" + NameOf(user->role) + ") may have at most " +
                           std::to_string(limits.slots) + " slots");
  }
  if (limits.queued == 0) return {};
  const std::uint32_t queued = LoadOf(owner).queued;
  if (queued < limits.queued) return {};
  return {StatusCode::kResourceExhausted,
          owner + " (" + NameOf(user->role) + ") already has " + std::to_string(queued) +
              " queued jobs, and the limit is " + std::to_string(limits.queued) +
              "; submit again once one has started, or cancel one"};
}

v1::UserInfo Coordinator::DescribeUser(const JournaledUser& user) {
  v1::UserInfo info;
  info.set_name(user.name);
  info.set_role(static_cast<v1::UserRole>(user.role));
  info.set_disabled(user.disabled);
  info.set_created_ms(user.created_ms);
  const EffectiveLimits limits = LimitsOf(user);
  info.mutable_limits()->set_running(limits.running);
  info.mutable_limits()->set_slots(limits.slots);
  info.mutable_limits()->set_queued(limits.queued);
  std::uint32_t valid = 0;
  for (const JournaledToken& token : people_->Tokens(user.name)) {
    valid += token.revoked_ms == 0 && WallMillis() < token.expires_ms ? 1U : 0U;
  }
  info.set_tokens(valid);
  const OwnerLoad load = LoadOf(user.name);
  info.set_running(load.running);
  info.set_slots(load.slots);
  info.set_queued(load.queued);
  return info;
}

template <class Response, class Handle>
void Coordinator::Account(Done<Result<Response>> done, Handle handle) {
  const bool posted = loop_.Post([this, done, handle] {
    Result<Response> response = handle();
    Reply([done, response] { done(response); });
  });
  if (!posted) done(Busy());
}

void Coordinator::AddUser(const v1::AddUserRequest& request, Done<Result<v1::UserInfo>> done) {
  Account<v1::UserInfo>(done, [this, request]() -> Result<v1::UserInfo> {
    MUSTER_RETURN_IF_ERROR(CheckName(request.name()));
    JournaledUser user{.name = request.name(), .created_ms = WallMillis()};
    MUSTER_ASSIGN_OR_RETURN(user.role, RoleOf(request.role()));
    MUSTER_RETURN_IF_ERROR(TakeLimits(request.limits(), user.limits));
    const auto& own = options_.reserved_names;
    if (std::find(own.begin(), own.end(), user.name) != own.end()) {
      return Status(StatusCode::kAlreadyExists,
                    user.name + " is the cluster's own; choose another name");
    }
    if (people_->User(user.name)) {
      return Status(
          StatusCode::kAlreadyExists,
          "user " + user.name + " exists; `muster user token " + user.name + "` gives a new token");
    }
    Must(PeopleJournal(*journal_).SetUser(user));
    TakeUser(user);
    return DescribeUser(user);
  });
}

void Coordinator::SetUser(const v1::SetUserRequest& request, Done<Result<v1::UserInfo>> done) {
  Account<v1::UserInfo>(done, [this, request]() -> Result<v1::UserInfo> {
    std::optional<JournaledUser> user = people_->User(request.name());
    if (!user) return NoSuchUser(request.name());
    if (request.has_disabled()) user->disabled = request.disabled();
    if (request.has_role()) {
      MUSTER_ASSIGN_OR_RETURN(user->role, RoleOf(request.role()));
    }
    if (request.role_limits()) user->limits = {};
    MUSTER_RETURN_IF_ERROR(TakeLimits(request.limits(), user->limits));
    Must(PeopleJournal(*journal_).SetUser(*user));
    TakeUser(*user);
    return DescribeUser(*user);
  });
}

void Coordinator::ListUsers(const v1::ListUsersRequest& /*request*/,
                            Done<Result<v1::ListUsersResponse>> done) {
  Account<v1::ListUsersResponse>(done, [this]() -> Result<v1::ListUsersResponse> {
    v1::ListUsersResponse response;
    for (const JournaledUser& user : people_->Users()) *response.add_users() = DescribeUser(user);
    return response;
  });
}

void Coordinator::AddToken(const v1::AddTokenRequest& request,
                           Done<Result<v1::AddTokenResponse>> done) {
  Account<v1::AddTokenResponse>(done, [this, request]() -> Result<v1::AddTokenResponse> {
    if (!people_->User(request.user())) return NoSuchUser(request.user());
    MUSTER_RETURN_IF_ERROR(CheckLabel(request.label()));
    if (request.expires_days() > kTokenDaysMax) {
      return InvalidArgument("expires_days: at most " + std::to_string(kTokenDaysMax));
    }
    const std::uint32_t days = request.expires_days() == 0 ? kTokenDays : request.expires_days();
    v1::AddTokenResponse response;
    response.set_token(wire::NewToken());
    JournaledToken token;
    token.user = request.user();
    token.sha256 = Sha256Of(response.token());
    token.label = request.label();
    token.created_ms = WallMillis();
    token.expires_ms = token.created_ms + days * kDayMs;
    const Result<std::uint64_t> id = PeopleJournal(*journal_).AddToken(token);
    Must(id.status());
    token.id = *id;
    people_->Set(token);
    *response.mutable_info() = DescribeToken(token);
    return response;
  });
}

void Coordinator::ListTokens(const v1::ListTokensRequest& request,
                             Done<Result<v1::ListTokensResponse>> done) {
  Account<v1::ListTokensResponse>(done, [this, request]() -> Result<v1::ListTokensResponse> {
    if (!people_->User(request.user())) return NoSuchUser(request.user());
    v1::ListTokensResponse response;
    for (const JournaledToken& token : people_->Tokens(request.user())) {
      *response.add_tokens() = DescribeToken(token);
    }
    return response;
  });
}

void Coordinator::RevokeToken(const v1::RevokeTokenRequest& request,
                              Done<Result<v1::TokenInfo>> done) {
  Account<v1::TokenInfo>(done, [this, request]() -> Result<v1::TokenInfo> {
    if (!people_->User(request.user())) return NoSuchUser(request.user());
    for (JournaledToken& token : people_->Tokens(request.user())) {
      if (token.id != request.id()) continue;
      if (token.revoked_ms == 0) {
        token.revoked_ms = WallMillis();
        Must(PeopleJournal(*journal_).RevokeToken(token.id, token.revoked_ms));
        people_->Set(token);
      }
      return DescribeToken(token);
    }
    return NotFound(request.user() + " has no token " + std::to_string(request.id()));
  });
}

}  // namespace muster::coordinator
