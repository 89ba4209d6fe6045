#include "worker/rank/rollout_worker.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "muster/v1/rollout.grpc.pb.h"
#include "trainer/rl/remote_rollouts.h"
#include "worker/rank/rollout_server.h"

namespace muster::rank {
namespace {

using Clock = std::chrono::steady_clock;
using LearnerStream = grpc::ClientReaderWriter<v1::RolloutReport, v1::RolloutOrder>;

constexpr std::chrono::milliseconds kInvitationWait{1'000};
constexpr std::chrono::milliseconds kRetryFirst{100};
constexpr std::chrono::milliseconds kRetryMost{2'000};

// One connection to one learner; tasks outlive it, their results are then nobody's.
struct Line {
  std::shared_ptr<rl::RolloutRunner> runner;
  std::unique_ptr<grpc::ClientContext> context = std::make_unique<grpc::ClientContext>();
  std::unique_ptr<LearnerStream> stream;
  std::mutex writing;
  bool broken = false;  // Under `writing`.
};

struct Work {
  std::shared_ptr<Line> line;
  v1::RolloutTask task;
};

// Tasks of all learners, for the threads that collect.
class Queue {
 public:
  void Push(Work work) {
    {
      const std::scoped_lock lock(mutex_);
      work_.push_back(std::move(work));
    }
    wake_.notify_one();
  }
  // Nothing once it is closed.
  std::optional<Work> Pop() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return closed_ || !work_.empty(); });
    if (closed_) return std::nullopt;
    Work work = std::move(work_.front());
    work_.pop_front();
    return work;
  }
  void Close() {
    {
      const std::scoped_lock lock(mutex_);
      closed_ = true;
    }
    wake_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Work> work_;
  bool closed_ = false;
};

void Do(const Work& work, rl::RolloutRunner::Seat& seat) {
  v1::RolloutReport report;
  v1::RolloutDone& done = *report.mutable_done();
  done.set_task(work.task.id());
  std::optional<std::string_view> state;
  if (work.task.has_state()) state = work.task.state();
  Result<rl::RolloutResult> result = work.line->runner->Run(
      seat, work.task.lane(), work.task.version(), work.task.rollouts(), state);
  if (result.ok()) {
    for (std::string& trajectory : result->trajectories) {
      done.add_trajectories(std::move(trajectory));
    }
    done.set_state(std::move(result->state));
  } else {
    done.set_error(result.status().message());
  }
  const std::scoped_lock lock(work.line->writing);
  if (!work.line->broken) work.line->broken = !work.line->stream->Write(report);
}

class RolloutWorker {
 public:
  RolloutWorker(const rl::PpoOptions& options, const RolloutWorkerOptions& worker,
                Rendezvous& rendezvous, const std::atomic<bool>& stop)
      : options_(options), worker_(worker), rendezvous_(rendezvous), stop_(stop) {}

  Status Run() {
    // What is wrong with the options is told before anything is asked for.
    MUSTER_ASSIGN_OR_RETURN(const auto tried, rl::RolloutRunner::Create(options_));
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < worker_.threads; ++i) {
      threads.emplace_back([this, &tried = *tried] { Collect(tried); });
    }
    for (std::size_t rank = 0; rank < worker_.learners; ++rank) {
      threads.emplace_back([this, rank] { Serve(static_cast<std::uint32_t>(rank)); });
    }
    while (!stop_) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    queue_.Close();
    {
      const std::scoped_lock lock(mutex_);
      for (const std::weak_ptr<Line>& each : lines_) {
        if (const auto line = each.lock()) line->context->TryCancel();
      }
    }
    for (std::thread& thread : threads) thread.join();
    return {};
  }

 private:
  void Collect(const rl::RolloutRunner& shape) {
    rl::RolloutRunner::Seat seat(shape);  // All runners' policies have one shape.
    while (const std::optional<Work> work = queue_.Pop()) {
      Do(*work, seat);
      const std::scoped_lock lock(done_mutex_);
      ++done_;
      if (worker_.done) worker_.done(done_);
    }
  }

  void Serve(std::uint32_t rank) {
    auto wait = kRetryFirst;
    while (!stop_) {
      const auto began = Clock::now();
      Attend(rank);
      if (Clock::now() - began > kRetryMost) wait = kRetryFirst;
      for (const auto until = Clock::now() + wait; !stop_ && Clock::now() < until;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      wait = std::min(2 * wait, kRetryMost);
    }
  }

  // Until the connection breaks.
  void Attend(std::uint32_t rank) {
    const Result<std::string> invitation = rendezvous_.Get(InvitationKey(rank), kInvitationWait);
    if (!invitation.ok()) return;
    const std::size_t space = invitation->find(' ');
    if (space == std::string::npos) return;
    auto runner = rl::RolloutRunner::Create(options_);
    if (!runner.ok()) return;
    const auto line = std::make_shared<Line>();
    line->runner = std::move(*runner);
    {
      const std::scoped_lock lock(mutex_);
      if (stop_) return;
      std::erase_if(lines_, [](const std::weak_ptr<Line>& each) { return each.expired(); });
      lines_.push_back(line);
    }
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel = grpc::CreateCustomChannel(invitation->substr(0, space),
                                                   grpc::InsecureChannelCredentials(), arguments);
    const auto stub = v1::RolloutService::NewStub(channel);
    line->stream = stub->Attend(line->context.get());
    v1::RolloutReport hello;
    hello.mutable_hello()->set_secret(invitation->substr(space + 1));
    hello.mutable_hello()->set_worker(worker_.worker);
    hello.mutable_hello()->set_rank(worker_.rank);
    bool open = line->stream->Write(hello);
    v1::RolloutOrder order;
    while (open && line->stream->Read(&order)) {
      if (order.has_policy()) {
        const v1::RolloutPolicy& policy = order.policy();
        const Status taken =
            line->runner->SetPolicy(policy.version(), policy.values(), policy.moments());
        if (!taken.ok()) {
          std::fprintf(stderr, "muster: learner %u: %s\n", rank, taken.message().c_str());
          break;
        }
      } else if (order.has_task()) {
        queue_.Push({line, std::move(*order.mutable_task())});
      }
    }
    line->context->TryCancel();
    const std::scoped_lock lock(line->writing);
    line->broken = true;
    (void)line->stream->Finish();
  }

  const rl::PpoOptions& options_;
  const RolloutWorkerOptions& worker_;
  Rendezvous& rendezvous_;
  const std::atomic<bool>& stop_;
  Queue queue_;
  std::mutex done_mutex_;
  std::uint64_t done_ = 0;  // Under its mutex.
  std::mutex mutex_;
  std::vector<std::weak_ptr<Line>> lines_;  // Under the mutex.
};

}  // namespace

Status CollectRollouts(const rl::PpoOptions& options, const RolloutWorkerOptions& worker,
                       Rendezvous& rendezvous, const std::atomic<bool>& stop) {
  return RolloutWorker(options, worker, rendezvous, stop).Run();
}

}  // namespace muster::rank
