#include "coordinator/event_loop.h"

#include <utility>

namespace muster::coordinator {

void EventLoop::Start(std::chrono::milliseconds tick, std::function<void()> after_batch) {
  thread_ = std::thread([this, tick, after = std::move(after_batch)] { Run(tick, after); });
}

void EventLoop::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool EventLoop::Post(Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || events_.size() >= kEventsMax) return false;
    events_.push_back(std::move(event));
  }
  arrived_.notify_one();
  return true;
}

void EventLoop::Run(std::chrono::milliseconds tick,
                    const std::function<void()>& after_batch) noexcept {
  std::vector<Event> batch;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      arrived_.wait_for(lock, tick, [this] { return stopping_ || !events_.empty(); });
      if (events_.empty() && stopping_) return;
      batch.swap(events_);
    }
    for (const Event& event : batch) event();
    batch.clear();
    after_batch();
  }
}

}  // namespace muster::coordinator
