#include "worker/agent/spool_forwarder.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "worker/agent/log.h"

namespace muster::agent {
namespace {

using Clock = std::chrono::steady_clock;

// The sink will not take this file, however often it is asked.
bool IsRefusal(StatusCode code) {
  return code == StatusCode::kAborted || code == StatusCode::kNotFound ||
         code == StatusCode::kInvalidArgument || code == StatusCode::kFailedPrecondition ||
         code == StatusCode::kDataLoss;
}

// The sink does not admit this agent, which an operator may mend.
bool IsDenial(StatusCode code) {
  return code == StatusCode::kPermissionDenied || code == StatusCode::kUnauthenticated;
}

}  // namespace

SpoolForwarder::SpoolForwarder(SpoolForwarderOptions options, Sink sink, Drained drained)
    : options_(options),
      sink_(std::move(sink)),
      drained_(std::move(drained)),
      thread_([this] { Loop(); }) {}

void SpoolForwarder::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  progress_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void SpoolForwarder::Add(const RankKey& key, const std::string& folder) {
  auto rank = std::make_shared<Rank>();
  const SpoolLimits log_limits = {options_.chunk_bytes, options_.log_bytes_max};
  rank->log = std::make_unique<Tail>(v1::STREAM_LOG, folder + "/log", log_limits);
  rank->metrics = std::make_unique<Tail>(v1::STREAM_METRICS, folder + "/metrics",
                                         SpoolLimits{options_.chunk_bytes});
  const std::lock_guard lock(mutex_);
  ranks_.emplace(key, std::move(rank));
  kick_ = true;
  work_.notify_all();
}

void SpoolForwarder::Close(const RankKey& key) {
  const std::lock_guard lock(mutex_);
  if (const auto found = ranks_.find(key); found != ranks_.end()) found->second->closed = true;
  kick_ = true;
  work_.notify_all();
}

void SpoolForwarder::Remove(const RankKey& key) {
  const std::lock_guard lock(mutex_);
  ranks_.erase(key);
  progress_.notify_all();
}

void SpoolForwarder::SinkChanged() {
  const std::lock_guard lock(mutex_);
  for (auto& [key, rank] : ranks_) {
    for (Tail* tail : {rank->log.get(), rank->metrics.get()}) {
      if (!rank->drained && !tail->refused) tail->ask = true;
    }
  }
  kick_ = true;
  work_.notify_all();
}

Status SpoolForwarder::WaitForMetrics(const RankKey& key, std::uint64_t bytes, bool ask_again,
                                      const std::function<bool()>& cancelled) {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto found = ranks_.find(key);
    if (found == ranks_.end()) return NotFound(key.Describe() + " has no spool here");
    Tail& metrics = *found->second->metrics;
    if (metrics.refused) return Aborted("the coordinator refused the metrics of " + key.Describe());
    if (std::exchange(ask_again, false)) metrics.ask = true;
    if (!metrics.ask && metrics.acknowledged >= bytes) return {};
    if (stop_ || cancelled()) return {StatusCode::kCancelled, "the wait for metrics was cut short"};
    kick_ = true;
    work_.notify_all();
    progress_.wait_for(lock, std::chrono::milliseconds(50));
  }
}

std::uint64_t SpoolForwarder::WaitingBytes() const {
  std::uint64_t waiting = 0;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, rank] : ranks_) {
    for (const Tail* tail : {rank->log.get(), rank->metrics.get()}) {
      std::error_code error;
      std::uint64_t size = std::filesystem::file_size(tail->file.path(), error);
      if (error || tail->done) continue;
      // What is beyond is never sent.
      if (tail->stream == v1::STREAM_LOG) size = std::min(size, options_.log_bytes_max);
      waiting += size - std::min(size, tail->acknowledged);
    }
  }
  return waiting;
}

bool SpoolForwarder::MaySend(Tail& tail) const {
  if (tail.stream != v1::STREAM_LOG) return true;
  const auto rate = static_cast<double>(options_.log_bytes_per_second);
  const Clock::time_point now = Clock::now();
  const std::chrono::duration<double> passed = now - tail.refilled;
  tail.refilled = now;
  tail.tokens = std::min(rate, tail.tokens + passed.count() * rate);
  return tail.tokens > 0;
}

