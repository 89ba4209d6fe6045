// Workers on other machines become the cluster's: single-use tokens, certificates for names.
#include <cctype>

#include "base/sha256.h"
#include "base/version.h"
#include "coordinator/clock.h"
#include "coordinator/coordinator.h"
#include "wire/tls.h"
#include "wire/token.h"

namespace muster::coordinator {
namespace {

constexpr std::uint32_t kHoursMax = 720;
constexpr int kWorkerDays = 397;
constexpr std::size_t kNameBytesMax = 64;  // Of a certificate's common name.

bool IsWorkerName(const std::string& name) {
  if (name.empty() || name.size() > kNameBytesMax) return false;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 && (c & 0x80) == 0;
    if (!plain && c != '-' && c != '.' && c != '_') return false;
  }
  return true;
}

Status NoAuthority() {
  return FailedPrecondition(
      "this coordinator listens on its own machine only; to let others join run `muster tls "
      "init` and start it with --listen 0.0.0.0:7420");
}

// One answer to every token that does not count, so that guessing tells nothing.
Status BadToken() {
  return {StatusCode::kUnauthenticated,
          "the join token is not known, has expired, or was used; an admin makes another with "
          "`muster join-token`"};
}

}  // namespace

void Coordinator::NewJoinToken(std::uint32_t hours, Done<Result<v1::NewJoinTokenResponse>> done) {
  const bool posted = loop_.Post([this, hours, done] {
    if (options_.authority.certificate.empty()) return done(NoAuthority());
    if (hours < 1 || hours > kHoursMax) {
      return done(InvalidArgument("hours: 1 to " + std::to_string(kHoursMax) + ", but is " +
                                  std::to_string(hours)));
    }
    v1::NewJoinTokenResponse response;
    response.set_token(wire::NewToken());
    response.set_authority(options_.authority.certificate);
    response.set_expires_ms(WallMillis() + std::int64_t{hours} * 3'600'000);
    Must(journal_->AddJoinToken(Sha256Of(response.token()), response.expires_ms()));
    Reply([done, response] { done(response); });
  });
  if (!posted) done(Status(StatusCode::kResourceExhausted, "the coordinator is busy"));
}

Result<v1::JoinResponse> Coordinator::HandleJoin(const v1::JoinRequest& request) {
  if (options_.authority.certificate.empty()) return NoAuthority();
  const std::string token_sha256 = Sha256Of(request.token());
  const auto token = journal_->FindJoinToken(token_sha256);
  if (!token.ok()) return token.status();
  if (!token->has_value() || (*token)->expires_ms <= WallMillis()) return BadToken();
  const std::string request_sha256 = Sha256Of(request.signing_request());
  const bool again =
      (*token)->worker == request.worker() && (*token)->request_sha256 == request_sha256;
  if (!(*token)->worker.empty() && !again) return BadToken();
  if (request.version() != kVersion) {
    return FailedPrecondition("worker " + request.worker() + " is muster " + request.version() +
                              ", the coordinator is " + kVersion +
                              "; install the same version on both");
  }
  if (!IsWorkerName(request.worker())) {
    return InvalidArgument("a worker's name is 1 to 64 letters, digits, '-', '.', '_'");
  }
  v1::JoinResponse response;
  response.set_cluster_id(journal_->cluster_id());
  MUSTER_ASSIGN_OR_RETURN(*response.mutable_certificate(),
                          wire::SignWorkerRequest(options_.authority, request.signing_request(),
                                                  request.worker(), kWorkerDays));
  MUSTER_ASSIGN_OR_RETURN(const std::string sha256,
                          wire::CertificateSha256(response.certificate()));
  Must(journal_->UseJoinToken(token_sha256, request.worker(), request_sha256, sha256));
  // Admitted once that is durable; until then the answer has not left either.
  Reply([this, worker = request.worker(), sha256] {
    options_.certificates->Set(worker, sha256);
    EndSession(worker);
  });
  return response;
}

// An agent with the certificate that is admitted no more could report, but deliver nothing.
void Coordinator::EndSession(const WorkerName& worker) {
  const auto found = workers_.find(worker);
  if (found == workers_.end() || found->second.link == nullptr) return;
  found->second.link->Close(
      {StatusCode::kUnauthenticated,
       "worker " + worker +
           " has joined again: the certificate of before is admitted no more; "
           "start this agent anew, or have it join under a name of its own"});
  found->second.link = nullptr;
  scheduler_.OnDisconnect(worker, found->second.last.incarnation());
}

void Coordinator::Join(const v1::JoinRequest& request, Done<Result<v1::JoinResponse>> done) {
  const bool posted = loop_.Post([this, request, done] {
    const Result<v1::JoinResponse> response = HandleJoin(request);
    Reply([done, response] { done(response); });
  });
  if (!posted) done(Status(StatusCode::kResourceExhausted, "the coordinator is busy"));
}

}  // namespace muster::coordinator
