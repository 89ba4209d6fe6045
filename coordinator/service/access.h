// Who may call what: one table of methods, checked on every RPC.
//
// Students reach their own jobs; of others' they see in the list, and nowhere else, that they wait
// or run. Assistants read everything and cancel any job. Administrators may do all that people can.
// A job beyond a caller's reach answers as one that does not exist.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/http/metrics.h"
#include "coordinator/job_claim.h"
#include "coordinator/people.h"
#include "coordinator/service/audit_log.h"
#include "coordinator/service/rate_limit.h"
#include "coordinator/service/seats.h"
#include "coordinator/service/worker_certificates.h"

namespace muster::coordinator {

// Of what a call is about (a job, an account): nothing, what is the caller's own, all.
enum class Reach : std::uint8_t { kNone, kOwn, kAll };

enum class CallKind : std::uint8_t {
  kRead,
  kWrite,   // Audited; a narrower rate.
  kStream,  // Reads; counts among the caller's streams while it lasts.
  kAgent,   // Of worker agents: neither limited nor audited, unless refused.
  kOpen,    // Needs no caller: the proof is in the request. Audited.
};

struct AccessRule {
  const char* service;
  const char* method;
  CallKind kind;
  Reach student;
  Reach assistant;
  Reach admin;
  Reach worker;

  Reach For(Role role) const;
};

// Every method of every service that the coordinator offers; no two of one name.
std::span<const AccessRule> AccessRules();

// A token of the cluster's own files: of the operating system's user, or of its workers.
struct Principal {
  std::string token_sha256;
  std::string name;
  Role role = Role::kAdmin;
};

// A call that has been let in.
struct Caller {
  Identity who;
  const AccessRule* rule = nullptr;
  Reach reach = Reach::kAll;
  std::string peer{};
  std::string worker{};          // Whose certificate it has shown; empty = called with a token.
  std::shared_ptr<Seat> seat{};  // Of a stream of a person: hold it while the stream lasts.

  const std::string& name() const { return who.name; }
  // The job as this caller may name it.
  JobClaim Claim(JobId job) const;
};

struct AccessOptions {
  std::vector<Principal> principals{};
  std::shared_ptr<const People> people{};  // Null = only the principals.
  // Of workers that joined; null = none did.
  std::shared_ptr<const WorkerCertificates> certificates{};
  std::shared_ptr<AuditLog> audit{};        // Null = none.
  std::function<std::int64_t()> wall_ms{};  // For tests; by default the clocks.
  std::function<std::int64_t()> steady_ms{};
};

// Thread-safe.
class Access {
 public:
  explicit Access(AccessOptions options);

  // Who calls: a worker by its certificate, everybody else by the token of the request.
  // kUnauthenticated without either;
  // kPermissionDenied when the user is disabled, or the method is not for this role or not in the
  // table; kResourceExhausted when the caller calls too often (the trailing metadata say when to
  // try again) or has too many streams. Refusals are audited.
  Result<Caller> Check(grpc::CallbackServerContext& context, const char* method) const;
  // The same without gRPC. `retry_after_ms` is set with kResourceExhausted where time helps.
  Result<Caller> Admit(const std::string& authorization, const char* method,
                       const std::string& peer, std::int64_t& retry_after_ms) const;

  // How a call that was let in has ended: audited when it writes or was refused after all.
  void Record(const Caller& caller, JobId job, const Status& outcome,
              const std::string& subject = {}) const;

  // Likewise of a call that needs no caller; `subject` is what it was about.
  void RecordOpen(const char* method, const std::string& peer, const Status& outcome,
                  const std::string& subject) const;

  // Ends the streams of those who may no longer call. Call as often as you like: it looks once a
  // second.
  void EndStaleStreams() const;

 private:
  // `worker`: whose certificate was shown, for the audit log.
  Result<Caller> Admit(Result<Identity> who, const char* method, const std::string& peer,
                       std::int64_t& retry_after_ms, const std::string& worker) const;
  Result<Identity> Identify(const std::string& authorization) const;
  Result<Identity> IdentifyWorker(const grpc::ServerContextBase& context,
                                  const std::string& worker) const;
  Status Throttle(const Caller& caller, std::int64_t& retry_after_ms) const;

  AccessOptions options_;
  std::unique_ptr<RateLimiter> rates_;
  std::shared_ptr<Seats> seats_;
  mutable std::atomic<std::int64_t> looked_ms_ = 0;  // For stale streams.
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
