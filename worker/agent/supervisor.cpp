#include "worker/agent/supervisor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <set>
#include <utility>

#include "wire/attempt_name.h"
#include "worker/agent/folders.h"
#include "worker/agent/log.h"
#include "worker/agent/machine.h"
#include "worker/agent/process_tree.h"

namespace muster::agent {
namespace {

// How often an agent that leaves looks whether the coordinator is still there.
constexpr std::chrono::milliseconds kLeavePoll(200);

}  // namespace

Supervisor::Supervisor(SupervisorOptions options, SpoolForwarder& spool, Fetch fetch, Data data,
                       std::function<void()> changed)
    : options_(std::move(options)),
      spool_(spool),
      fetch_(std::move(fetch)),
      data_(std::move(data)),
      changed_(std::move(changed)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      job_folders_(options_.ranks.worker_directory) {
  MUSTER_CHECK(!options_.slot_cores.empty(), "an agent has at least one slot");
}

Supervisor::~Supervisor() {
  for (auto& [attempt, fetching] : fetching_) {
    *fetching.cancelled = true;
    fetching.thread.join();
  }
}

void Supervisor::Post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t wrote = ::write(wake_.get(), &one, sizeof(one));
}

void Supervisor::RunPosted() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof(count));
  std::vector<std::function<void()>> posted;
  {
    const std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  for (const std::function<void()>& work : posted) work();
}

void Supervisor::Obey(v1::DesiredState state) {
  Post([this, state = std::move(state)] { Apply(state); });
}

bool Supervisor::Beat(const v1::BeatRequest& beat) {
  Post([this, beat] {
    const auto found = ranks_.find(KeyOf(beat));
    if (found == ranks_.end() || found->second.exited) return;
    v1::RankReport& report = found->second.report;
    if (report.phase() != beat.phase() && beat.phase() != v1::RANK_PHASE_UNSPECIFIED) {
      report.set_phase(beat.phase());
      urgent_ = true;
    }
    report.set_steps_done(beat.steps_done());
    report.set_steps_total(beat.steps_total());
    report.set_save_ms(beat.save_ms());
    report.set_step_ms(beat.step_ms());
    dirty_ = true;
  });
  const std::lock_guard lock(mutex_);
  return stop_requested_.contains(KeyOf(beat));
}

void Supervisor::Drained(const RankKey& key) {
  Post([this, key] {
    const auto found = ranks_.find(key);
    if (found == ranks_.end()) return;
    found->second.report.set_drained(true);
    dirty_ = urgent_ = true;
  });
}

void Supervisor::Reported(std::uint64_t version) {
  Post([this, version] { reported_ = std::max(reported_, version); });
}

Reports Supervisor::Latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

void Supervisor::EndLeftovers() {
  const std::string folder = options_.ranks.worker_directory + "/ranks";
  FindCgroups();
  if (const int ended = EndTagged(options_.ranks.tag + "/", folder + "/"); ended > 0) {
    Log("ended " + std::to_string(ended) + " processes that an earlier agent had left");
  }
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string path = entry->path();
    v1::RankAssignment assignment;
    const Result<std::string> bytes = ReadFile(path + "/assignment.pb");
    if (!bytes.ok() || !assignment.ParseFromString(*bytes)) {
      RemoveFolder(path);
      continue;
    }
    const RankKey key = KeyOf(assignment.desired());
    Rank& rank = ranks_[key];
    rank.desired = assignment.desired();
    rank.cluster_id = assignment.cluster_id();
    RemoveSegments(rank);
    rank.stage = Stage::kReleased;
    rank.exited = rank.leftover = true;
    rank.wanted = false;
    rank.report.set_released(true);
    RemoveSubfolders(path);
    spool_.Add(key, path);
    spool_.Close(key);
  }
  RemoveFolder(options_.ranks.worker_directory + "/resume");
  RemoveFolder(options_.ranks.worker_directory + "/shipped");
}

