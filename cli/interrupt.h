// Ctrl-C and SIGTERM as an event instead of a death.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

namespace muster::cli {

// While it lives, the first SIGINT or SIGTERM (and where asked for SIGHUP, of a terminal that is
// closed) calls `on_signal` (on a thread of its own); later
// ones call it again. Create it before any other thread: it blocks the signals in its creator,
// whose threads inherit that. At most one at a time.
class InterruptGuard {
 public:
  explicit InterruptGuard(std::function<void()> on_signal, bool hangup = false);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool interrupted() const { return count_ > 0; }

 private:
  void Watch();

  std::function<void()> on_signal_;
  const bool hangup_;
  std::atomic<int> count_ = 0;
  int signal_descriptor_ = -1;
  int end_descriptor_ = -1;
  std::thread thread_;
};

}  // namespace muster::cli
