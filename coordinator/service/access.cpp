#include "coordinator/service/access.h"

#include <grpc/grpc_security_constants.h>

#include <array>
#include <string_view>

#include "coordinator/clock.h"
#include "coordinator/service/caps.h"
#include "wire/retry_after.h"
#include "wire/tls.h"
#include "wire/token.h"

namespace muster::coordinator {
namespace {

constexpr Reach kNone = Reach::kNone;
constexpr Reach kOwn = Reach::kOwn;
constexpr Reach kAll = Reach::kAll;

// clang-format off
constexpr std::array kRules = {
    //                                                            student assistant admin worker
    AccessRule{"JobService", "SubmitJob", CallKind::kWrite,             kOwn, kOwn, kOwn, kNone},
    AccessRule{"JobService", "ListJobs", CallKind::kRead,               kOwn, kAll, kAll, kNone},
    AccessRule{"JobService", "GetJob", CallKind::kRead,                 kOwn, kAll, kAll, kNone},
    AccessRule{"JobService", "CancelJob", CallKind::kWrite,             kOwn, kAll, kAll, kNone},
    AccessRule{"JobService", "ResumeJob", CallKind::kWrite,             kOwn, kOwn, kAll, kNone},
    AccessRule{"JobService", "WatchJob", CallKind::kStream,             kOwn, kAll, kAll, kNone},
    AccessRule{"JobService", "Logs", CallKind::kStream,                 kOwn, kAll, kAll, kNone},
    AccessRule{"JobService", "Metrics", CallKind::kStream,              kOwn, kAll, kAll, kNone},
    AccessRule{"JobService", "ListNodes", CallKind::kRead,              kAll, kAll, kAll, kNone},
    AccessRule{"JobService", "DrainWorker", CallKind::kWrite,           kNone, kNone, kAll, kNone},
    AccessRule{"JobService", "ResumeWorker", CallKind::kWrite,          kNone, kNone, kAll, kNone},
    AccessRule{"JobService", "DownloadCheckpoint", CallKind::kStream,   kOwn, kAll, kAll, kNone},
    AccessRule{"JobService", "Info", CallKind::kRead,                   kAll, kAll, kAll, kNone},
    AccessRule{"PeopleService", "AddUser", CallKind::kWrite,            kNone, kNone, kAll, kNone},
    AccessRule{"PeopleService", "SetUser", CallKind::kWrite,            kNone, kNone, kAll, kNone},
    AccessRule{"PeopleService", "ListUsers", CallKind::kRead,           kNone, kAll, kAll, kNone},
    AccessRule{"PeopleService", "AddToken", CallKind::kWrite,           kNone, kNone, kAll, kNone},
    AccessRule{"PeopleService", "ListTokens", CallKind::kRead,          kOwn, kOwn, kAll, kNone},
    AccessRule{"PeopleService", "RevokeToken", CallKind::kWrite,        kOwn, kOwn, kAll, kNone},
    AccessRule{"JoinService", "NewJoinToken", CallKind::kWrite,         kNone, kNone, kAll, kNone},
    AccessRule{"JoinService", "Join", CallKind::kOpen,                  kNone, kNone, kNone, kNone},
    AccessRule{"ContentService", "FindMissing", CallKind::kRead,        kAll, kAll, kAll, kNone},
    AccessRule{"ContentService", "PutObjects", CallKind::kWrite,        kAll, kAll, kAll, kNone},
    AccessRule{"ContentService", "NameData", CallKind::kWrite,          kOwn, kOwn, kOwn, kNone},
    AccessRule{"ContentService", "ListData", CallKind::kRead,           kAll, kAll, kAll, kNone},
    AccessRule{"ContentService", "RemoveData", CallKind::kWrite,        kOwn, kOwn, kAll, kNone},
    AccessRule{"ContentService", "GetObject", CallKind::kStream,        kAll, kAll, kAll, kNone},
    AccessRule{"ContentService", "FetchObject", CallKind::kAgent,       kNone, kNone, kNone, kAll},
    AccessRule{"AgentService", "Attend", CallKind::kAgent,              kNone, kNone, kNone, kAll},
    AccessRule{"AgentService", "Append", CallKind::kAgent,              kNone, kNone, kNone, kAll},
    AccessRule{"AgentService", "UploadCheckpoint", CallKind::kAgent,    kNone, kNone, kNone, kAll},
    AccessRule{"AgentService", "FetchCheckpoint", CallKind::kAgent,     kNone, kNone, kNone, kAll},
    AccessRule{"AgentService", "Put", CallKind::kAgent,                 kNone, kNone, kNone, kAll},
    AccessRule{"AgentService", "Get", CallKind::kAgent,                 kNone, kNone, kNone, kAll},
};
// clang-format on

const AccessRule* RuleOf(std::string_view method) {
  for (const AccessRule& rule : kRules) {
    if (method == rule.method) return &rule;
  }
  return nullptr;
}

std::string Described(const Identity& who) { return who.name + " (" + NameOf(who.role) + ")"; }

bool IsRefusal(StatusCode code) {
  return code == StatusCode::kPermissionDenied || code == StatusCode::kUnauthenticated ||
         code == StatusCode::kResourceExhausted;
}

// The worker whose certificate the caller has shown; empty = none. Not whether it is admitted.
std::string CertifiedWorker(const grpc::ServerContextBase& context) {
  const auto peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return "";
  const auto names = peer->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  return names.empty() ? "" : std::string(names.front().data(), names.front().size());
}

// What a caller names may be anything, of any length.
std::string Shortened(const std::string& subject) {
  constexpr std::size_t kBytesMax = 256;
  if (subject.size() <= kBytesMax) return subject;
  std::size_t end = kBytesMax;
  while (end > 0 && (static_cast<unsigned char>(subject[end]) & 0xC0U) == 0x80U) --end;
  return subject.substr(0, end) + "...";
}

}  // namespace

std::span<const AccessRule> AccessRules() { return kRules; }

Reach AccessRule::For(Role role) const {
  switch (role) {
    case Role::kStudent:
      return student;
    case Role::kAssistant:
      return assistant;
    case Role::kAdmin:
      return admin;
    case Role::kWorker:
      return worker;
  }
  return Reach::kNone;
}

JobClaim Caller::Claim(JobId job) const {
  if (reach == Reach::kAll) {
    JobClaim claim(job);
    claim.worker = worker;
    if (!worker.empty()) claim.scope = "none with a rank on worker " + worker;
    return claim;
  }
  return {job, who.name, Described(who) + " reaches own jobs only"};
}

Access::Access(AccessOptions options)
    : options_(std::move(options)),
      rates_(std::make_unique<RateLimiter>()),
      seats_(std::make_shared<Seats>()) {
  if (!options_.wall_ms) options_.wall_ms = WallMillis;
  if (!options_.steady_ms) options_.steady_ms = SteadyMillis;
}

Result<Caller> Access::Check(grpc::CallbackServerContext& context, const char* method) const {
  const auto& metadata = context.client_metadata();
  const auto header = metadata.find("authorization");
  std::string authorization;
  if (header != metadata.end()) authorization.assign(header->second.data(), header->second.size());
  std::int64_t retry_after_ms = 0;
  const std::string worker = CertifiedWorker(context);
  Result<Caller> caller =
      Admit(worker.empty() ? Identify(authorization) : IdentifyWorker(context, worker), method,
            context.peer(), retry_after_ms, worker);
  if (caller.ok()) caller->worker = worker;
  if (retry_after_ms > 0) {
    context.AddTrailingMetadata(wire::kRetryAfterKey, std::to_string(retry_after_ms));
  }
  return caller;
}

Result<Caller> Access::Admit(const std::string& authorization, const char* method,
                             const std::string& peer, std::int64_t& retry_after_ms) const {
  return Admit(Identify(authorization), method, peer, retry_after_ms, "");
}

Result<Caller> Access::Admit(Result<Identity> who, const char* method, const std::string& peer,
                             std::int64_t& retry_after_ms, const std::string& worker) const {
  Caller caller;
  caller.peer = peer;
  caller.rule = RuleOf(method);
  AuditEntry entry;
  entry.time_ms = options_.wall_ms();
  entry.rpc = method;
  entry.peer = peer;
  if (!worker.empty()) entry.subject = "worker " + worker;
  const auto refuse = [&](Status status) -> Result<Caller> {
    entry.outcome = status.code();
    if (options_.audit != nullptr) options_.audit->Write(entry);
    return status;
  };
  if (!who.ok()) return refuse(who.status());
  caller.who = std::move(*who);
  entry.user = caller.name();
  entry.role = NameOf(caller.who.role);
  if (Status checked = Throttle(caller, retry_after_ms); !checked.ok()) return refuse(checked);
  caller.reach = caller.rule == nullptr ? Reach::kNone : caller.rule->For(caller.who.role);
  if (caller.reach == Reach::kNone) {
    return refuse(
        {StatusCode::kPermissionDenied, Described(caller.who) + " may not call " + method});
  }
  if (caller.rule->kind != CallKind::kStream) return caller;
  const std::size_t most = caller.who.role == Role::kAdmin ? kAdminStreamsMax : kStreamsMax;
  caller.seat = seats_->Take(caller.who, most);
  if (caller.seat != nullptr) return caller;
  return refuse({StatusCode::kResourceExhausted,
                 Described(caller.who) + " has " + std::to_string(most) +
                     " streams open, the most there may be; end one before the next " + method});
}

Result<Identity> Access::IdentifyWorker(const grpc::ServerContextBase& context,
                                        const std::string& worker) const {
  const auto texts = context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (!texts.empty() && options_.certificates != nullptr) {
    const Result<std::string> sha256 =
        wire::CertificateSha256(std::string(texts.front().data(), texts.front().size()));
    if (sha256.ok() && options_.certificates->Admits(worker, *sha256)) {
      return Identity{worker, Role::kWorker, 0};
    }
  }
  return Status(StatusCode::kUnauthenticated, "the certificate of worker " + worker +
                                                  " is not, or no more, admitted: join again");
}

Result<Identity> Access::Identify(const std::string& authorization) const {
  constexpr std::string_view kScheme = "Bearer ";
  if (!authorization.starts_with(kScheme)) {
    return Status(StatusCode::kUnauthenticated, "no token: set MUSTER_TOKEN_FILE");
  }
  const std::string token = authorization.substr(kScheme.size());
  const Principal* own = nullptr;
  for (const Principal& principal : options_.principals) {
    if (wire::TokenMatches(token, principal.token_sha256)) own = &principal;
  }
  if (own != nullptr) return Identity{own->name, own->role, 0};
  if (options_.people != nullptr) return options_.people->Find(token, options_.wall_ms());
  return Status(StatusCode::kUnauthenticated, "the token is not valid for this cluster");
}

Status Access::Throttle(const Caller& caller, std::int64_t& retry_after_ms) const {
  const Role role = caller.who.role;
  if (role != Role::kStudent && role != Role::kAssistant) return {};
  const bool reads = caller.rule != nullptr && (caller.rule->kind == CallKind::kRead ||
                                                caller.rule->kind == CallKind::kStream);
  retry_after_ms = rates_->Take(caller.name(), !reads, options_.steady_ms());
  if (retry_after_ms == 0) return {};
  return {StatusCode::kResourceExhausted,
          Described(caller.who) + " calls too often" +
              (caller.rule == nullptr ? "" : std::string(" for ") + caller.rule->method) +
              "; try again in " + std::to_string(retry_after_ms) + " ms"};
}

void Access::Record(const Caller& caller, JobId job, const Status& outcome,
                    const std::string& subject) const {
  if (options_.audit == nullptr || caller.rule == nullptr) return;
  // Where others' jobs are as if they did not exist, that answer is a refusal.
  const bool beyond = caller.reach == Reach::kOwn && outcome.code() == StatusCode::kNotFound;
  const bool writes = caller.rule->kind == CallKind::kWrite;
  if (!writes && !beyond && !IsRefusal(outcome.code())) return;
  options_.audit->Write({options_.wall_ms(), caller.name(), NameOf(caller.who.role),
                         caller.rule->method, job, Shortened(subject), outcome.code(),
                         caller.peer});
}

void Access::RecordOpen(const char* method, const std::string& peer, const Status& outcome,
                        const std::string& subject) const {
  if (options_.audit == nullptr) return;
  options_.audit->Write(
      {options_.wall_ms(), "", "", method, 0, Shortened(subject), outcome.code(), peer});
}

void Access::EndStaleStreams() const {
  constexpr std::int64_t kEveryMs = 1'000;
  const std::int64_t now_ms = options_.steady_ms();
  if (options_.people == nullptr || now_ms - looked_ms_ < kEveryMs) return;
  looked_ms_ = now_ms;
  seats_->EndUnless(
      [this](const Identity& who) { return options_.people->Check(who, options_.wall_ms()); });
}

}  // namespace muster::coordinator
