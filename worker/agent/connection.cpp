#include "worker/agent/connection.h"

#include <algorithm>
#include <utility>

#include "worker/agent/log.h"

namespace muster::agent {

constexpr std::chrono::milliseconds kPauseFirst(100);
constexpr std::chrono::milliseconds kPauseMax(1'000);
constexpr std::chrono::milliseconds kPauseRefused(3'000);  // The first; each is audited.
constexpr std::chrono::milliseconds kPauseRefusedMax(30'000);

Connection::Connection(ConnectionOptions options, CoordinatorLink& link, Hooks hooks)
    : options_(std::move(options)),
      link_(link),
      hooks_(std::move(hooks)),
      thread_([this] { Loop(); }) {}

Connection::~Connection() {
  {
    const std::lock_guard lock(mutex_);
    stream_ok_ = false;
  }
  wake_.notify_all();
  thread_.join();
}

void Connection::Changed() {
  const std::lock_guard lock(mutex_);
  changed_ = true;
  wake_.notify_all();
}

void Connection::WriteReports(
    grpc::ClientReaderWriterInterface<v1::AgentReport, v1::DesiredState>& stream,
    grpc::ClientContext& context) {
  const auto opened = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  while (stream_ok_ && !link_.stopped()) {
    changed_ = false;
    lock.unlock();
    const Reports reports = hooks_.latest();
    v1::AgentReport report = options_.identity;
    *report.mutable_obeyed() = reports.obeyed;
    report.set_leaving(reports.leaving);
    *report.mutable_ranks() = {reports.ranks.begin(), reports.ranks.end()};
    report.set_sequence(++sequence_);
    Sent(sequence_);
    const bool written = stream.Write(report);
    if (written) hooks_.reported(reports.version);
    const auto age = std::chrono::steady_clock::now() - opened;
    if (std::min<std::chrono::nanoseconds>(age, link_.Silence()) > options_.silence_max) {
      context.TryCancel();  // The reader sees the end.
    }
    lock.lock();
    if (!written) return;
    wake_.wait_for(lock, options_.report_interval, [this] { return changed_ || !stream_ok_; });
  }
}

void Connection::Sent(std::uint64_t sequence) {
  constexpr std::size_t kKept = 4096;
  const std::lock_guard lock(mutex_);
  sent_[sequence] = std::chrono::steady_clock::now();
  if (sent_.size() > kKept) sent_.erase(sent_.begin());
}

void Connection::Answered(std::uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  const auto found = sent_.find(sequence);
  if (found == sent_.end()) return;
  link_.Answered(found->second);
  sent_.erase(sent_.begin(), std::next(found));
}

Status Connection::Attend() {
  MUSTER_RETURN_IF_ERROR(link_.Connect());
  const std::shared_ptr<CoordinatorLink::Stub> stub = link_.control();
  CoordinatorLink::Context context(link_);
  const auto stream = stub->Attend(&*context);
  {
    const std::lock_guard lock(mutex_);
    stream_ok_ = !link_.stopped();
  }
  std::thread writer([this, &stream, &context] { WriteReports(*stream, *context); });
  bool first = true;
  for (v1::DesiredState state; stream->Read(&state);) {
    link_.Heard();
    Answered(state.answers());
    if (std::exchange(first, false)) {
      Log("the coordinator of cluster " + state.cluster_id() + " has answered");
      last_complaint_.clear();
      pause_ = kPauseFirst;
      hooks_.connected();
    }
    hooks_.obey(std::move(state));
    state.Clear();
  }
  {
    const std::lock_guard lock(mutex_);
    stream_ok_ = false;
  }
  wake_.notify_all();
  writer.join();
  Status status = link_.Finish(stream->Finish());
  if (status.ok()) status = Unavailable("the coordinator has closed the stream");
  return status;
}

std::chrono::milliseconds Connection::AfterFailure(const Status& status) {
  if (status.message() != last_complaint_) {
    Log("no connection to the coordinator, trying on: " + status.message());
    last_complaint_ = status.message();
  }
  const bool refused = status.code() == StatusCode::kUnauthenticated ||
                       status.code() == StatusCode::kPermissionDenied ||
                       status.code() == StatusCode::kFailedPrecondition;
  if (refused) {
    refused_pause_ = std::clamp(refused_pause_ * 2, kPauseRefused, kPauseRefusedMax);
    return refused_pause_;
  }
  refused_pause_ = {};
  return std::exchange(pause_, std::min(pause_ * 2, kPauseMax));
}

void Connection::Loop() {
  while (!link_.stopped()) {
    const Status status = Attend();
    if (!link_.Pause(AfterFailure(status))) return;
  }
}

}  // namespace muster::agent
