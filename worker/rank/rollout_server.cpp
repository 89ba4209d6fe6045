#include "worker/rank/rollout_server.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/sha256.h"
#include "muster/v1/rollout.grpc.pb.h"
#include "wire/address.h"
#include "wire/printable.h"
#include "wire/token.h"

namespace muster::rank {
namespace {

using OrderPtr = std::shared_ptr<const v1::RolloutOrder>;
using WorkerStream = grpc::ServerReaderWriter<v1::RolloutOrder, v1::RolloutReport>;

constexpr int kMessageBytesMax = 512 << 20;
constexpr int kPingMillis = 1'000;
constexpr int kPingTimeoutMillis = 5'000;
// A task that so many workers were lost with is done here.
constexpr int kTriesMax = 3;

// A worker that attends. Under the server's mutex.
struct Attendant {
  std::string name;
  std::deque<OrderPtr> orders;  // Not yet written.
  bool gone = false;
  OrderPtr policy;                           // The newest it was sent.
  std::set<std::uint64_t> tasks;             // That it owes.
  std::set<std::uint64_t> late;              // Of those: taken back, for it took too long.
  std::map<std::size_t, std::string> lanes;  // Where it left them.
};

struct Task {
  std::uint64_t id = 0;
  rl::RolloutTask what;  // What is left of it, in an asynchronous job.
  int tries = 0;
  bool over = false;                  // Asynchronous: nobody does it.
  std::shared_ptr<Attendant> worker;  // Null: done, or given up.
  std::optional<rl::RolloutResult> result;
};

class Server final : public RolloutServer, public v1::RolloutService::Service {
 public:
  explicit Server(const RolloutServerOptions& options) : options_(options) {}
  ~Server() override {
    {
      const std::scoped_lock lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  Status Listen() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(wire::Address{options_.host, 0}.Text(),
                             grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    builder.SetMaxReceiveMessageSize(kMessageBytesMax);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMillis);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMillis);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return Unavailable("cannot listen on " + options_.host + " for rollout workers");
    }
    return {};
  }

  std::string Invitation() const override {
    return wire::Address{options_.host, static_cast<std::uint16_t>(port_)}.Text() + " " + secret_;
  }

  // ---- The trainer's thread.

  std::size_t workers() const override {
    const std::scoped_lock lock(mutex_);
    return attendants_.size();
  }

  void SetPolicy(std::uint64_t version, std::span<const float> values,
                 const rl::NormalizerMoments& moments) override {
    auto order = std::make_shared<v1::RolloutOrder>();
    order->mutable_policy()->set_version(version);
    order->mutable_policy()->set_values(values.data(), values.size_bytes());
    order->mutable_policy()->set_moments(rl::BytesOf(moments));
    const std::scoped_lock lock(mutex_);
    policy_ = std::move(order);
    if (!options_.asynchronous) return;  // It goes before the next task.
    for (const std::shared_ptr<Attendant>& each : attendants_) {
      std::erase_if(each->orders, [](const OrderPtr& old) { return old->has_policy(); });
      each->orders.push_front(policy_);
      each->policy = policy_;
    }
    changed_.notify_all();
  }

  bool Begin(rl::RolloutTask what) override {
    const std::scoped_lock lock(mutex_);
    const std::size_t lane = what.lane;
    Task& task = tasks_[lane];
    task = Task{};
    task.id = ++tasks_begun_;
    task.what = std::move(what);
    if (Give(task)) return true;
    tasks_.erase(lane);
    return false;
  }

  std::optional<rl::RolloutResult> Finish(std::size_t lane) override {
    std::unique_lock lock(mutex_);
    const auto found = tasks_.find(lane);
    if (found == tasks_.end()) return std::nullopt;
    Task& task = found->second;
    while (!task.result && task.worker != nullptr) {
      if (!task.worker->gone) {
        changed_.wait(lock);
      } else if (!Give(task)) {  // To another one, if there is one.
        break;
      }
    }
    std::optional<rl::RolloutResult> result = std::move(task.result);
    tasks_.erase(found);
    return result;
  }

