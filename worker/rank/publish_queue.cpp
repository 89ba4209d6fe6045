#include "worker/rank/publish_queue.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

namespace muster::rank {

constexpr std::size_t kWaitingMax = 2;

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
  const auto intermediate = [](const v1::PublishRequest& one) { return !one.final(); };
  while (std::count_if(waiting_.begin(), waiting_.end(), intermediate) >
         static_cast<std::ptrdiff_t>(kWaitingMax)) {
    const auto oldest = std::find_if(waiting_.begin(), waiting_.end(), intermediate);
    std::error_code ignored;
    std::filesystem::remove_all(oldest->directory(), ignored);
    waiting_.erase(oldest);
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
