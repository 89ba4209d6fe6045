#include "worker/tools/fake_agents.h"

#include <map>
#include <set>
#include <utility>

#include "base/uuid.h"
#include "base/version.h"
#include "wire/client_call.h"
#include "worker/tools/benchmarks.h"

namespace muster::tools {

using Clock = std::chrono::steady_clock;

// One stream. gRPC calls from its threads; one read and one write are under way at most.
class FakeAgent final : public grpc::ClientBidiReactor<v1::AgentReport, v1::DesiredState> {
 public:
  FakeAgent(FakeAgents& all, const std::string& name, unsigned slots, bool stays)
      : all_(all), stays_(stays) {
    base_.set_worker(name);
    base_.set_incarnation(NewUuid());
    base_.set_slots(slots);
    base_.set_cores_per_slot(1);
    base_.set_memory_mib_per_slot(1024);
    base_.set_host(name);
    base_.set_host_id(name);
    base_.set_version(kVersion);
    base_.set_numerics_class("bench");
    wire::Authenticate(context_, all.token_);
    all.stub_->async()->Attend(&context_, this);
    StartRead(&state_);
    StartCall();
    Report();
  }
  // Blocks until the stream is over.
  ~FakeAgent() override {
    context_.TryCancel();
    std::unique_lock lock(mutex_);
    over_.wait(lock, [this] { return done_; });
  }

  void Report() {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
    WriteIfIdle();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    {
      const std::lock_guard lock(mutex_);
      if (const auto sent = sent_.find(state_.answers()); sent != sent_.end()) {
        const std::chrono::duration<double, std::milli> took = Clock::now() - sent->second;
        sent_.erase(sent_.begin(), std::next(sent));
        const std::lock_guard outer(all_.mutex_);
        all_.answer_ms_.push_back(took.count());
      }
      Obey();
      WriteIfIdle();
    }
    StartRead(&state_);
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (ok) WriteIfIdle();
  }
  void OnDone(const grpc::Status&) override {
    const std::lock_guard lock(mutex_);
    done_ = true;
    over_.notify_all();
  }

 private:
  void Obey() {
    std::set<std::uint64_t> before, now;
    for (const v1::RankReport& rank : base_.ranks()) before.insert(rank.job_id());
    base_.clear_ranks();
    for (const v1::DesiredRank& desired : state_.ranks()) {
      v1::RankReport& rank = *base_.add_ranks();
      rank.set_job_id(desired.job_id());
      rank.set_attempt(desired.attempt());
      rank.set_rank(desired.rank());
      rank.set_pid(1);
      now.insert(desired.job_id());
      if (!before.contains(desired.job_id())) ++all_.ranks_done_;
      if (stays_) {
        rank.set_phase(v1::RANK_PHASE_RUNNING);
        continue;
      }
      rank.set_phase(v1::RANK_PHASE_EXITED);
      rank.set_exit_kind(v1::EXIT_KIND_SUCCESS);
      rank.set_released(true);
      rank.set_drained(true);
    }
    *base_.mutable_obeyed() = state_.number();
    wanted_ = wanted_ || before != now;
  }
  void WriteIfIdle() {
    if (writing_ || !wanted_) return;
    writing_ = true;
    wanted_ = false;
    base_.set_sequence(base_.sequence() + 1);
    sent_[base_.sequence()] = Clock::now();
    out_ = base_;
    StartWrite(&out_);
  }

  FakeAgents& all_;
  const bool stays_;
  grpc::ClientContext context_;
  v1::DesiredState state_;
  std::mutex mutex_;
  std::condition_variable over_;
  v1::AgentReport base_, out_;
  std::map<std::uint64_t, Clock::time_point> sent_;
  bool writing_ = false, wanted_ = false, done_ = false;
};

FakeAgents::FakeAgents(std::shared_ptr<grpc::Channel> channel, std::string token,
                       std::string prefix)
    : stub_(v1::AgentService::NewStub(std::move(channel))),
      token_(std::move(token)),
      prefix_(std::move(prefix)),
      timer_([this] { Beat(); }) {}

FakeAgents::~FakeAgents() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  timer_.join();
  agents_.clear();
}

void FakeAgents::Add(unsigned count, unsigned slots, bool stays) {
  for (unsigned i = 0; i < count; ++i) {
    const std::string name = prefix_ + std::to_string(agents_.size());
    auto agent = std::make_unique<FakeAgent>(*this, name, slots, stays);
    const std::lock_guard lock(mutex_);
    agents_.push_back(std::move(agent));
  }
}

std::vector<double> FakeAgents::TakeAnswerMs() {
  const std::lock_guard lock(mutex_);
  return std::exchange(answer_ms_, {});
}

// Each reports twice a second, as a real one; not all at once.
void FakeAgents::Beat() {
  constexpr std::size_t kTurns = 20;
  constexpr std::chrono::milliseconds kTurn(500 / kTurns);
  for (std::size_t turn = 0;; ++turn) {
    std::vector<FakeAgent*> due;
    {
      std::unique_lock lock(mutex_);
      if (wake_.wait_for(lock, kTurn, [this] { return stop_; })) return;
      for (std::size_t i = turn % kTurns; i < agents_.size(); i += kTurns) {
        due.push_back(agents_[i].get());
      }
    }
    for (FakeAgent* agent : due) agent->Report();
  }
}

}  // namespace muster::tools