  bool RunAhead(rl::RolloutTask what) override {
    const std::scoped_lock lock(mutex_);
    const std::size_t lane = what.lane;
    const auto [found, fresh] = tasks_.try_emplace(lane);
    Task& task = found->second;
    if (task.over) return false;
    if (fresh) {
      task.what = std::move(what);
      if (GiveNext(task)) return true;
      tasks_.erase(lane);
      return false;
    }
    task.what.rollouts += what.rollouts;
    if (task.worker == nullptr && !GiveNext(task)) GiveUp(task);
    return true;
  }

  std::vector<rl::RolloutArrival> Arrived(std::chrono::milliseconds most) override {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, most, [this] { return !arrivals_.empty(); });
    std::vector<rl::RolloutArrival> arrivals = std::exchange(arrivals_, {});
    for (const rl::RolloutArrival& each : arrivals) {
      if (!each.result) tasks_.erase(each.lane);
    }
    return arrivals;
  }

  void TakeBack(std::size_t lane) override {
    const std::scoped_lock lock(mutex_);
    const auto found = tasks_.find(lane);
    if (found == tasks_.end()) return;
    const Task& task = found->second;
    if (task.worker != nullptr) task.worker->late.insert(task.id);
    std::erase_if(arrivals_, [&](const rl::RolloutArrival& each) { return each.lane == lane; });
    tasks_.erase(found);
  }

  // ---- A thread of gRPC's for each worker.

  grpc::Status Attend(grpc::ServerContext* /*context*/, WorkerStream* stream) override {
    v1::RolloutReport report;
    if (!stream->Read(&report) || report.hello().secret().size() != secret_.size() ||
        !wire::TokenMatches(report.hello().secret(), secret_digest_)) {
      return {grpc::StatusCode::UNAUTHENTICATED, "this learner is another attempt's"};
    }
    const auto attendant = std::make_shared<Attendant>();
    attendant->name = wire::Printable(report.hello().worker()) + ", rank " +
                      std::to_string(report.hello().rank());
    std::thread writer([&] { Write(*attendant, *stream); });
    Note("rollout worker on " + attendant->name + " is here");
    {
      const std::scoped_lock lock(mutex_);
      if (!ending_) attendants_.push_back(attendant);
    }
    while (stream->Read(&report)) {
      if (!report.has_done()) break;
      Take(*attendant, *report.mutable_done());
    }
    {
      const std::scoped_lock lock(mutex_);
      attendant->gone = true;
      std::erase(attendants_, attendant);
      for (auto& [lane, task] : tasks_) {
        if (!options_.asynchronous || task.worker != attendant) continue;
        if (!Give(task)) GiveUp(task);
      }
    }
    changed_.notify_all();
    writer.join();
    Note("rollout worker on " + attendant->name + " has gone");
    return grpc::Status::OK;
  }

 private:
  void Note(const std::string& sentence) const {
    if (options_.note) options_.note(sentence);
  }

  // The next of its rollouts, as a task of its own to who does it. False: nobody. Under the mutex.
  bool GiveNext(Task& task) {
    task.id = ++tasks_begun_;
    task.tries = 0;
    return Give(task);
  }

  void GiveUp(Task& task) {
    task.over = true;
    task.worker.reset();
    arrivals_.push_back({task.what.lane, std::nullopt});
  }

