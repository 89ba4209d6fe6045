// The agent's heart: makes the ranks on this worker be those that the coordinator wants.
//
// One thread owns all state, starts every process (the parent-death signal follows the thread) and
// never waits for the network; everything else reaches it through a queue.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "muster/v1/agent.pb.h"
#include "worker/agent/job_data.h"
#include "worker/agent/job_folders.h"
#include "worker/agent/rank_cgroup.h"
#include "worker/agent/rank_key.h"
#include "worker/agent/rank_start.h"
#include "worker/agent/spawn.h"
#include "worker/agent/spool_forwarder.h"

namespace muster::agent {

struct SupervisorOptions {
  RankSettings ranks;
  std::vector<std::vector<int>> slot_cores;  // Cores of each slot; an empty list = any.
  std::chrono::milliseconds grace = std::chrono::milliseconds(300);   // SIGTERM to SIGKILL.
  std::chrono::milliseconds drain_on_stop = std::chrono::seconds(1);  // The most it waits.
  std::chrono::milliseconds memory_poll = std::chrono::milliseconds(500);
  // At the end: how long ranks have to stop with a checkpoint, while somebody is there to take it.
  std::chrono::milliseconds leave{0};
  std::function<bool()> coordinator_hears;
};

// What the agent reports: `version` grows with every change that is worth telling at once.
struct Reports {
  std::uint64_t version = 0;
  v1::AnswerNumber obeyed;
  bool leaving = false;
  std::vector<v1::RankReport> ranks;  // By key.
};

class Supervisor {
 public:
  // Brings the checkpoint that `desired` starts from to `directory`; runs on a thread of its own.
  using Fetch = std::function<Status(const v1::DesiredRank& desired, const std::string& directory,
                                     const std::function<bool()>& cancelled)>;
  // The job's data on this worker, on the same thread; what it brought may go after the release of
  // the attempt.
  struct Data {
    std::function<JobData(const v1::DesiredRank& desired, const std::function<bool()>& cancelled)>
        prepare;
    std::function<void(const DataCache::AttemptKey& attempt)> release;
  };

  // `changed` is called, on any thread, when Reports().version has grown. `spool` outlives this.
  Supervisor(SupervisorOptions options, SpoolForwarder& spool, Fetch fetch, Data data,
             std::function<void()> changed);
  ~Supervisor();

  // Thread-safe; they return at once.
  void Obey(v1::DesiredState state);
  // Returns whether the rank has been asked to stop.
  bool Beat(const v1::BeatRequest& beat);
  void Drained(const RankKey& rank);
  // The coordinator has been sent Reports of this version.
  void Reported(std::uint64_t version);
  Reports Latest() const;
  // Since Run, which turns at least every second, was last seen to.
  std::chrono::milliseconds SinceTurn() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - turned_at_.load());
  }

  // Ends what an earlier agent left: processes, shared memory; its spools are forwarded. Before
  // Run.
  void EndLeftovers();
  // The supervision, until `stop` (an eventfd or pipe) is readable. Then ranks are asked to stop
  // with a checkpoint, programs of the user's are ended at once, and in the end whatever is left.
  void Run(int stop);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Stage : std::uint8_t {
    kFetching,     // Waits for its checkpoint and data.
    kRunning,      // Its process lives.
    kTerminating,  // SIGTERM sent.
    kKilling,      // Whatever is alive of it is killed.
    kReleased,     // Nothing of it is left.
  };
  struct Rank {
    v1::DesiredRank desired;
    std::string cluster_id;
    Stage stage = Stage::kFetching;
    bool wanted = true;
    bool leftover = false;  // Of an earlier agent: never reported.
    bool folder_removed = false;
    v1::RankReport report;
    Spawned process;
    RankCgroup cgroup;
    int populated_scans = 0;  // In a row that found nothing though its cgroup is not empty.
    bool exited = false;      // Its first process; a zombie until everything else is gone.
    std::size_t slot = 0;
    std::uint64_t memory_mib_max = 0;
    std::string memory_why;
    std::string ended_because;
    Clock::time_point deadline;  // Of the grace; of the next scan.
    std::chrono::milliseconds scan_pause{1};
    int clean_scans = 0;
    std::uint64_t final_version = 0;  // Of the first report that says released and drained.
    Clock::time_point finished;
  };
  struct Fetching {
    std::thread thread;
    std::shared_ptr<std::atomic<bool>> cancelled;
  };
  using AttemptKey = std::pair<std::uint64_t, std::uint32_t>;

  Clock::time_point Turn() {
    const Clock::time_point now = Clock::now();
    turned_at_ = now;
    return now;
  }
  void Post(std::function<void()> work);
  void RunPosted();
  void Apply(const v1::DesiredState& state);
  void KeepJobFolders(const v1::DesiredState& state);
  std::chrono::milliseconds GraceOf(const Rank& rank) const;
  void Adopt(const v1::DesiredRank& desired, const std::string& cluster_id);
  void StartFetch(const v1::DesiredRank& desired);
  void OnFetched(const AttemptKey& attempt, const JobData& data);
  void Start(Rank& rank);
  void FindCgroups();
  void GiveUpCgroup(Rank& rank, const Status& why);
  void Fail(Rank& rank, v1::ExitKind kind, const std::string& reason);
  void End(Rank& rank);
  void NoteExit(Rank& rank);
  void Advance(Rank& rank, Clock::time_point now);
  void Kill(Rank& rank, Clock::time_point now);
  void Release(Rank& rank);
  static void RemoveSegments(const Rank& rank);
  void DropInputs(const AttemptKey& attempt);
  void WatchMemory(Clock::time_point now);
  void Forget(Clock::time_point now);
  void ReapOrphans();
  void ReapStrays();
  void Leave(Clock::time_point now);
  bool HasLeft(Clock::time_point now) const;
  void EndAll();
  bool IsOver(Clock::time_point now);
  std::size_t FreeSlot() const;
  int WaitForEvents(int stop, Clock::time_point now);
  void Publish();

  const SupervisorOptions options_;
  SpoolForwarder& spool_;
  const Fetch fetch_;
  const Data data_;
  const std::function<void()> changed_;
  FileDescriptor wake_;  // eventfd

  std::atomic<Clock::time_point> turned_at_ = Clock::now();
  mutable std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // Under the mutex.
  Reports latest_;                             // Under the mutex.
  std::set<RankKey> stop_requested_;           // Under the mutex.

  // Of Run's thread alone:
  RankCgroups cgroups_;
  JobFolders job_folders_;
  std::map<RankKey, Rank> ranks_;
  std::map<AttemptKey, Fetching> fetching_;
  v1::AnswerNumber obeyed_;
  std::uint64_t version_ = 1;
  std::uint64_t reported_ = 0;
  bool dirty_ = true;   // `latest_` is not what is.
  bool urgent_ = true;  // And the coordinator should know at once.
  Clock::time_point next_memory_poll_;
  std::optional<Clock::time_point> leave_until_;  // Was asked to end: waits for its ranks.
  bool stopping_ = false;                         // Ends them.
  std::optional<Clock::time_point> drain_until_;  // When stopping.
};

}  // namespace muster::agent
