#include "worker/rank/publish_queue.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <string>
#include <utility>

namespace muster::rank {

namespace {

constexpr std::ptrdiff_t kWaitingMax = 4;

bool IsIntermediate(const v1::PublishRequest& one) { return !one.final(); }

// The one to give up: the oldest that is neither the last of the job nor the best so far.
std::deque<v1::PublishRequest>::iterator Dispensable(std::deque<v1::PublishRequest>& waiting) {
  auto best = waiting.end();
  for (auto one = waiting.begin(); one != waiting.end(); ++one) {
    if (!IsIntermediate(*one) || !one->has_score()) continue;
    if (best == waiting.end() || one->score() > best->score()) best = one;
  }
  for (auto one = waiting.begin(); one != waiting.end(); ++one) {
    if (IsIntermediate(*one) && one != best) return one;
  }
  return best;
}

}  // namespace

PublishQueue::PublishQueue(Publish publish)
    : publish_(std::move(publish)), thread_([this] { Loop(); }) {}

PublishQueue::~PublishQueue() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Status PublishQueue::Add(const v1::PublishRequest& checkpoint) {
  const std::lock_guard lock(mutex_);
  MUSTER_RETURN_IF_ERROR(failed_);
  waiting_.push_back(checkpoint);
  while (std::count_if(waiting_.begin(), waiting_.end(), IsIntermediate) > kWaitingMax) {
    const auto dropped = Dispensable(waiting_);
    std::printf("muster: step %llu: checkpoint given up, too many wait for the coordinator\n",
                static_cast<unsigned long long>(dropped->step()));
    std::error_code ignored;
    std::filesystem::remove_all(dropped->directory(), ignored);
    waiting_.erase(dropped);
  }
  changed_.notify_all();
  return {};
}

Status PublishQueue::WaitForAll() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !failed_.ok() || (waiting_.empty() && !running_); });
  return failed_;
}

void PublishQueue::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || (!waiting_.empty() && failed_.ok()); });
    if (stop_) return;
    const v1::PublishRequest next = std::move(waiting_.front());
    waiting_.pop_front();
    running_ = true;
    lock.unlock();
    Status published = publish_(next);
    lock.lock();
    running_ = false;
    if (!published.ok()) {
      failed_ = std::move(published).During("publish the checkpoint of step " +
                                            std::to_string(next.step()));
    }
    changed_.notify_all();
  }
}

}  // namespace muster::rank
