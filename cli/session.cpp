#include "cli/session.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/file.h"
#include "base/uuid.h"
#include "muster/v1/cluster.grpc.pb.h"
#include "muster/v1/join.grpc.pb.h"
#include "muster/v1/people.grpc.pb.h"
#include "wire/address.h"
#include "wire/client_call.h"
#include "wire/cluster_files.h"
#include "wire/retry_after.h"
#include "wire/tls.h"
#include "wire/token.h"

namespace muster::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kCallDeadline{10'000};
constexpr milliseconds kSubmitDeadline{20'000};
constexpr milliseconds kPause{100};  // Between attempts.
constexpr std::size_t kPemBytesMax = 1U << 20U;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Whether a stream or call that ended so was cut off rather than answered. gRPC tells a connection
// that breaks as UNAVAILABLE, UNKNOWN ("Stream removed"), INTERNAL (RST_STREAM) or CANCELLED.
bool IsCutOff(const Status& status) {
  const auto code = static_cast<int>(status.code());
  return code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::UNKNOWN ||
         code == grpc::StatusCode::INTERNAL || code == grpc::StatusCode::CANCELLED ||
         code == grpc::StatusCode::DEADLINE_EXCEEDED;
}

// Whether the call cannot have reached the cluster: there was no connection to send it over.
bool WasNeverSent(const Status& status) {
  return status.code() == StatusCode::kUnavailable &&
         (status.message().find("failed to connect") != std::string::npos ||
          status.message().find("connections to all backends failing") != std::string::npos);
}

// gRPC tells the whole way to an error; its end says what is the matter.
std::string Cause(const std::string& message) {
  const std::size_t colon = message.rfind(": ");
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

class GrpcSession final : public Session {
 public:
  // `security` is for an address that was given.
  GrpcSession(ClusterOptions options, bool address_given, wire::Security security,
              std::string token, std::string token_file)
      : options_(std::move(options)),
        address_given_(address_given),
        security_(std::move(security)),
        token_(std::move(token)),
        token_file_(std::move(token_file)) {}

  // Reads the address file again, and connects where it points; `anew` also to where it did before:
  // a channel that was refused once is slow to try again (5 s in gRPC 1.51), a new one is not.
  Status Refresh(bool anew = false) {
    std::string address = options_.address;
    wire::Security security = security_;
    if (!address_given_) {
      const wire::ClusterFiles files = wire::FilesOf(options_.state);
      const Result<wire::Endpoint> endpoint = wire::ReadEndpoint(files.address());
      if (!endpoint.ok()) return Unavailable(NoClusterMessage(files.state));
      address = endpoint->address;
      security.authority.clear();
      if (endpoint->tls) {
        MUSTER_ASSIGN_OR_RETURN(security.authority, ReadFile(files.authority(), kPemBytesMax));
      }
    }
    const std::lock_guard lock(mutex_);
    if (!anew && address == address_ && jobs_ != nullptr) return {};
    address_ = address;
    connected_security_ = security;
    const std::shared_ptr<grpc::Channel> channel = wire::Connect(address, security);
    jobs_ = v1::JobService::NewStub(channel);
    joins_ = v1::JoinService::NewStub(channel);
    people_ = v1::PeopleService::NewStub(channel);
    return {};
  }

  Result<v1::InfoResponse> Info() override {
    v1::InfoResponse response;
    MUSTER_RETURN_IF_ERROR(Call(&v1::JobService::Stub::Info, v1::InfoRequest(), response));
    return response;
  }

  Result<std::vector<v1::JobInfo>> ListJobs(bool all) override {
    v1::ListJobsRequest request;
    request.set_all(all);
    v1::ListJobsResponse response;
    MUSTER_RETURN_IF_ERROR(Call(&v1::JobService::Stub::ListJobs, request, response));
    return std::vector<v1::JobInfo>(response.jobs().begin(), response.jobs().end());
  }

  Result<v1::JobInfo> GetJob(std::uint64_t job_id) override {
    v1::JobInfo response;
    MUSTER_RETURN_IF_ERROR(Call(&v1::JobService::Stub::GetJob, JobRequest(job_id), response));
    return response;
  }

  Result<v1::JobState> CancelJob(std::uint64_t job_id) override {
    v1::CancelJobResponse response;
    MUSTER_RETURN_IF_ERROR(Call(&v1::JobService::Stub::CancelJob, JobRequest(job_id), response));
    return response.state();
  }

  Result<v1::JobState> ResumeJob(std::uint64_t job_id) override {
    v1::ResumeJobRequest request;
    request.set_job_id(job_id);
    request.set_allow_new_numerics(true);
    v1::ResumeJobResponse response;
    MUSTER_RETURN_IF_ERROR(Call(&v1::JobService::Stub::ResumeJob, request, response));
    return response.state();
  }

  Result<std::vector<v1::NodeInfo>> ListNodes(bool patient) override {
    v1::ListNodesResponse response;
    MUSTER_RETURN_IF_ERROR(
        Call(&v1::JobService::Stub::ListNodes, v1::ListNodesRequest(), response, patient));
    return std::vector<v1::NodeInfo>(response.nodes().begin(), response.nodes().end());
  }

  Result<v1::NodeInfo> DrainWorker(const v1::DrainWorkerRequest& request) override {
    v1::NodeInfo response;
    MUSTER_RETURN_IF_ERROR(Call(&v1::JobService::Stub::DrainWorker, request, response));
    return response;
  }

  Result<v1::NodeInfo> ResumeWorker(const std::string& worker) override {
    v1::ResumeWorkerRequest request;
    request.set_worker(worker);
    v1::NodeInfo response;
    MUSTER_RETURN_IF_ERROR(Call(&v1::JobService::Stub::ResumeWorker, request, response));
    return response;
  }

  Result<v1::NewJoinTokenResponse> NewJoinToken(std::uint32_t hours) override {
    v1::NewJoinTokenRequest request;
    request.set_hours(hours);
    v1::NewJoinTokenResponse response;
    std::shared_ptr<v1::JoinService::Stub> joins;
    {
      const std::lock_guard lock(mutex_);
      joins = joins_;
    }
    MUSTER_RETURN_IF_ERROR(Explained(wire::Call(*joins, &v1::JoinService::Stub::NewJoinToken,
                                                token_, request, response, kCallDeadline)));
    return response;
  }

  Result<v1::UserInfo> AddUser(const v1::AddUserRequest& request) override {
    return Ask<v1::UserInfo>(&v1::PeopleService::Stub::AddUser, request);
  }
  Result<v1::UserInfo> SetUser(const v1::SetUserRequest& request) override {
    return Ask<v1::UserInfo>(&v1::PeopleService::Stub::SetUser, request);
  }
  Result<v1::ListUsersResponse> ListUsers() override {
    return Ask<v1::ListUsersResponse>(&v1::PeopleService::Stub::ListUsers, v1::ListUsersRequest());
  }
  Result<v1::AddTokenResponse> AddToken(const v1::AddTokenRequest& request) override {
    return Ask<v1::AddTokenResponse>(&v1::PeopleService::Stub::AddToken, request);
  }
  Result<v1::ListTokensResponse> ListTokens(const std::string& user) override {
    v1::ListTokensRequest request;
    request.set_user(user);
    return Ask<v1::ListTokensResponse>(&v1::PeopleService::Stub::ListTokens, request);
  }
  Result<v1::TokenInfo> RevokeToken(const std::string& user, std::uint64_t id) override {
    v1::RevokeTokenRequest request;
    request.set_user(user);
    request.set_id(id);
    return Ask<v1::TokenInfo>(&v1::PeopleService::Stub::RevokeToken, request);
  }

  Result<std::uint64_t> Submit(const v1::JobSpec& spec, const std::string& request_id) override {
    v1::SubmitJobRequest request;
    request.set_request_id(request_id.empty() ? NewUuid() : request_id);
    *request.mutable_spec() = spec;
    const auto begin = steady_clock::now();
    bool waited = false;
    bool lost = false;  // An answer: the job may exist.
    while (true) {
      v1::SubmitJobResponse response;
      std::optional<milliseconds> retry_after;
      Status sent = SubmitOnce(request, response, retry_after);
      if (sent.ok()) return response.job_id();
      if (retry_after.has_value() && !waited && !interrupted()) {
        waited = true;
        on_word(sent.message() + "; waiting for that long");
        Pause(*retry_after);
        continue;
      }
      const bool patient = steady_clock::now() - begin < Patience() && MayComeBack();
      lost = lost || (IsCutOff(sent) && !WasNeverSent(sent));
      if (interrupted()) return AfterLoss(lost, request, {StatusCode::kCancelled, "interrupted"});
      if (!IsCutOff(sent)) return Explained(std::move(sent));
      if (!patient) return AfterLoss(lost, request, Explained(std::move(sent)));
      Away(sent);
      Pause();
      static_cast<void>(
          Refresh(/*anew=*/true));  // Without an address there is nothing to do but to wait.
    }
  }

  Status Watch(std::uint64_t job_id,
               const std::function<void(const v1::JobInfo&)>& on_change) override {
    bool ended = false;
    return Follow<v1::JobInfo>(
        [&](v1::JobService::Stub& jobs, grpc::ClientContext& context) {
          return jobs.WatchJob(&context, JobRequest(job_id));
        },
        [&](const v1::JobInfo& job) {
          ended = job.state() >= v1::JOB_STATE_SUCCEEDED;
          on_change(job);
          return Status();
        },
        [&] { return ended; });
  }

  Status Logs(v1::LogsRequest request,
              const std::function<void(const v1::LogChunk&)>& on_chunk) override {
    return Follow<v1::LogChunk>(
        [&](v1::JobService::Stub& jobs, grpc::ClientContext& context) {
          return jobs.Logs(&context, request);
        },
        [&](const v1::LogChunk& chunk) {
          request.set_position(chunk.next_position());
          on_chunk(chunk);
          return Status();
        },
        [] { return true; });
  }

  Status Metrics(v1::MetricsRequest request,
                 const std::function<void(const v1::MetricsChunk&)>& on_chunk) override {
    return Follow<v1::MetricsChunk>(
        [&](v1::JobService::Stub& jobs, grpc::ClientContext& context) {
          return jobs.Metrics(&context, request);
        },
        [&](const v1::MetricsChunk& chunk) {
          request.set_position(chunk.next_position());
          on_chunk(chunk);
          return Status();
        },
        [] { return true; });
  }

  Status Download(const v1::DownloadCheckpointRequest& request,
                  const std::function<Status(const v1::CheckpointChunk&)>& on_chunk) override {
    const auto open = [&](v1::JobService::Stub& jobs, grpc::ClientContext& context) {
      return jobs.DownloadCheckpoint(&context, request);
    };
    bool progress = false;
    return Explained(Stream<v1::CheckpointChunk>(open, on_chunk, progress));
  }

  Result<Line> Connect() override {
    MUSTER_RETURN_IF_ERROR(Refresh());
    const std::lock_guard lock(mutex_);
    return Line{wire::Connect(address_, connected_security_), token_};
  }
  Status Explain(Status status) const override { return Explained(std::move(status)); }

  void Interrupt() override {
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
    if (stream_ != nullptr) stream_->TryCancel();
    interrupt_.notify_all();
  }
  bool interrupted() const override { return interrupted_; }

 private:
  static v1::JobRequest JobRequest(std::uint64_t job_id) {
    v1::JobRequest request;
    request.set_job_id(job_id);
    return request;
  }

  // Why a submission is given up, and what that means when an answer to it was lost.
  static Status AfterLoss(bool lost, const v1::SubmitJobRequest& request, Status status) {
    if (!lost) return status;
    return {status.code(),
            "the job may have been submitted, but the answer was lost: " + status.message() +
                ". Once the cluster answers, `muster ps -a` lists the job if it exists; to submit "
                "it again without making a second one, add --request-id " +
                request.request_id()};
  }

  Status SubmitOnce(const v1::SubmitJobRequest& request, v1::SubmitJobResponse& response,
                    std::optional<milliseconds>& retry_after) {
    grpc::ClientContext context;
    wire::Authenticate(context, token_);
    context.set_deadline(std::chrono::system_clock::now() + kSubmitDeadline);
    Status status = wire::FromGrpc(Jobs()->SubmitJob(&context, request, &response));
    if (!IsCutOff(status)) Back();
    if (status.code() == StatusCode::kResourceExhausted) retry_after = wire::RetryAfter(context);
    return status;
  }

  // A single call about accounts. Not repeated: an answer that is lost may have happened.
  template <class Response, class Method, class Request>
  Result<Response> Ask(Method method, const Request& request) {
    std::shared_ptr<v1::PeopleService::Stub> people;
    {
      const std::lock_guard lock(mutex_);
      people = people_;
    }
    Response response;
    MUSTER_RETURN_IF_ERROR(
        Explained(wire::Call(*people, method, token_, request, response, kCallDeadline)));
    return response;
  }

  std::shared_ptr<v1::JobService::Stub> Jobs() {
    const std::lock_guard lock(mutex_);
    return jobs_;
  }

  template <class Method, class Request, class Response>
  Status Once(Method method, const Request& request, Response& response, milliseconds deadline) {
    Status status = wire::Call(*Jobs(), method, token_, request, response, deadline);
    if (!IsCutOff(status)) Back();
    return status;
  }

  // Once more where a call finds nobody and the address has changed meanwhile. A patient one waits
  // as streams do.
  template <class Method, class Request, class Response>
  Status Call(Method method, const Request& request, Response& response, bool patient = false) {
    Status status = Once(method, request, response, kCallDeadline);
    // It may be starting again: `muster up` takes about that long.
    constexpr milliseconds kReadPatience{3'000};
    constexpr milliseconds kRestart{15'000};  // Of a service that was stopped in good order.
    const milliseconds patience = patient          ? Patience()
                                  : address_given_ ? milliseconds(0)
                                                   : kReadPatience;
    const auto begin = steady_clock::now();
    while ((patient ? IsCutOff(status) : status.code() == StatusCode::kUnavailable) &&
           !interrupted() && steady_clock::now() - begin < patience &&
           (MayComeBack() || (patient && steady_clock::now() - begin < kRestart))) {
      if (patient) Away(status);
      Pause();
      static_cast<void>(Refresh(/*anew=*/true));
      status = Once(method, request, response, kCallDeadline);
    }
    return Explained(std::move(status));
  }

  // One stream until it ends. `progress`: whether anything came.
  template <class Chunk, class Open, class OnChunk>
  Status Stream(Open open, OnChunk on_chunk, bool& progress) {
    grpc::ClientContext context;
    wire::Authenticate(context, token_);
    {
      const std::lock_guard lock(mutex_);
      if (interrupted_) return {StatusCode::kCancelled, "interrupted"};
      stream_ = &context;
    }
    const std::shared_ptr<v1::JobService::Stub> jobs = Jobs();
    const auto reader = open(*jobs, context);
    Chunk chunk;
    Status refused;
    while (refused.ok() && reader->Read(&chunk)) {
      progress = true;
      Back();
      refused = on_chunk(chunk);
    }
    if (!refused.ok()) context.TryCancel();
    Status status = wire::FromGrpc(reader->Finish());
    const std::lock_guard lock(mutex_);
    stream_ = nullptr;
    if (interrupted_) return {StatusCode::kCancelled, "interrupted"};
    return refused.ok() ? std::move(status) : std::move(refused);
  }

  // A stream that is taken up again; `complete` says whether an orderly end is the end.
  template <class Chunk, class Open, class OnChunk, class Complete>
  Status Follow(Open open, OnChunk on_chunk, Complete complete) {
    auto last_word = steady_clock::now();
    while (true) {
      bool progress = false;
      Status status = Stream<Chunk>(open, on_chunk, progress);
      if (progress) last_word = steady_clock::now();
      if (interrupted()) return status;
      if (status.ok() && complete()) return {};
      if (!status.ok() && !IsCutOff(status)) return Explained(std::move(status));
      const bool patient = steady_clock::now() - last_word < Patience();
      if (!patient || !MayComeBack()) {
        return Explained(status.ok() ? Unavailable("the stream ended early") : std::move(status));
      }
      if (!status.ok()) Away(status);
      Pause();
      static_cast<void>(
          Refresh(/*anew=*/true));  // Without an address there is nothing to do but to wait.
    }
  }

  // A cluster that has never answered is more likely the wrong one than one that restarts.
  milliseconds Patience() const {
    return contacted_ ? options_.patience : std::min(options_.patience, milliseconds(10'000));
  }

  // Locally the locks tell whether somebody is there to answer, now or soon; and a coordinator that
  // was not asked to stop may have somebody (systemd, a person) who starts it again.
  bool MayComeBack() const {
    if (options_.own_cluster || address_given_) return true;
    const wire::ClusterFiles files = wire::FilesOf(options_.state);
    return LockFile::Holder(files.up_lock()) > 0 ||
           LockFile::Holder(files.coordinator_lock()) > 0 ||
           (contacted_ && !ReadFile(files.stopped(), 1).ok());
  }

  void Pause(milliseconds pause = kPause) {
    std::unique_lock lock(mutex_);
    interrupt_.wait_for(lock, pause, [&] { return interrupted_.load(); });
  }

  void Away(const Status& status) {
    if (!away_.exchange(true)) {
      on_word("the coordinator does not answer (" + Cause(status.message()) + "); waiting for it");
    }
  }
  void Back() {
    contacted_ = true;
    if (away_.exchange(false)) on_word("the coordinator is back");
  }

  std::string Remedy() const {
    const wire::ClusterFiles files = wire::FilesOf(options_.state);
    const int up = LockFile::Holder(files.up_lock());
    const int coordinator = LockFile::Holder(files.coordinator_lock());
    if (coordinator > 0) {
      return "its coordinator is process " + std::to_string(coordinator) + ", its log " +
             files.coordinator_log();
    }
    if (up > 0) {
      return "`muster up` (process " + std::to_string(up) + ") starts it again; its log is " +
             files.coordinator_log();
    }
    return "start one with `muster up`";
  }

  Status Explained(Status status) const {
    if (status.code() == StatusCode::kUnavailable ||
        status.code() == StatusCode::kDeadlineExceeded) {
      std::string where = address_given_ ? "check --address and MUSTER_ADDRESS" : Remedy();
      // What a listener with TLS does with a caller without it.
      if (address_given_ && security_.authority.empty() &&
          status.message().find("Socket closed") != std::string::npos) {
        where += "; if it listens with TLS, name its authority's certificate with --ca";
      }
      return {status.code(), "the cluster at " + address_ + " does not answer (" +
                                 Cause(status.message()) + "); " + where};
    }
    if (status.code() == StatusCode::kUnauthenticated) {
      return {status.code(), "the cluster at " + address_ + " does not know the token in " +
                                 token_file_ + " (" + status.message() +
                                 "); check --token-file and MUSTER_TOKEN_FILE"};
    }
    return status;
  }

  const ClusterOptions options_;
  const bool address_given_;
  const wire::Security security_;
  const std::string token_;
  const std::string token_file_;
  std::mutex mutex_;  // Guards the five below.
  std::condition_variable interrupt_;
  std::string address_;
  wire::Security connected_security_;
  std::shared_ptr<v1::JobService::Stub> jobs_;
  std::shared_ptr<v1::JoinService::Stub> joins_;
  std::shared_ptr<v1::PeopleService::Stub> people_;
  grpc::ClientContext* stream_ = nullptr;
  std::atomic<bool> interrupted_ = false;
  std::atomic<bool> contacted_ = false;
  std::atomic<bool> away_ = false;
};

}  // namespace

std::string NoClusterMessage(const std::string& state) {
  return "no cluster at " + state +
         ": start one with `muster up`, or name one with --address or --state";
}

Status NotYours(const std::string& state, const Status& why) {
  return {StatusCode::kPermissionDenied,
          why.message() + "; the cluster in " + state +
              " belongs to another user: ask for an account there, or name a state directory of "
              "your own with --state"};
}

namespace {

// A token never leaves this machine in the clear.
Result<wire::Security> SecurityFor(const ClusterOptions& options, const wire::ClusterFiles& files) {
  MUSTER_ASSIGN_OR_RETURN(const wire::Address address, wire::ParseAddress(options.address));
  wire::Security security;
  std::string ca_file = options.ca_file;
  if (ca_file.empty() && wire::IsLoopback(address.host)) return security;
  if (ca_file.empty()) ca_file = files.authority();
  Result<std::string> authority = ReadFile(ca_file, kPemBytesMax);
  if (authority.ok()) {
    if (!wire::CertificateSha256(*authority).ok()) {
      return InvalidArgument(ca_file + " holds no certificate in PEM form; give the cluster's " +
                             "tls/authority.pem");
    }
    security.authority = std::move(*authority);
    return security;
  }
  if (!options.ca_file.empty()) return authority.status();
  return InvalidArgument("the cluster at " + options.address +
                         " is not on this machine: name its authority's certificate with --ca or "
                         "MUSTER_CA_FILE (where the coordinator runs: tls/authority.pem in its "
                         "state directory)");
}

}  // namespace

Result<std::unique_ptr<Session>> Session::Open(const ClusterOptions& given) {
  ClusterOptions options = given;
  // A state directory that is named outweighs an address that happens to be in the environment.
  if (options.address.empty() && options.state.empty()) {
    options.address = Environment("MUSTER_ADDRESS");
  }
  if (options.token_file.empty() && given.state.empty()) {
    options.token_file = Environment("MUSTER_TOKEN_FILE");
  }
  const wire::ClusterFiles files = wire::FilesOf(options.state);
  options.state = files.state;
  const bool address_given = !options.address.empty();
  if (options.ca_file.empty() && given.state.empty()) {
    options.ca_file = Environment("MUSTER_CA_FILE");
  }
  wire::Security security;
  if (address_given) {
    MUSTER_ASSIGN_OR_RETURN(security, SecurityFor(options, files));
  }
  if (!address_given) {
    const Status readable = ReadFile(files.address(), 4096).status();
    if (readable.code() == StatusCode::kPermissionDenied) return NotYours(files.state, readable);
    if (!readable.ok()) return Unavailable(NoClusterMessage(files.state));
  }
  const bool token_given = !options.token_file.empty();
  const std::string token_file = token_given ? options.token_file : files.user_token();
  const Result<std::string> token = wire::ReadToken(token_file);
  if (!token.ok()) {
    return Status(
        StatusCode::kUnauthenticated,
        token.status().message() + (token_given ? "" : "; name a token file with --token-file"));
  }
  auto session = std::make_unique<GrpcSession>(options, address_given, std::move(security), *token,
                                               token_file);
  MUSTER_RETURN_IF_ERROR(session->Refresh());
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace muster::cli