// An earlier agent may have run in another cgroup than this one: where it had those of its ranks
// stands in a file.
void Supervisor::FindCgroups() {
  const std::string prefix = RankCgroups::Prefix(options_.ranks.tag);
  const std::string record = options_.ranks.worker_directory + "/cgroup";
  const Result<std::string> before = ReadFile(record, 4096);
  int ended = before.ok() ? EndCgroups(*before, prefix) : 0;
  const Result<RankCgroups> found = RankCgroups::Detect(options_.ranks.tag);
  if (found.ok()) {
    cgroups_ = *found;
    ended += EndCgroups(cgroups_.parent(), prefix);
    const std::string& missing = cgroups_.no_memory_limit();
    Log("each rank has a cgroup in " + cgroups_.parent() +
        (missing.empty() ? "" : "; its memory is polled: " + missing));
    const Status kept = before.ok() && *before == cgroups_.parent()
                            ? Status()
                            : WriteFileAtomically(record, cgroups_.parent());
    if (!kept.ok()) Log(kept.message());
  } else {
    Log("ranks have no cgroups, only /proc tells what they start: " + found.status().message());
  }
  if (ended > 0)
    Log("removed " + std::to_string(ended) + " cgroups that an earlier agent had left");
}

// What is left of the rank is found in /proc alone.
void Supervisor::GiveUpCgroup(Rank& rank, const Status& why) {
  Log(KeyOf(rank.desired).Describe() + " has no cgroup: " + why.message());
  [[maybe_unused]] const Status removed = rank.cgroup.Remove();
  rank.cgroup = RankCgroup();
}

void Supervisor::Apply(const v1::DesiredState& state) {
  // The coordinator does not know yet that this agent ends, and would have ranks started again.
  if (stopping_) return;
  const auto number = [](const v1::AnswerNumber& n) { return std::pair(n.epoch(), n.n()); };
  if (number(state.number()) <= number(obeyed_)) return;
  obeyed_ = state.number();
  dirty_ = true;  // Not urgent: every report is answered, and would be reported again at once.
  std::set<RankKey> desired;
  for (const v1::DesiredRank& rank : state.ranks()) desired.insert(KeyOf(rank));
  for (auto& [key, rank] : ranks_) {
    if (!rank.wanted || desired.contains(key)) continue;
    rank.wanted = false;
    urgent_ = true;
    if (!rank.exited) Log(key.Describe() + " is no longer wanted");
    End(rank);
  }
  for (const v1::DesiredRank& rank : state.ranks()) {
    // It may not know yet that this agent leaves.
    if (!leave_until_ && !ranks_.contains(KeyOf(rank))) Adopt(rank, state.cluster_id());
  }
  {
    const std::lock_guard lock(mutex_);
    if (!leave_until_) stop_requested_.clear();
    for (const v1::DesiredRank& rank : state.ranks()) {
      if (rank.stop_requested()) stop_requested_.insert(KeyOf(rank));
    }
  }
  KeepJobFolders(state);
}

void Supervisor::KeepJobFolders(const v1::DesiredState& state) {
  std::set<std::uint64_t> jobs(state.live_jobs().begin(), state.live_jobs().end());
  for (const auto& [key, rank] : ranks_) {
    if (rank.stage != Stage::kReleased) jobs.insert(key.job);
    if (rank.desired.spec().has_command()) job_folders_.Note(key.job);
  }
  job_folders_.Keep(jobs);
}

// A program of the user's may have more to do at its end than a recipe. While this agent is awaited
// itself it gets no more than half of the time that its leaving may take.
std::chrono::milliseconds Supervisor::GraceOf(const Rank& rank) const {
  const std::chrono::milliseconds when_stopping =
      std::max<std::chrono::milliseconds>(std::chrono::seconds(1), options_.leave / 2);
  if (!rank.desired.spec().has_command()) return options_.grace;
  const std::chrono::milliseconds asked =
      std::chrono::seconds(rank.desired.spec().command().grace_seconds());
  return stopping_ || leave_until_ ? std::min(asked, when_stopping) : asked;
}

void Supervisor::Adopt(const v1::DesiredRank& desired, const std::string& cluster_id) {
  const std::size_t slot = FreeSlot();
  Rank& rank = ranks_[KeyOf(desired)];
  rank.desired = desired;
  rank.cluster_id = cluster_id;
  rank.slot = slot;
  rank.report.set_job_id(desired.job_id());
  rank.report.set_attempt(desired.attempt());
  rank.report.set_rank(desired.rank());
  rank.report.set_phase(v1::RANK_PHASE_STARTING);
  if (desired.has_resume_step()) rank.report.set_steps_done(desired.resume_step());
  if (desired.has_resume_step() || NamesData(desired.spec())) {
    StartFetch(desired);
  } else {
    Start(rank);
  }
}

