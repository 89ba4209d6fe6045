#include "worker/rank/agent_client.h"

#include <algorithm>
#include <utility>

#include "wire/client_call.h"

namespace muster::rank {

constexpr std::chrono::milliseconds kBeatInterval(500);
constexpr std::chrono::milliseconds kBeatDeadline(2'000);

AgentClient::AgentClient(const v1::RankAssignment& assignment, Orphaned orphaned)
    : assignment_(assignment),
      orphaned_(std::move(orphaned)),
      stub_(v1::RankService::NewStub(wire::Connect(assignment.agent_address()))),
      coordinator_seen_(std::chrono::steady_clock::now()),
      stop_requested_(assignment.desired().stop_requested()) {
  progress_.set_job_id(assignment.desired().job_id());
  progress_.set_attempt(assignment.desired().attempt());
  progress_.set_rank(assignment.desired().rank());
  progress_.set_phase(v1::RANK_PHASE_STARTING);
  progress_.set_steps_done(assignment.desired().resume_step());
  thread_ = std::thread([this] { BeatLoop(); });
}

AgentClient::~AgentClient() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void AgentClient::SetProgress(v1::RankPhase phase, std::uint64_t steps_done,
                              std::uint64_t steps_total) {
  const std::lock_guard lock(mutex_);
  if (progress_.phase() != phase || progress_.steps_total() != steps_total) {
    changed_ = true;
    wake_.notify_all();
  }
  const auto now = std::chrono::steady_clock::now();
  if (steps_done > progress_.steps_done() && progress_.phase() == phase) {
    const auto took = std::chrono::ceil<std::chrono::milliseconds>(now - step_began_);
    progress_.set_step_ms(std::max<std::int64_t>(progress_.step_ms(), took.count()));
  }
  step_began_ = now;
  progress_.set_phase(phase);
  progress_.set_steps_done(steps_done);
  progress_.set_steps_total(steps_total);
}

void AgentClient::NoteSave(std::chrono::milliseconds took) {
  const std::lock_guard lock(mutex_);
  progress_.set_save_ms(std::max<std::int64_t>(took.count(), 1));
}

Status AgentClient::Beat() {
  v1::BeatRequest request;
  {
    const std::lock_guard lock(mutex_);
    request = progress_;
    changed_ = false;
  }
  v1::BeatResponse response;
  // The answer may have been held up on its way; the question came before it was made.
  const auto asked = std::chrono::steady_clock::now();
  MUSTER_RETURN_IF_ERROR(
      wire::Call(*stub_, &v1::RankService::Stub::Beat, "", request, response, kBeatDeadline));
  if (response.stop_requested()) stop_requested_ = true;
  const std::lock_guard lock(mutex_);
  coordinator_seen_ = asked - std::chrono::milliseconds(response.coordinator_silence_ms());
  return {};
}

void AgentClient::BeatLoop() {
  while (true) {
    // An agent that does not answer (it may be stopped) leaves the silence growing.
    (void)Beat().ok();
    std::unique_lock lock(mutex_);
    const auto silence = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - coordinator_seen_);
    if (silence.count() > assignment_.orphan_timeout_ms()) {
      orphaned_(silence, progress_.steps_done());
    }
    wake_.wait_for(lock, kBeatInterval, [this] { return stop_ || changed_; });
    if (stop_) {
      const bool untold = changed_;
      lock.unlock();
      // A job that is over in milliseconds would otherwise never have said how long it is.
      if (untold) (void)Beat().ok();
      return;
    }
  }
}

Status AgentClient::Publish(v1::PublishRequest request) {
  request.set_job_id(assignment_.desired().job_id());
  request.set_attempt(assignment_.desired().attempt());
  v1::PublishResponse response;
  grpc::ClientContext context;  // Without a deadline: the coordinator may be away for long.
  return wire::FromGrpc(stub_->Publish(&context, request, &response));
}

Status AgentClient::Put(const std::string& key, std::string_view value) {
  v1::PutRequest request;
  request.set_job_id(assignment_.desired().job_id());
  request.set_attempt(assignment_.desired().attempt());
  request.set_key(key);
  request.set_value(value.data(), value.size());
  v1::PutResponse response;
  grpc::ClientContext context;
  return wire::FromGrpc(stub_->Put(&context, request, &response)).During("put " + key);
}

Result<std::string> AgentClient::Get(const std::string& key, std::chrono::milliseconds timeout) {
  v1::GetRequest request;
  request.set_job_id(assignment_.desired().job_id());
  request.set_attempt(assignment_.desired().attempt());
  request.set_key(key);
  request.set_timeout_ms(static_cast<std::uint32_t>(timeout.count()));
  v1::GetResponse response;
  grpc::ClientContext context;
  Status status = wire::FromGrpc(stub_->Get(&context, request, &response));
  if (!status.ok()) return std::move(status).During("get " + key);
  return std::move(*response.mutable_value());
}

Status AgentRendezvous::Put(const std::string& key, std::string_view bytes) {
  return agent_.Put(key, bytes);
}

Result<std::string> AgentRendezvous::Get(const std::string& key,
                                         std::chrono::milliseconds timeout) {
  return agent_.Get(key, timeout);
}

}  // namespace muster::rank
