// One thread on which everything the coordinator decides happens, in batches, so that a batch's
// facts become durable with one commit.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace muster::coordinator {

class EventLoop {
 public:
  using Event = std::function<void()>;

  ~EventLoop() { Stop(); }

  // Starts the thread. `after_batch` runs after every batch of events, and at least every
  // `tick`. Neither it nor an event may throw.
  void Start(std::chrono::milliseconds tick, std::function<void()> after_batch);
  // Ends after the events posted so far. Idempotent.
  void Stop();

  // From any thread. False when the queue is full (the caller answers "busy") or the loop ended.
  bool Post(Event event);

 private:
  void Run(std::chrono::milliseconds tick, const std::function<void()>& after_batch) noexcept;

  static constexpr std::size_t kEventsMax = 100'000;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Event> events_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace muster::coordinator