std::size_t Supervisor::FreeSlot() const {
  std::vector<std::size_t> uses(options_.slot_cores.size());
  for (const auto& [key, rank] : ranks_) {
    if (rank.stage != Stage::kReleased) ++uses[rank.slot];
  }
  return static_cast<std::size_t>(std::min_element(uses.begin(), uses.end()) - uses.begin());
}

void Supervisor::StartFetch(const v1::DesiredRank& desired) {
  const AttemptKey attempt = {desired.job_id(), desired.attempt()};
  if (fetching_.contains(attempt)) return;  // One fetch serves all ranks of the attempt here.
  Fetching& fetching = fetching_[attempt];
  fetching.cancelled = std::make_shared<std::atomic<bool>>(false);
  const std::string directory = ResumeFolder(options_.ranks, KeyOf(desired));
  fetching.thread =
      std::thread([this, desired, directory, attempt, cancelled = fetching.cancelled] {
        const auto unwanted = [cancelled] { return cancelled->load(); };
        JobData data;
        if (desired.has_resume_step()) {
          data.status =
              fetch_(desired, directory, unwanted)
                  .During("fetch the checkpoint of step " + std::to_string(desired.resume_step()));
        }
        if (data.status.ok()) data = data_.prepare(desired, unwanted);
        Post([this, attempt, data = std::move(data)] { OnFetched(attempt, data); });
      });
}

void Supervisor::OnFetched(const AttemptKey& attempt, const JobData& data) {
  const auto fetching = fetching_.find(attempt);
  fetching->second.thread.join();
  fetching_.erase(fetching);
  for (auto& [key, rank] : ranks_) {
    if (AttemptKey(key.job, key.attempt) != attempt || rank.stage != Stage::kFetching) continue;
    if (data.status.ok()) {
      *rank.desired.mutable_spec() = data.spec;
      Start(rank);
    } else {
      Fail(rank, data.own_failure ? v1::EXIT_KIND_OWN_FAILURE : v1::EXIT_KIND_INFRASTRUCTURE,
           data.status.message());
    }
  }
  DropInputs(attempt);
}

void Supervisor::Start(Rank& rank) {
  const RankKey key = KeyOf(rank.desired);
  Result<SpawnOptions> prepared =
      PrepareRank(options_.ranks, rank.desired, rank.cluster_id, options_.slot_cores[rank.slot]);
  if (!prepared.ok()) {
    const bool own = prepared.status().code() == StatusCode::kInvalidArgument;
    Fail(rank, own ? v1::EXIT_KIND_OWN_FAILURE : v1::EXIT_KIND_INFRASTRUCTURE,
         prepared.status().message());
    return;
  }
  rank.memory_mib_max = MemoryLimit(options_.ranks, rank.desired.spec(), rank.memory_why);
  const Result<RankCgroup> cgroup = cgroups_.Make(key, rank.memory_mib_max);
  if (cgroup.ok()) {
    rank.cgroup = *cgroup;
    prepared->cgroup = rank.cgroup.path();
  } else {
    GiveUpCgroup(rank, cgroup.status());
  }
  Result<Spawned> spawned = Spawn(*prepared);
  if (!spawned.ok()) {
    [[maybe_unused]] const Status removed = rank.cgroup.Remove();
    Fail(rank, v1::EXIT_KIND_INFRASTRUCTURE, spawned.status().message());
    return;
  }
  rank.process = std::move(*spawned);
  rank.stage = Stage::kRunning;
  if (!rank.process.cgroup.ok()) GiveUpCgroup(rank, rank.process.cgroup);
  rank.report.set_pid(rank.process.pid);
  dirty_ = urgent_ = true;
  spool_.Add(key, RankFolder(options_.ranks, key));
  Log(key.Describe() + " started as process " + std::to_string(rank.process.pid));
}

// The end of a rank that never had a process.
void Supervisor::Fail(Rank& rank, v1::ExitKind kind, const std::string& reason) {
  rank.stage = Stage::kReleased;
  rank.exited = true;
  rank.report.set_phase(v1::RANK_PHASE_EXITED);
  rank.report.set_exit_kind(kind);
  rank.report.set_exit_reason(reason);
  rank.report.set_exit_step(rank.report.steps_done());
  rank.report.set_released(true);
  rank.report.set_drained(true);
  dirty_ = urgent_ = true;
  Log(KeyOf(rank.desired).Describe() + " cannot start: " + reason);
}

