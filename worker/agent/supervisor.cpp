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
#include "worker/agent/exit_verdict.h"
#include "worker/agent/log.h"
#include "worker/agent/machine.h"
#include "worker/agent/memory_use.h"
#include "worker/agent/process_tree.h"

namespace muster::agent {
namespace {

// How long the report of a rank that is over is repeated after it was sent once.
constexpr std::chrono::seconds kRepeatFinal(2);

// Scans, up to 50 ms apart, that may find nothing of a rank while its cgroup is not empty.
constexpr int kPopulatedScans = 100;

std::optional<v1::RankExit> ReadExitReport(const std::string& folder) {
  const Result<std::string> bytes = ReadFile(folder + "/exit.pb", 1U << 20U);
  v1::RankExit report;
  if (!bytes.ok() || !report.ParseFromString(*bytes)) return std::nullopt;
  return report;
}

void RemoveFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) Log("cannot remove " + path + ": " + error.message());
}

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
    RemoveSharedMemory(wire::SharedMemoryPrefix(assignment.cluster_id(), key.job, key.attempt));
    Rank& rank = ranks_[key];
    rank.desired = assignment.desired();
    rank.stage = Stage::kReleased;
    rank.exited = rank.leftover = true;
    rank.wanted = false;
    rank.report.set_released(true);
    spool_.Add(key, path);
    spool_.Close(key);
  }
  RemoveFolder(options_.ranks.worker_directory + "/resume");
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
    if (!ranks_.contains(KeyOf(rank))) Adopt(rank, state.cluster_id());
  }
  {
    const std::lock_guard lock(mutex_);
    stop_requested_.clear();
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

// A program of the user's may have more to do at its end than a recipe, but not while this agent
// is awaited itself.
std::chrono::milliseconds Supervisor::GraceOf(const Rank& rank) const {
  constexpr std::chrono::milliseconds kWhenStopping(1'000);
  if (!rank.desired.spec().has_command()) return options_.grace;
  const std::chrono::milliseconds asked =
      std::chrono::seconds(rank.desired.spec().command().grace_seconds());
  return stopping_ ? std::min(asked, kWhenStopping) : asked;
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

void Supervisor::End(Rank& rank) {
  if (rank.stage == Stage::kFetching) {
    Fail(rank, v1::EXIT_KIND_INFRASTRUCTURE, "no longer wanted");
    const RankKey key = KeyOf(rank.desired);
    const bool others = std::any_of(ranks_.begin(), ranks_.end(), [&key](const auto& entry) {
      return entry.first.job == key.job && entry.first.attempt == key.attempt &&
             entry.second.stage == Stage::kFetching;
    });
    const auto fetching = fetching_.find({key.job, key.attempt});
    if (!others && fetching != fetching_.end()) *fetching->second.cancelled = true;
  } else if (rank.stage == Stage::kRunning) {
    ::kill(-rank.process.pid, SIGTERM);
    rank.stage = Stage::kTerminating;
    rank.deadline = Clock::now() + GraceOf(rank);
  }
}

void Supervisor::NoteExit(Rank& rank) {
  siginfo_t info = {};
  // WNOWAIT: it stays a zombie, so that its number, which is also that of its session, is not
  // given to another process while we look for the rest of the session.
  const auto pid = static_cast<id_t>(rank.process.pid);
  if (::waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
  const std::string folder = RankFolder(options_.ranks, KeyOf(rank.desired));
  ExitFacts facts;
  facts.signaled = info.si_code != CLD_EXITED;
  facts.status = info.si_status;
  facts.report = ReadExitReport(folder);
  facts.last_log_line = LastLine(folder + "/log");
  facts.disk_full = DiskIsFull(options_.ranks.worker_directory);
  const MemoryEvents memory =
      facts.signaled && facts.status == SIGKILL ? rank.cgroup.memory_events() : MemoryEvents();
  facts.machine_out_of_memory = memory.killed > 0 && memory.at_limit == 0;
  if (memory.killed > 0 && memory.at_limit > 0 && rank.ended_because.empty()) {
    rank.ended_because = "rank " + std::to_string(rank.desired.rank()) +
                         " was killed by the kernel for holding more than " + rank.memory_why;
  }
  facts.ended_because = rank.ended_because;
  facts.steps_done = rank.report.steps_done();
  const v1::RankExit verdict = JudgeExit(facts);
  rank.exited = true;
  rank.stage = Stage::kKilling;
  rank.deadline = Clock::now();
  rank.report.set_phase(v1::RANK_PHASE_EXITED);
  rank.report.set_exit_kind(verdict.kind());
  rank.report.set_exit_reason(verdict.reason());
  rank.report.set_exit_step(verdict.step());
  if (verdict.has_exit_code()) rank.report.set_exit_code(verdict.exit_code());
  if (verdict.kind() == v1::EXIT_KIND_SUCCESS) rank.report.set_steps_done(verdict.step());
  dirty_ = urgent_ = true;
  Log(KeyOf(rank.desired).Describe() +
      " ended: " + (verdict.kind() == v1::EXIT_KIND_SUCCESS ? "success" : verdict.reason()));
}

void Supervisor::Advance(Rank& rank, Clock::time_point now) {
  if (rank.stage == Stage::kReleased || rank.stage == Stage::kFetching) return;
  if (!rank.exited) NoteExit(rank);
  if (rank.stage == Stage::kTerminating && now >= rank.deadline) {
    rank.stage = Stage::kKilling;
    rank.deadline = now;
  }
  if (rank.stage == Stage::kKilling && now >= rank.deadline) Kill(rank, now);
}

// One round: everything alive of the rank is stopped, so that it cannot fork, then killed.
void Supervisor::Kill(Rank& rank, Clock::time_point now) {
  RankTree tree;
  tree.agent = ::getpid();
  tree.root = rank.process.pid;
  tree.tag = RankTag(options_.ranks, KeyOf(rank.desired));
  for (const auto& [key, other] : ranks_) {
    if (other.stage != Stage::kRunning && other.stage != Stage::kTerminating) continue;
    if (&other != &rank) tree.live[other.process.pid] = RankTag(options_.ranks, key);
  }
  rank.cgroup.Kill();
  constexpr int kRounds = 20;
  std::set<pid_t> stopped;
  for (int round = 0; round < kRounds; ++round) {
    bool any_new = false;
    for (const ProcessInfo& process : ProcessesOf(tree, ListProcesses())) {
      if (!stopped.insert(process.pid).second) continue;
      any_new = true;
      ::kill(process.pid, SIGSTOP);
    }
    if (!any_new) break;
  }
  for (const pid_t pid : stopped) ::kill(pid, SIGKILL);
  // A scan is no snapshot: only two in a row without a find prove that there is nothing.
  const bool populated = rank.cgroup.Populated();
  rank.clean_scans = stopped.empty() && !populated ? rank.clean_scans + 1 : 0;
  rank.populated_scans = stopped.empty() && populated ? rank.populated_scans + 1 : 0;
  if (rank.populated_scans == kPopulatedScans) {
    GiveUpCgroup(rank, Internal(rank.cgroup.path() + " does not empty, and /proc shows nothing"));
  }
  if (rank.clean_scans == 0) {
    rank.deadline = now + rank.scan_pause;
    rank.scan_pause = std::min(rank.scan_pause * 2, std::chrono::milliseconds(50));
  }
  if (rank.clean_scans >= 2 && rank.exited) Release(rank);
}

void Supervisor::Release(Rank& rank) {
  const RankKey key = KeyOf(rank.desired);
  ::waitpid(rank.process.pid, nullptr, 0);
  ReapOrphans();
  if (const Status removed = rank.cgroup.Remove(); !removed.ok()) Log(removed.message());
  RemoveSharedMemory(wire::SharedMemoryPrefix(rank.cluster_id, key.job, key.attempt));
  rank.stage = Stage::kReleased;
  rank.process.lifeline = FileDescriptor();
  rank.process.pidfd = FileDescriptor();
  rank.report.set_released(true);
  dirty_ = urgent_ = true;
  spool_.Close(key);
}

void Supervisor::WatchMemory(Clock::time_point now) {
  if (now < next_memory_poll_) return;
  next_memory_poll_ = now + options_.memory_poll;
  for (auto& [key, rank] : ranks_) {
    if (rank.stage != Stage::kRunning || rank.memory_mib_max == 0) continue;
    if (rank.cgroup.limits_memory()) continue;
    const std::uint64_t held = MemoryBeyond(rank.process.pid, rank.memory_mib_max);
    if (held == 0) continue;
    rank.ended_because = "rank " + std::to_string(key.rank) + " held " + std::to_string(held) +
                         " MiB, more than " + rank.memory_why;
    ::kill(rank.process.pid, SIGKILL);
    rank.stage = Stage::kKilling;
    rank.deadline = now;
  }
}

void Supervisor::Forget(Clock::time_point now) {
  for (auto it = ranks_.begin(); it != ranks_.end();) {
    Rank& rank = it->second;
    const RankKey key = it->first;
    const bool over = !rank.wanted && rank.stage == Stage::kReleased && rank.report.drained();
    if (over && !rank.folder_removed) {
      spool_.Remove(key);
      RemoveFolder(RankFolder(options_.ranks, key));
      rank.folder_removed = true;
      rank.final_version = version_ + (urgent_ ? 1 : 0);
      rank.finished = now;
    }
    if (over && reported_ < rank.final_version) rank.finished = now;
    if (!over || (!rank.leftover && now < rank.finished + kRepeatFinal)) {
      ++it;
      continue;
    }
    it = ranks_.erase(it);
    const bool last = std::none_of(ranks_.begin(), ranks_.end(), [&key](const auto& entry) {
      return entry.first.job == key.job && entry.first.attempt == key.attempt;
    });
    if (last && !fetching_.contains({key.job, key.attempt})) {
      data_.release({key.job, key.attempt});
      RemoveFolder(ResumeFolder(options_.ranks, key));
    }
    dirty_ = true;
  }
}

// Processes that a rank left behind and that have ended. A rank's own first process is kept until
// its rank is released.
void Supervisor::ReapOrphans() {
  std::set<pid_t> kept;
  for (const auto& [key, rank] : ranks_) {
    if (rank.stage != Stage::kReleased && rank.process.pid != 0) kept.insert(rank.process.pid);
  }
  const pid_t self = ::getpid();
  if (kept.empty()) {
    while (::waitpid(-1, nullptr, WNOHANG) > 0) continue;
    return;
  }
  for (const ProcessInfo& process : ListProcesses()) {
    if (process.parent == self && process.state == 'Z' && !kept.contains(process.pid)) {
      ::waitpid(process.pid, nullptr, WNOHANG);
    }
  }
}

// The same while ranks run on, without a look at all processes unless there is something to reap.
void Supervisor::ReapStrays() {
  siginfo_t info = {};
  if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
  for (const auto& [key, rank] : ranks_) {
    if (rank.stage != Stage::kReleased && rank.process.pid == info.si_pid) return;
  }
  ReapOrphans();
}

void Supervisor::Publish() {
  if (!dirty_) return;
  dirty_ = false;
  Reports reports;
  if (urgent_) ++version_;
  reports.version = version_;
  reports.obeyed = obeyed_;
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
  if (drain_until_ && *drain_until_ > Clock::now()) next = std::min(next, *drain_until_);
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
  ::poll(events.data(), events.size(), static_cast<int>(std::max<std::int64_t>(wait, 0)));
  return events[0].revents;
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
    const bool asked = WaitForEvents(stopping_ ? -1 : stop, Clock::now()) != 0;
    if (asked && !std::exchange(stopping_, true)) EndAll();
    RunPosted();
    const Clock::time_point now = Clock::now();
    for (auto& [key, rank] : ranks_) Advance(rank, now);
    WatchMemory(now);
    Forget(now);
    ReapStrays();
    Publish();
    if (stopping_ && IsOver(now)) return;
  }
}

}  // namespace muster::agent
