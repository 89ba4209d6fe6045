#include "cli/local_cluster.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "base/check.h"
#include "cli/session.h"
#include "wire/token.h"

namespace muster::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kGrace{10'000};  // Between SIGTERM and SIGKILL.
constexpr unsigned kLeaveSeconds = 15;  // Before a worker's: for the checkpoints of its ranks.
constexpr milliseconds kWorkerGrace = kGrace + std::chrono::seconds(kLeaveSeconds);

std::uint64_t MachineMemoryMib() {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return 1024;
  return static_cast<std::uint64_t>(info.totalram) * info.mem_unit >> 20U;
}

milliseconds Since(steady_clock::time_point begin) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
}

}  // namespace

struct LocalCluster::Member {
  std::string name;  // "coordinator", "worker 0".
  std::string lock;
  std::string log;
  std::vector<std::string> arguments;
  Process process;
  BackOff back_off;
  steady_clock::time_point started;
  steady_clock::time_point next_start;
  bool surplus = false;  // Of an earlier cluster with more workers: ended, not started again.
};

milliseconds BackOff::Next(milliseconds lifetime) {
  constexpr milliseconds kFirst{100};
  constexpr milliseconds kMost{10'000};
  constexpr milliseconds kStable{30'000};
  delay_ = delay_.count() == 0 || lifetime >= kStable ? kFirst : std::min(delay_ * 2, kMost);
  return delay_;
}

Result<std::unique_ptr<LocalCluster>> LocalCluster::Start(LocalClusterOptions options) {
  const wire::ClusterFiles& files = options.files;
  MUSTER_RETURN_IF_ERROR(MakeDirectories(files.state, 0700));
  MUSTER_RETURN_IF_ERROR(MakeDirectories(files.workers(), 0700));
  MUSTER_RETURN_IF_ERROR(CheckRoomToStart(files));
  for (unsigned n = 0; n < options.workers; ++n) {
    MUSTER_RETURN_IF_ERROR(MakeDirectories(files.worker(n), 0700));
  }
  Result<LockFile> lock = LockFile::Acquire(files.up_lock());
  if (!lock.ok()) {
    if (lock.status().code() != StatusCode::kAlreadyExists) return lock.status();
    return Status(StatusCode::kAlreadyExists,
                  "a cluster already runs on " + files.state + " (" + lock.status().message() +
                      "); use it, end it with `muster down`, or choose another --state");
  }
  // Here, so that no worker starts before its token is there.
  MUSTER_RETURN_IF_ERROR(wire::ReadOrCreateToken(files.user_token()).status());
  MUSTER_RETURN_IF_ERROR(wire::ReadOrCreateToken(files.worker_token()).status());
  return std::unique_ptr<LocalCluster>(new LocalCluster(std::move(options), std::move(*lock)));
}

Status CheckRoomToStart(const wire::ClusterFiles& files) {
  // Less does not hold even the start of the coordinator's journal.
  constexpr std::uint64_t kLeastFreeBytes = 8U << 20U;
  const std::uint64_t left = FreeDiskBytes(files.state);
  if (left >= kLeastFreeBytes) return {};
  return {StatusCode::kResourceExhausted, "the disk of " + files.state + " has " +
                                              MebibytesText(left) + " left, and a cluster needs " +
                                              MebibytesText(kLeastFreeBytes) +
                                              " to start: make room there, or choose another "
                                              "--state"};
}

LocalCluster::LocalCluster(LocalClusterOptions options, LockFile lock)
    : options_(std::move(options)),
      lock_(std::move(lock)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  const wire::ClusterFiles& files = options_.files;
  const auto add = [&](Member member) {
    if (options_.end_with_me) member.arguments.emplace_back("--end-with-parent");
    members_.push_back(std::make_unique<Member>(std::move(member)));
  };
  Member coordinator;
  coordinator.name = "coordinator";
  coordinator.lock = files.coordinator_lock();
  coordinator.log = files.coordinator_log();
  coordinator.arguments = {"coordinator", "--state",     files.state, "--listen",
                           "127.0.0.1:0", "--http-port", "0"};
  add(std::move(coordinator));
  const unsigned cores = std::max(AvailableCores() / std::max(options_.workers, 1U), 1U);
  const std::uint64_t memory_mib = MachineMemoryMib() / std::max(options_.workers, 1U);
  std::vector<unsigned> numbers = WorkerNumbers(files);
  for (const unsigned n : numbers) {
    Member worker;
    worker.name = "worker " + std::to_string(n);
    worker.lock = files.worker_lock(n);
    worker.log = files.worker_log(n);
    worker.surplus = n >= options_.workers;
    worker.arguments = {"worker",
                        "--number",
                        std::to_string(n),
                        "--state",
                        files.state,
                        "--slots",
                        std::to_string(options_.slots),
                        "--cores",
                        std::to_string(cores),
                        "--memory-mib",
                        std::to_string(memory_mib),
                        "--leave-seconds",
                        std::to_string(options_.end_with_me ? 0 : kLeaveSeconds)};
    add(std::move(worker));
  }
  thread_ = std::thread([this] { Watch(); });
}

LocalCluster::~LocalCluster() { Stop(); }

void LocalCluster::Stop() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  MUSTER_CHECK(::write(wake_.get(), &one, sizeof(one)) == sizeof(one), "eventfd is full");
  thread_.join();
}

// All starting happens on this thread: a parent-death signal fires when the starting thread ends.
void LocalCluster::Watch() {
  for (const auto& member : members_) {
    member->process = Process::Holding(member->lock);
    member->started = steady_clock::now();
    if (member->process.valid()) {
      options_.say(member->name + " runs already (process " +
                   std::to_string(member->process.pid()) + ")" +
                   (member->surplus ? "; ending it" : "; taking it up"));
      if (member->surplus) member->process.Stop(kWorkerGrace);
    } else if (!member->surplus) {
      StartMember(*member);
    }
  }
  std::erase_if(members_, [](const auto& member) { return member->surplus; });
  while (true) {
    std::vector<pollfd> events = {{wake_.get(), POLLIN, 0}};
    for (const auto& member : members_) {
      if (member->process.valid()) events.push_back({member->process.descriptor(), POLLIN, 0});
    }
    ::poll(events.data(), events.size(), static_cast<int>(UntilNextStart().count()));
    if ((events[0].revents & POLLIN) != 0) break;
    for (const auto& member : members_) Check(*member);
  }
  StopMembers();
}

milliseconds LocalCluster::UntilNextStart() const {
  milliseconds wait{3'600'000};
  for (const auto& member : members_) {
    if (member->process.valid()) continue;
    const auto left =
        std::chrono::duration_cast<milliseconds>(member->next_start - steady_clock::now()) +
        milliseconds(1);
    wait = std::clamp(left, milliseconds(0), wait);
  }
  return wait;
}

void LocalCluster::Check(Member& member) {
  if (!member.process.valid()) {
    if (steady_clock::now() >= member.next_start) StartMember(member);
    return;
  }
  if (!member.process.WaitForEnd(milliseconds(0))) return;
  const milliseconds delay = member.back_off.Next(Since(member.started));
  options_.say(member.name + " (process " + std::to_string(member.process.pid()) +
               ") ended: " + member.process.ending() + "; starting it again in " +
               std::to_string(delay.count()) + " ms; its log is " + member.log);
  member.process = Process();
  member.next_start = steady_clock::now() + delay;
}

void LocalCluster::StartMember(Member& member) {
  member.started = steady_clock::now();
  RotateLog(member.log);
  Result<Process> process = Process::Start(member.arguments, member.log);
  if (process.ok()) {
    member.process = std::move(*process);
    return;
  }
  const milliseconds delay = member.back_off.Next(milliseconds(0));
  options_.say(process.status().message() + "; trying again in " + std::to_string(delay.count()) +
               " ms");
  member.next_start = steady_clock::now() + delay;
}

// Workers first, so that they can still tell the coordinator what they release.
void LocalCluster::StopMembers() {
  for (std::size_t i = 1; i < members_.size(); ++i) {
    members_[i]->process.Signal(SIGTERM);
    members_[i]->process.Signal(SIGCONT);
  }
  const auto deadline = steady_clock::now() + kWorkerGrace;
  for (std::size_t i = 1; i < members_.size(); ++i) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
    members_[i]->process.Stop(std::max(left, milliseconds(0)));
  }
  members_[0]->process.Stop(kGrace);
}