SpoolForwarder::Outcome SpoolForwarder::Forward(const RankKey& key, Tail& tail, bool closed) {
  bool ask = false;
  {
    const std::lock_guard lock(mutex_);
    if (tail.done) return Outcome::kNothing;
    ask = tail.ask;
  }
  if (!ask && !MaySend(tail)) return Outcome::kNothing;
  v1::AppendRequest request;
  if (!ask) {
    Result<std::string> data = tail.file.Next(closed);
    if (!data.ok()) {
      Log(key.Describe() + ": " + data.status().message() + "; its output is lost from here on");
      const std::lock_guard lock(mutex_);
      tail.done = tail.refused = true;
      return Outcome::kNothing;
    }
    if (data->empty()) {
      const std::lock_guard lock(mutex_);
      tail.done = closed && !tail.ask;
      return Outcome::kNothing;
    }
    tail.tokens -= static_cast<double>(data->size());
    *request.mutable_data() = std::move(*data);
  }
  request.set_job_id(key.job);
  request.set_attempt(key.attempt);
  request.set_rank(key.rank);
  request.set_stream(tail.stream);
  request.set_offset(tail.file.offset());
  const Result<std::uint64_t> stored = sink_(request);
  const std::lock_guard lock(mutex_);
  if (stored.ok()) {
    refused_in_a_row_ = 0;
    tail.file.SetOffset(*stored);
    tail.acknowledged = *stored;
    // Asked for again meanwhile: this answer may be of the coordinator before.
    if (ask || request.data().empty()) tail.ask = false;
    progress_.notify_all();
    return Outcome::kSent;
  }
  if (IsDenial(stored.status().code())) {
    if (refused_in_a_row_++ == 0) {
      Log(key.Describe() + ": its output is kept here: " + stored.status().message());
    }
    return Outcome::kUnavailable;
  }
  if (!IsRefusal(stored.status().code())) return Outcome::kUnavailable;
  tail.done = tail.refused = true;
  progress_.notify_all();
  // Metrics of a replaced attempt are void by design; anything else is worth a line.
  if (stored.status().code() != StatusCode::kAborted) {
    Log(key.Describe() + ": the coordinator refused its output: " + stored.status().message());
  }
  return Outcome::kNothing;
}

void SpoolForwarder::Loop() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    kick_ = false;
    const auto ranks = ranks_;  // The forwarding itself holds no lock.
    lock.unlock();
    bool sent = false, unavailable = false;
    for (const auto& [key, rank] : ranks) {
      bool closed = false;
      {
        const std::lock_guard inner(mutex_);
        if (stop_) break;
        if (rank->drained) continue;
        closed = rank->closed;
      }
      for (Tail* tail : {rank->metrics.get(), rank->log.get()}) {
        const Outcome outcome = Forward(key, *tail, closed);
        sent |= outcome == Outcome::kSent;
        unavailable |= outcome == Outcome::kUnavailable;
        if (unavailable) break;
      }
      if (unavailable) break;
      bool drained = false;
      {
        const std::lock_guard inner(mutex_);
        drained = closed && rank->log->done && rank->metrics->done && !rank->drained;
        if (drained) rank->drained = true;
      }
      if (drained) drained_(key);
    }
    lock.lock();
    if (unavailable) {
      // Who is not admitted asks ever more seldom: each time is a line of the audit log.
      const unsigned doublings = std::min(refused_in_a_row_, 10U);
      work_.wait_for(lock, std::min(options_.retry * (1U << doublings), options_.denied_retry_max),
                     [this] { return stop_; });
    } else if (!sent) {
      if (ranks_.empty())
        work_.wait(lock, [this] { return stop_ || kick_; });
      else
        work_.wait_for(lock, options_.poll, [this] { return stop_ || kick_; });
    }
  }
}

}  // namespace muster::agent
