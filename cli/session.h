// The connection of a command to its cluster: finds it, calls it, goes on after it was away.
#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "muster/v1/cluster.pb.h"
#include "muster/v1/join.pb.h"
#include "muster/v1/people.pb.h"

namespace muster::cli {

// Which cluster is meant. The environment stands in for what is empty.
struct ClusterOptions {
  std::string address;     // MUSTER_ADDRESS, else the address file of the state directory.
  std::string token_file;  // MUSTER_TOKEN_FILE, else user.token of the state directory.
  std::string state;       // MUSTER_STATE, else the default state directory.
  // MUSTER_CA_FILE, else the authority of the state directory: whom to trust beyond this machine.
  std::string ca_file{};
  // How long a stream, or a submission, waits for a cluster that has gone away before it gives up.
  // Where nothing on this machine can bring it back, nobody waits.
  std::chrono::milliseconds patience{120'000};
  // The caller supervises the cluster itself: it always comes back.
  bool own_cluster = false;
};

// Thread-safe, except that one stream is followed at a time.
class Session {
 public:
  // Finds address and token; connects later. kUnavailable when there is no cluster to be found,
  // kUnauthenticated without a token that can be read. Messages say what to do.
  static Result<std::unique_ptr<Session>> Open(const ClusterOptions& options);
  virtual ~Session() = default;

  // Single calls. kUnavailable names the address; kNotFound the job.
  virtual Result<v1::InfoResponse> Info() = 0;
  virtual Result<std::vector<v1::JobInfo>> ListJobs(bool all) = 0;
  virtual Result<v1::JobInfo> GetJob(std::uint64_t job_id) = 0;
  virtual Result<v1::JobState> CancelJob(std::uint64_t job_id) = 0;
  // Into another numerics class, when its own has gone.
  virtual Result<v1::JobState> ResumeJob(std::uint64_t job_id) = 0;
  // `patient`: as long as streams wait for a cluster that is away.
  virtual Result<std::vector<v1::NodeInfo>> ListNodes(bool patient = false) = 0;
  virtual Result<v1::NodeInfo> DrainWorker(const v1::DrainWorkerRequest& request) = 0;
  virtual Result<v1::NodeInfo> ResumeWorker(const std::string& worker) = 0;
  virtual Result<v1::NewJoinTokenResponse> NewJoinToken(std::uint32_t hours) = 0;
  // Accounts; kPermissionDenied unless an administrator asks (or of own tokens).
  virtual Result<v1::UserInfo> AddUser(const v1::AddUserRequest& request) = 0;
  virtual Result<v1::UserInfo> SetUser(const v1::SetUserRequest& request) = 0;
  virtual Result<v1::ListUsersResponse> ListUsers() = 0;
  virtual Result<v1::AddTokenResponse> AddToken(const v1::AddTokenRequest& request) = 0;
  virtual Result<v1::ListTokensResponse> ListTokens(const std::string& user) = 0;
  virtual Result<v1::TokenInfo> RevokeToken(const std::string& user, std::uint64_t id) = 0;
  // One request id (empty = a new one), sent again while the answer stays out: the job exists once.
  // A cluster that asks to wait, since the user calls too often, is asked once more.
  virtual Result<std::uint64_t> Submit(const v1::JobSpec& spec, const std::string& request_id) = 0;

  // Streams. They end with OK at the server's end, kCancelled after Interrupt(), kUnavailable when
  // the cluster stayed away for longer than the patience; until then they are taken up again where
  // they broke off, so nothing is given to the callback twice.
  virtual Status Watch(std::uint64_t job_id,
                       const std::function<void(const v1::JobInfo&)>& on_change) = 0;
  virtual Status Logs(v1::LogsRequest request,
                      const std::function<void(const v1::LogChunk&)>& on_chunk) = 0;
  virtual Status Metrics(v1::MetricsRequest request,
                         const std::function<void(const v1::MetricsChunk&)>& on_chunk) = 0;
  // Not taken up again: a half-fetched checkpoint is worthless. Ends at the callback's first error.
  virtual Status Download(const v1::DownloadCheckpointRequest& request,
                          const std::function<Status(const v1::CheckpointChunk&)>& on_chunk) = 0;

  // A connection of the caller's own to where the cluster is now, and the token for its calls; for
  // services that this class does not know.
  struct Line {
    std::shared_ptr<grpc::Channel> channel;
    std::string token;
  };
  virtual Result<Line> Connect() = 0;
  // A status of a call over it, with what to do when nobody answers.
  virtual Status Explain(Status status) const = 0;

  // Ends the stream that is being followed and all later ones. From any thread.
  virtual void Interrupt() = 0;
  virtual bool interrupted() const = 0;

  // Told once when the cluster goes away ("...") and once when it is back.
  std::function<void(const std::string&)> on_word = [](const std::string&) {};
};

// A state directory that may not be read; `why` names the file.
Status NotYours(const std::string& state, const Status& why);

// "no cluster at STATE: ..." and what to do.
std::string NoClusterMessage(const std::string& state);

}  // namespace muster::cli
