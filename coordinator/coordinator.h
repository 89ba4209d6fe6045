// The coordinator without its doors: every call becomes an event on one loop, which drives the
// scheduler, journals what it decides, and only then answers.
//
// Every method may be called from any thread. `done` runs on the loop's thread once everything the
// answer tells is durable; it must not block. When the queue is full `done` runs at once with
// kResourceExhausted.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/content.h"
#include "coordinator/event_loop.h"
#include "coordinator/http/metrics.h"
#include "coordinator/job_claim.h"
#include "coordinator/job_table.h"
#include "coordinator/journal/journal.h"
#include "coordinator/people.h"
#include "coordinator/rendezvous_board.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/service/worker_certificates.h"
#include "coordinator/store/checkpoint_store.h"
#include "coordinator/store/record_log.h"
#include "muster/v1/agent.pb.h"
#include "muster/v1/cluster.pb.h"
#include "muster/v1/join.pb.h"
#include "muster/v1/people.pb.h"
#include "wire/tls.h"

namespace muster::coordinator {

// The way to one connected agent.
class AgentLink {
 public:
  virtual ~AgentLink() = default;
  // Sends it, unless a newer one comes before that is possible. Does not block.
  virtual void Send(v1::DesiredState state) = 0;
  virtual void Close(Status why) = 0;
};

struct CoordinatorOptions {
  std::string directory;  // Journal, logs and checkpoints.
  Millis worker_timeout_ms = 3'000;
  std::uint64_t store_bytes_max = 0;  // Of data; 0 = 80 % of the disk that is free at the start.
  wire::KeyPair authority{};          // For workers that join; empty = none can.
  // These two are filled from the journal and kept up to date; null = its own.
  std::shared_ptr<WorkerCertificates> certificates{};
  std::shared_ptr<People> people{};
  std::vector<std::string> reserved_names{};  // That no user may have.
};

// What an owner's jobs hold, as limits count it.
struct OwnerLoad {
  std::uint32_t running = 0;
  std::uint32_t slots = 0;
  std::uint32_t queued = 0;
};

template <class T>
using Done = std::function<void(T)>;

// A job's records as a reader needs them.
struct JobRecords {
  std::shared_ptr<RecordLog> log;
  std::vector<JournaledAttempt> attempts;  // So far; ask again after a rewind.
};

class Coordinator {
 public:
  // Opens the journal and takes up what it holds; ends leftovers of a crash.
  static Result<std::unique_ptr<Coordinator>> Open(CoordinatorOptions options);
  ~Coordinator();
  void Start();
  // Answers those who wait for something that will not come any more. Before the servers end.
  void AnswerWaiting();
  void Stop();

  // People. A job that a claim does not reach: kNotFound.
  void Submit(const std::string& owner, const v1::SubmitJobRequest& request,
              Done<Result<JobId>> done);
  void GetJob(const JobClaim& job, Done<Result<v1::JobInfo>> done);
  // With `only_of` the jobs of that owner, and of others' those that have not ended, as entries of
  // the queue: id, state, ranks.
  void ListJobs(bool all, const std::string& only_of, Done<std::vector<v1::JobInfo>> done);
  void Cancel(const JobClaim& job, const std::string& who, Done<Result<v1::JobState>> done);
  // Lets a job that has no live attempt go on in another numerics class. kFailedPrecondition while
  // one is live or once the job has ended.
  void AllowNewNumerics(const JobClaim& job, const std::string& who,
                        Done<Result<v1::JobState>> done);
  // Calls `changed` now and after changes, at most ten times a second, until it returns false.
  // A job that is not known: once, with kNotFound.
  void Watch(const JobClaim& job, std::function<bool(Result<v1::JobInfo>)> changed);
  void ListNodes(Done<v1::ListNodesResponse> done);
  // Takes a worker out of service, as Scheduler::SetDrain says, and back into it. kNotFound;
  // kFailedPrecondition when it is not drained.
  void DrainWorker(const v1::DrainWorkerRequest& request, const std::string& who,
                   Done<Result<v1::NodeInfo>> done);
  void ResumeWorker(const v1::ResumeWorkerRequest& request, Done<Result<v1::NodeInfo>> done);
  void Records(const JobClaim& job, v1::Stream stream, Done<Result<JobRecords>> done);
  // The folder of a checkpoint; without `step` the newest.
  void FindCheckpoint(const JobClaim& job, std::optional<std::uint64_t> step,
                      Done<Result<std::pair<v1::CheckpointBegin, std::string>>> done);
  void Info(Done<v1::InfoResponse> done);

