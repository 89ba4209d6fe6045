// Who may call what: one table of methods, checked on every RPC.
#pragma once

#include <grpcpp/server_context.h>

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/http/metrics.h"
#include "coordinator/service/worker_certificates.h"

namespace muster::coordinator {

enum class Role : std::uint8_t { kUser, kWorker, kAnyone };

struct AccessRule {
  const char* service;
  const char* method;
  Role role;
};

// Every method of every service that the coordinator offers.
std::span<const AccessRule> AccessRules();

struct Principal {
  std::string token_sha256;
  std::string name;
  Role role = Role::kUser;
};

// Thread-safe. `certificates` must outlive it.
class Access {
 public:
  Access(std::vector<Principal> principals, const WorkerCertificates& certificates)
      : principals_(std::move(principals)), certificates_(certificates) {}

  // Who calls: a worker by its certificate, everybody else by the token of the request.
  // kUnauthenticated without either, kPermissionDenied when the method is not for this role or not
  // in the table.
  Result<std::string> Check(const grpc::ServerContextBase& context,
                            const std::string& method) const;

  // The worker whose certificate the caller has shown; empty = none. Whether it is admitted is for
  // Check to say.
  static std::string CertifiedWorker(const grpc::ServerContextBase& context);

 private:
  Status CheckCertificate(const grpc::ServerContextBase& context, const std::string& worker) const;

  std::vector<Principal> principals_;
  const WorkerCertificates& certificates_;
};

// Observes how long a call took, when it goes.
class RpcTimer {
 public:
  RpcTimer(Metrics& metrics, std::string method) : metrics_(&metrics), method_(std::move(method)) {}
  void Observe() const {
    metrics_->ObserveRpc(
        method_, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count());
  }

 private:
  Metrics* metrics_;
  std::string method_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace muster::coordinator