Status WaitUntilReady(const wire::ClusterFiles& files, unsigned slots, milliseconds timeout,
                      const std::function<bool()>& stop) {
  const auto begin = steady_clock::now();
  while (Since(begin) < timeout) {
    if (stop()) return {StatusCode::kCancelled, "interrupted"};
    Result<std::unique_ptr<Session>> session = Session::Open(ClusterOptions{{}, {}, files.state});
    if (session.ok()) {
      const Result<v1::InfoResponse> info = (*session)->Info();
      if (info.ok() && info->slots() >= slots) return {};
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  std::string why = "the cluster at " + files.state + " is not ready after " +
                    std::to_string(timeout.count() / 1'000) +
                    " s; its coordinator's last words:\n" + LastLines(files.coordinator_log(), 3);
  // It may be well, and the workers not.
  for (const unsigned n : WorkerNumbers(files)) {
    why += "\nand those of worker " + std::to_string(n) + ":\n" + LastLines(files.worker_log(n), 2);
    if (n >= 1) break;  // Others say the same.
  }
  return {StatusCode::kDeadlineExceeded, why};
}

Result<unsigned> StopCluster(const wire::ClusterFiles& files) {
  const Status readable = ReadFile(files.up_lock(), 4096).status();
  if (readable.code() == StatusCode::kPermissionDenied) return NotYours(files.state, readable);
  unsigned ended = 0;
  Process supervisor = Process::Holding(files.up_lock());
  if (supervisor.valid()) {
    ++ended;
    supervisor.Stop(kWorkerGrace + 2 * kGrace);  // Its workers', its coordinator's, its own.
  }
  std::vector<Process> left;
  for (const unsigned n : WorkerNumbers(files))
    left.push_back(Process::Holding(files.worker_lock(n)));
  left.push_back(Process::Holding(files.coordinator_lock()));
  // The coordinator last: workers tell it what they release.
  for (std::size_t i = 0; i + 1 < left.size(); ++i) left[i].Signal(SIGTERM);
  for (Process& process : left) {
    if (!process.valid()) continue;
    ++ended;
    process.Stop(kWorkerGrace);
  }
  std::vector<std::string> locks = {files.up_lock(), files.coordinator_lock()};
  for (const unsigned n : WorkerNumbers(files)) locks.push_back(files.worker_lock(n));
  for (const std::string& lock : locks) {
    if (const int pid = LockFile::Holder(lock); pid > 0) {
      return Internal("process " + std::to_string(pid) + " still holds " + lock +
                      "; it could not be ended");
    }
  }
  return ended;
}

std::vector<unsigned> WorkerNumbers(const wire::ClusterFiles& files) {
  std::vector<unsigned> numbers;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(files.workers(), ignored)) {
    const std::string name = entry.path().filename();
    const bool number = !name.empty() && name.size() < 6 &&
                        name.find_first_not_of("0123456789") == std::string::npos;
    if (number) numbers.push_back(static_cast<unsigned>(std::stoul(name)));
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

unsigned AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return static_cast<unsigned>(std::max(CPU_COUNT(&set), 1));
}

}  // namespace muster::cli
