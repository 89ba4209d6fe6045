#include "coordinator/service/access.h"

#include <grpc/grpc_security_constants.h>

#include <array>

#include "wire/tls.h"
#include "wire/token.h"

namespace muster::coordinator {
namespace {

constexpr std::array kRules = {
    AccessRule{"JobService", "SubmitJob", Role::kUser},
    AccessRule{"JobService", "ListJobs", Role::kUser},
    AccessRule{"JobService", "GetJob", Role::kUser},
    AccessRule{"JobService", "CancelJob", Role::kUser},
    AccessRule{"JobService", "ResumeJob", Role::kUser},
    AccessRule{"JobService", "WatchJob", Role::kUser},
    AccessRule{"JobService", "Logs", Role::kUser},
    AccessRule{"JobService", "Metrics", Role::kUser},
    AccessRule{"JobService", "ListNodes", Role::kUser},
    AccessRule{"JobService", "DownloadCheckpoint", Role::kUser},
    AccessRule{"JobService", "Info", Role::kUser},
    AccessRule{"JoinService", "NewJoinToken", Role::kUser},
    AccessRule{"JoinService", "Join", Role::kAnyone},
    AccessRule{"AgentService", "Attend", Role::kWorker},
    AccessRule{"AgentService", "Append", Role::kWorker},
    AccessRule{"AgentService", "UploadCheckpoint", Role::kWorker},
    AccessRule{"AgentService", "FetchCheckpoint", Role::kWorker},
    AccessRule{"AgentService", "Put", Role::kWorker},
    AccessRule{"AgentService", "Get", Role::kWorker},
};

}  // namespace

std::span<const AccessRule> AccessRules() { return kRules; }

std::string Access::CertifiedWorker(const grpc::ServerContextBase& context) {
  const auto peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return "";
  const auto names = peer->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  return names.empty() ? "" : std::string(names.front().data(), names.front().size());
}

Status Access::CheckCertificate(const grpc::ServerContextBase& context,
                                const std::string& worker) const {
  const auto texts = context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (!texts.empty()) {
    const Result<std::string> sha256 =
        wire::CertificateSha256(std::string(texts.front().data(), texts.front().size()));
    if (sha256.ok() && certificates_.Admits(worker, *sha256)) return {};
  }
  return {StatusCode::kUnauthenticated,
          "the certificate of worker " + worker + " is not, or no more, admitted: join again"};
}

Result<std::string> Access::Check(const grpc::ServerContextBase& context,
                                  const std::string& method) const {
  if (const std::string worker = CertifiedWorker(context); !worker.empty()) {
    MUSTER_RETURN_IF_ERROR(CheckCertificate(context, worker));
    for (const AccessRule& rule : kRules) {
      if (method == rule.method && rule.role == Role::kWorker) return worker;
    }
    return Status(StatusCode::kPermissionDenied, "worker " + worker + " may not call " + method);
  }
  const auto& metadata = context.client_metadata();
  const auto header = metadata.find("authorization");
  constexpr std::string_view kScheme = "Bearer ";
  std::string token;
  if (header != metadata.end()) token.assign(header->second.data(), header->second.size());
  if (token.rfind(kScheme, 0) != 0) {
    return Status(StatusCode::kUnauthenticated, "no token: set MUSTER_TOKEN_FILE");
  }
  token.erase(0, kScheme.size());
  const Principal* caller = nullptr;
  for (const Principal& principal : principals_) {
    if (wire::TokenMatches(token, principal.token_sha256)) caller = &principal;
  }
  if (caller == nullptr) {
    return Status(StatusCode::kUnauthenticated, "the token is not valid for this cluster");
  }
  for (const AccessRule& rule : kRules) {
    if (method == rule.method && caller->role == rule.role) return caller->name;
  }
  return Status(StatusCode::kPermissionDenied, caller->name + " may not call " + method);
}

}  // namespace muster::coordinator