  // Accounts (accounts.cpp).
  void AddUser(const v1::AddUserRequest& request, Done<Result<v1::UserInfo>> done);
  void SetUser(const v1::SetUserRequest& request, Done<Result<v1::UserInfo>> done);
  void ListUsers(const v1::ListUsersRequest& request, Done<Result<v1::ListUsersResponse>> done);
  void AddToken(const v1::AddTokenRequest& request, Done<Result<v1::AddTokenResponse>> done);
  void ListTokens(const v1::ListTokensRequest& request, Done<Result<v1::ListTokensResponse>> done);
  void RevokeToken(const v1::RevokeTokenRequest& request, Done<Result<v1::TokenInfo>> done);
  // Data. The store itself needs no event.
  Content& content() { return *content_; }
  void NameData(const std::string& owner, const v1::NameDataRequest& request,
                Done<Result<v1::DataInfo>> done);
  // `only_of`: whose name it must be; empty = anybody's.
  void RemoveData(const std::optional<std::string>& only_of, const std::string& name,
                  Done<Status> done);

  // Agents. `worker`: whose certificate the caller has shown. It may speak of ranks that are placed
  // on it, or were in their attempt, and of no others: kPermissionDenied. Empty = one with the
  // cluster's own token, which is trusted.
  void OnReport(const std::shared_ptr<AgentLink>& link, v1::AgentReport report);
  void OnLinkClosed(const std::shared_ptr<AgentLink>& link);
  void Append(const WorkerName& worker, v1::AppendRequest request,
              Done<Result<std::uint64_t>> done);
  Result<std::unique_ptr<CheckpointUpload>> BeginUpload(const v1::CheckpointBegin& begin);
  void Publish(const WorkerName& worker, std::shared_ptr<CheckpointUpload> upload,
               v1::CheckpointBegin begin, Done<Status> done);
  void Put(const WorkerName& worker, v1::PutRequest request, Done<Status> done);
  void Get(const WorkerName& worker, v1::GetRequest request, Done<Result<std::string>> done);

  // Workers that join.
  void NewJoinToken(std::uint32_t hours, Done<Result<v1::NewJoinTokenResponse>> done);
  void Join(const v1::JoinRequest& request, Done<Result<v1::JoinResponse>> done);

  // False when the loop has not turned for 5 s.
  bool Healthy() const;
  Metrics& metrics() { return metrics_; }

 private:
  struct Worker {
    std::shared_ptr<AgentLink> link;
    v1::AgentReport last;  // Without its ranks.
  };
  struct Watcher {
    JobId job = 0;
    std::string sent;  // What it was told last.
    Millis sent_at = 0;
    std::function<bool(Result<v1::JobInfo>)> changed;
  };

  Coordinator(CoordinatorOptions options, std::unique_ptr<Journal> journal);
  Status Restore();
  void AfterBatch();
  void Fatal(const Status& status);
  // For journal writes: an error ends the process, since memory is then ahead of the journal.
  void Must(const Status& status);
  void Reply(std::function<void()> reply) { replies_.push_back(std::move(reply)); }

