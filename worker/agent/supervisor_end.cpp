// How a supervisor's ranks end: asked, killed, released, forgotten.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>

#include "wire/attempt_name.h"
#include "worker/agent/exit_verdict.h"
#include "worker/agent/folders.h"
#include "worker/agent/log.h"
#include "worker/agent/machine.h"
#include "worker/agent/memory_use.h"
#include "worker/agent/process_tree.h"
#include "worker/agent/supervisor.h"

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

}  // namespace

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
  RemoveSegments(rank);
  rank.stage = Stage::kReleased;
  rank.process.lifeline = FileDescriptor();
  rank.process.pidfd = FileDescriptor();
  rank.report.set_released(true);
  dirty_ = urgent_ = true;
  spool_.Close(key);
  // Checkpoints that it had not published are nobody's any more, and may be large.
  RemoveSubfolders(RankFolder(options_.ranks, key));
  DropInputs({key.job, key.attempt});
}

// The shared memory of its attempt, which is the gang's: on this host it may go on under another
// agent when a rollout worker has ended.
void Supervisor::RemoveSegments(const Rank& rank) {
  if (IsRolloutWorker(rank.desired)) return;
  const RankKey key = KeyOf(rank.desired);
  RemoveSharedMemory(wire::SharedMemoryPrefix(rank.cluster_id, key.job, key.attempt));
}

// What the attempt's ranks here started from, once none of them needs it.
void Supervisor::DropInputs(const AttemptKey& attempt) {
  const bool needed = std::any_of(ranks_.begin(), ranks_.end(), [&attempt](const auto& entry) {
    return AttemptKey(entry.first.job, entry.first.attempt) == attempt &&
           entry.second.stage != Stage::kReleased;
  });
  if (needed || fetching_.contains(attempt)) return;
  const RankKey any = {attempt.first, attempt.second, 0};
  RemoveFolder(ResumeFolder(options_.ranks, any));
  RemoveFolder(WorkFolder(options_.ranks.worker_directory, any));
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
      RemoveFolder(WorkFolder(options_.ranks.worker_directory, key));
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

}  // namespace muster::agent
