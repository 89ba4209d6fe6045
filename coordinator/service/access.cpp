#include "coordinator/service/access.h"

#include <array>

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
    AccessRule{"AgentService", "Attend", Role::kWorker},
    AccessRule{"AgentService", "Append", Role::kWorker},
    AccessRule{"AgentService", "UploadCheckpoint", Role::kWorker},
    AccessRule{"AgentService", "FetchCheckpoint", Role::kWorker},
    AccessRule{"AgentService", "Put", Role::kWorker},
    AccessRule{"AgentService", "Get", Role::kWorker},
    AccessRule{"ContentService", "FindMissing", Role::kUser},
    AccessRule{"ContentService", "PutObjects", Role::kUser},
    AccessRule{"ContentService", "NameData", Role::kUser},
    AccessRule{"ContentService", "ListData", Role::kUser},
    AccessRule{"ContentService", "RemoveData", Role::kUser},
    AccessRule{"ContentService", "GetObject", Role::kUser},
    AccessRule{"ContentService", "FetchObject", Role::kWorker},
};

}  // namespace

std::span<const AccessRule> AccessRules() { return kRules; }

Result<std::string> Access::Check(const grpc::ServerContextBase& context,
                                  const std::string& method) const {
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