  Job* Find(const JobClaim& claim);
  Status RestorePeople();
  Status RestoreDrains();
  v1::NodeInfo DescribeNode(const WorkerView& view, Millis now) const;
  Result<v1::NodeInfo> FindNode(const WorkerName& name) const;
  void TakeUser(const JournaledUser& user);
  OwnerLoad LoadOf(const std::string& owner);
  // That the owner's limits leave room for a job of so many ranks in the queue.
  Status CheckLimits(const std::string& owner, std::uint32_t ranks);
  v1::UserInfo DescribeUser(const JournaledUser& user);
  template <class Response, class Handle>
  void Account(Done<Result<Response>> done, Handle handle);
  v1::JobInfo DescribeHidden(const Job& job) const;

  Result<v1::JoinResponse> HandleJoin(const v1::JoinRequest& request);
  void EndSession(const WorkerName& worker);
  // `resolved`: the request's spec with its data named by hashes.
  Result<JobId> Admit(const std::string& owner, const v1::SubmitJobRequest& request,
                      const Result<v1::JobSpec>& resolved);
  Status OpenContent();
  // Has everything removed that no name and no live job refers to.
  void SweepContent();
  // Any rank of the attempt, or this one.
  Status CheckPlaced(const WorkerName& worker, const AttemptId& attempt,
                     std::optional<std::uint32_t> rank = std::nullopt);
  static bool IsRolloutWorker(const Job& job, std::uint32_t rank);
  static void NoteRolloutWorker(Job& job, const RankId& id, const WorkerName& worker);
  // That the number was given to this worker; kNotFound when it is not known whose it is.
  static Status CheckRolloutWorker(const WorkerName& worker, const Job& job, const RankId& id);
  bool HasRolloutWorker(const WorkerName& worker, const AttemptId& attempt);
  // That the attempt may commit, and the worker speak of it.
  Status CheckCurrent(const WorkerName& worker, const AttemptId& attempt);
  void Register(const std::shared_ptr<AgentLink>& link, const v1::AgentReport& report);
  void HandleReport(const std::shared_ptr<AgentLink>& link, const v1::AgentReport& report);
  Result<std::uint64_t> HandleAppend(const WorkerName& worker, const v1::AppendRequest& request);
  Status HandlePublish(const WorkerName& worker, CheckpointUpload& upload,
                       const v1::CheckpointBegin& begin);
  void RemoveSuperfluous(Job& job);
  void Apply(const Decision& decision);
  // Sends the desired state to every worker that has reported or whose state has changed.
  void AnswerWorkers();
  v1::DesiredRank DescribeRank(const RankId& id);
  void DescribeStart(const Job& job, v1::DesiredRank& rank) const;
  void TellWatchers();
  void UpdateGauges();
  v1::JobInfo Describe(Job& job);
  static v1::RankInfo DescribePlace(const Job& job, std::uint32_t rank, const WorkerName& worker);
  // Gives up the newest checkpoint when its files differ from its manifest.
  void DropDamagedCheckpoint(Job& job);
  Status CheckRoomFor(std::uint64_t bytes) const;
  // For people: whether the attempt's checkpoint has to wait.
  void NoteUpload(const AttemptId& attempt, const Status& outcome);
  // That the workers that are known could hold it, all busy or not.
  Status CheckFit(const v1::Resources& resources) const;

  CoordinatorOptions options_;
  std::unique_ptr<Journal> journal_;
  std::shared_ptr<People> people_;
  Scheduler scheduler_;
  JobTable jobs_;
  CheckpointStore store_;
  std::unique_ptr<Content> content_;
  RendezvousBoard board_;
  Metrics metrics_;
  std::map<WorkerName, Worker> workers_;
  std::vector<Watcher> watchers_;
  std::set<JobId> commands_;  // [command] jobs that have had an attempt and have not ended.
  std::vector<std::function<void()>> replies_;  // After the commit.
  std::set<WorkerName> to_answer_;              // Have reported in this batch.
  Millis gauges_at_ = 0;
  std::atomic<Millis> turned_at_ = 0;
  EventLoop sweeper_;  // Removes data that nothing refers to.
  EventLoop loop_;     // Last: its thread ends before anything else goes.
};

}  // namespace muster::coordinator