void Supervisor::Publish() {
  if (!dirty_) return;
  dirty_ = false;
  Reports reports;
  if (urgent_) ++version_;
  reports.version = version_;
  reports.obeyed = obeyed_;
  reports.leaving = leave_until_.has_value();
  for (const auto& [key, rank] : ranks_) {
    if (!rank.leftover) reports.ranks.push_back(rank.report);
  }
  {
    const std::lock_guard lock(mutex_);
    latest_ = std::move(reports);
  }
  if (std::exchange(urgent_, false)) changed_();
}

int Supervisor::WaitForEvents(int stop, Clock::time_point now) {
  std::vector<pollfd> events = {{stop, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  Clock::time_point next = now + std::chrono::seconds(1);
  for (const auto& [key, rank] : ranks_) {
    const bool lives = rank.stage != Stage::kReleased && rank.stage != Stage::kFetching;
    if (lives && !rank.exited) events.push_back({rank.process.pidfd.get(), POLLIN, 0});
    if (rank.stage == Stage::kTerminating || rank.stage == Stage::kKilling) {
      next = std::min(next, rank.deadline);
    }
    if (rank.stage == Stage::kRunning) next = std::min(next, next_memory_poll_);
  }
  if (leave_until_ && !stopping_) next = std::min(next, now + kLeavePoll);
  if (drain_until_ && *drain_until_ > Clock::now()) next = std::min(next, *drain_until_);
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
  ::poll(events.data(), events.size(), static_cast<int>(std::max<std::int64_t>(wait, 0)));
  return events[0].revents;
}

// The ranks are asked here and not by the coordinator alone, which may be away: all ranks of a gang
// stop when one is asked to.
void Supervisor::Leave(Clock::time_point now) {
  leave_until_ = now + options_.leave;
  dirty_ = urgent_ = true;
  std::size_t asked = 0;
  for (auto& [key, rank] : ranks_) {
    const bool runs = rank.stage == Stage::kRunning;
    if (!runs || rank.desired.spec().has_command() || IsRolloutWorker(rank.desired)) {
      End(rank);
      continue;
    }
    ++asked;
    const std::lock_guard lock(mutex_);
    stop_requested_.insert(key);
  }
  if (asked > 0)
    Log("asked to end; waits for the checkpoints of " + std::to_string(asked) + " ranks");
}

bool Supervisor::HasLeft(Clock::time_point now) const {
  if (now >= *leave_until_ || !options_.coordinator_hears || !options_.coordinator_hears()) {
    return true;
  }
  return std::all_of(ranks_.begin(), ranks_.end(), [](const auto& entry) {
    const Rank& rank = entry.second;
    return rank.stage == Stage::kReleased && (rank.leftover || rank.report.drained());
  });
}

void Supervisor::EndAll() {
  for (auto& [key, rank] : ranks_) {
    rank.wanted = false;
    End(rank);
  }
}

// Whether a supervision that was asked to stop may: nothing is left, and what the ranks wrote last
// has been forwarded, unless that takes too long.
bool Supervisor::IsOver(Clock::time_point now) {
  bool drained = true;
  for (const auto& [key, rank] : ranks_) {
    if (rank.stage != Stage::kReleased) return false;
    drained = drained && (rank.leftover || rank.report.drained());
  }
  if (!drain_until_) drain_until_ = now + options_.drain_on_stop;
  return drained || now >= *drain_until_;
}

void Supervisor::Run(int stop) {
  Publish();
  while (true) {
    const bool asked = WaitForEvents(leave_until_ ? -1 : stop, Clock::now()) != 0;
    RunPosted();
    const Clock::time_point now = Turn();
    if (asked) Leave(now);
    if (leave_until_ && !stopping_ && HasLeft(now)) {
      stopping_ = true;
      EndAll();
    }
    for (auto& [key, rank] : ranks_) Advance(rank, now);
    WatchMemory(now);
    Forget(now);
    ReapStrays();
    Publish();
    if (stopping_ && IsOver(now)) return;
  }
}

}  // namespace muster::agent