  // Whom the task goes to now; false: nobody. Under the mutex.
  bool Give(Task& task) {
    task.worker.reset();
    if (task.tries == kTriesMax || policy_ == nullptr) return false;
    ++task.tries;
    const std::size_t lane = task.what.lane;
    const std::size_t fair =
        (options_.lanes + attendants_.size() - 1) / std::max<std::size_t>(attendants_.size(), 1);
    std::shared_ptr<Attendant> idlest;
    for (const std::shared_ptr<Attendant>& each : attendants_) {
      if (!each->late.empty()) continue;
      if (each->lanes.contains(lane) && each->tasks.size() < fair) task.worker = each;
      if (idlest == nullptr || each->tasks.size() < idlest->tasks.size()) idlest = each;
    }
    if (task.worker == nullptr) task.worker = idlest;
    if (task.worker == nullptr) return false;
    Attendant& worker = *task.worker;
    if (worker.policy != policy_) {
      worker.policy = policy_;
      worker.orders.push_back(policy_);
    }
    auto order = std::make_shared<v1::RolloutOrder>();
    v1::RolloutTask& asked = *order->mutable_task();
    asked.set_id(task.id);
    asked.set_lane(static_cast<std::uint32_t>(lane));
    asked.set_version(policy_->policy().version());
    asked.set_rollouts(options_.asynchronous ? 1U : static_cast<std::uint32_t>(task.what.rollouts));
    const auto known = worker.lanes.find(lane);
    if (known == worker.lanes.end() || known->second != task.what.state) {
      asked.set_state(task.what.state);
    }
    worker.lanes.erase(lane);  // Unknown until it is back.
    worker.tasks.insert(task.id);
    worker.orders.push_back(std::move(order));
    changed_.notify_all();
    return true;
  }

  void Take(Attendant& worker, v1::RolloutDone& done) {
    {
      const std::scoped_lock lock(mutex_);
      if (worker.tasks.erase(done.task()) == 0) return;
      worker.late.erase(done.task());
      for (auto& [lane, task] : tasks_) {
        if (task.id != done.task() || task.worker.get() != &worker) continue;
        if (!done.error().empty()) {
          // It is done here, where an error ends the job with its reason.
          Note("rollout worker on " + worker.name + ": lane " + std::to_string(lane) + ": " +
               wire::Printable(done.error()));
          task.worker.reset();
          if (options_.asynchronous) GiveUp(task);
          break;
        }
        rl::RolloutResult result;
        for (std::string& trajectory : *done.mutable_trajectories()) {
          result.trajectories.push_back(std::move(trajectory));
        }
        result.state = std::move(*done.mutable_state());
        worker.lanes[lane] = result.state;
        if (options_.asynchronous) {
          TakeNext(task, std::move(result));
        } else {
          task.result = std::move(result);
        }
        break;
      }
    }
    changed_.notify_all();
  }

  // One rollout of an asynchronous job; its collector goes on with the lane.
  void TakeNext(Task& task, rl::RolloutResult result) {
    task.what.state = result.state;
    arrivals_.push_back({task.what.lane, std::move(result)});
    task.worker.reset();
    if (--task.what.rollouts > 0 && !GiveNext(task)) GiveUp(task);
  }

  void Write(Attendant& worker, WorkerStream& stream) {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return worker.gone || ending_ || !worker.orders.empty(); });
      if (worker.gone || ending_) return;
      const OrderPtr order = std::move(worker.orders.front());
      worker.orders.pop_front();
      lock.unlock();
      const bool written = stream.Write(*order);
      lock.lock();
      if (!written) return;  // The reader learns of it too.
    }
  }

  const RolloutServerOptions options_;
  const std::string secret_ = wire::NewToken();
  const std::string secret_digest_ = Sha256Of(secret_);
  int port_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;                                 // Under the mutex, like what follows.
  std::vector<std::shared_ptr<Attendant>> attendants_;  // As they came.
  OrderPtr policy_;
  std::uint64_t tasks_begun_ = 0;
  std::map<std::size_t, Task> tasks_;  // By lane.
  std::vector<rl::RolloutArrival> arrivals_;
  std::unique_ptr<grpc::Server> server_;  // Its threads end before all of that goes.
};

}  // namespace

Result<std::unique_ptr<RolloutServer>> RolloutServer::Start(const RolloutServerOptions& options) {
  auto server = std::make_unique<Server>(options);
  MUSTER_RETURN_IF_ERROR(server->Listen());
  return std::unique_ptr<RolloutServer>(std::move(server));
}

std::string InvitationKey(std::uint32_t rank) { return "rollouts/" + std::to_string(rank); }

}  // namespace muster::rank
