#include "worker/agent/coordinator_link.h"

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "wire/client_call.h"
#include "wire/cluster_files.h"

namespace muster::agent {

using Clock = std::chrono::steady_clock;

CoordinatorLink::CoordinatorLink(std::string address, std::string address_file, std::string token,
                                 wire::Security security)
    : address_(std::move(address)),
      address_file_(std::move(address_file)),
      token_(std::move(token)),
      security_(std::move(security)),
      heard_(Clock::now().time_since_epoch().count()),
      answered_(heard_.load()) {}

Status CoordinatorLink::Connect() {
  std::string address = address_;
  bool secure = true;
  if (address.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const wire::Endpoint endpoint, wire::ReadEndpoint(address_file_));
    address = endpoint.address;
    secure = endpoint.tls;
  }
  const wire::Security security = secure ? security_ : wire::Security();
  auto control = v1::AgentService::NewStub(wire::Connect(address, security));
  const auto bulk_channel = wire::Connect(address, security);
  auto bulk = v1::AgentService::NewStub(bulk_channel);
  const std::lock_guard lock(mutex_);
  bulk_channel_ = bulk_channel;
  control_ = std::move(control);
  bulk_ = std::move(bulk);
  return {};
}

std::shared_ptr<CoordinatorLink::Stub> CoordinatorLink::control() const {
  const std::lock_guard lock(mutex_);
  return control_;
}

std::shared_ptr<CoordinatorLink::Stub> CoordinatorLink::bulk() const {
  const std::lock_guard lock(mutex_);
  return bulk_;
}

std::shared_ptr<grpc::Channel> CoordinatorLink::bulk_channel() const {
  const std::lock_guard lock(mutex_);
  return bulk_channel_;
}

void CoordinatorLink::Heard() { heard_ = Clock::now().time_since_epoch().count(); }

std::chrono::milliseconds CoordinatorLink::Silence() const {
  const Clock::time_point heard{Clock::duration(heard_.load())};
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - heard);
}

void CoordinatorLink::Answered(Clock::time_point asked) {
  answered_ = std::max(answered_.load(), asked.time_since_epoch().count());
}

std::chrono::milliseconds CoordinatorLink::SinceAnswered() const {
  const Clock::time_point asked{Clock::duration(answered_.load())};
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - asked);
}

bool CoordinatorLink::IsAway(StatusCode code) {
  // CANCELLED, INTERNAL and UNKNOWN (2) are how a call ends whose server is killed.
  return code == StatusCode::kUnavailable || code == StatusCode::kDeadlineExceeded ||
         code == StatusCode::kCancelled || code == StatusCode::kUnauthenticated ||
         code == StatusCode::kResourceExhausted || code == StatusCode::kInternal ||
         static_cast<int>(code) == grpc::StatusCode::UNKNOWN;
}

void CoordinatorLink::Stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  for (grpc::ClientContext* context : active_) context->TryCancel();
  stop_signal_.notify_all();
}

bool CoordinatorLink::Pause(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !stop_signal_.wait_for(lock, time, [this] { return stopped_.load(); });
}

Status CoordinatorLink::Finish(const grpc::Status& status) {
  Status ours = wire::FromGrpc(status);
  if (!IsAway(ours.code())) Heard();
  return ours;
}

CoordinatorLink::Context::Context(CoordinatorLink& link) : link_(link) {
  wire::Authenticate(context_, link.token_);
  const std::lock_guard lock(link_.mutex_);
  link_.active_.insert(&context_);
  if (link_.stopped_) context_.TryCancel();
}

CoordinatorLink::Context::~Context() {
  const std::lock_guard lock(link_.mutex_);
  link_.active_.erase(&context_);
}

void CoordinatorLink::Context::SetDeadline(std::chrono::milliseconds from_now) {
  context_.set_deadline(std::chrono::system_clock::now() + from_now);
}

}  // namespace muster::agent
