// Ctrl-C while a session is in use: ends the stream that is being followed, instead of the process.
#pragma once

#include <mutex>

#include "cli/interrupt.h"
#include "cli/session.h"

namespace muster::cli {

// Create it before the session, so that no signal is lost between the two.
class SessionInterrupt {
 public:
  // The session that the signal ends from now on; nullptr before that one is destroyed. A signal
  // that has already come ends it at once.
  void Use(Session* session) {
    const std::lock_guard lock(mutex_);
    session_ = session;
    if (came_ && session_ != nullptr) session_->Interrupt();
  }

  bool came() const {
    const std::lock_guard lock(mutex_);
    return came_;
  }

 private:
  void Signal() {
    const std::lock_guard lock(mutex_);
    came_ = true;
    if (session_ != nullptr) session_->Interrupt();
  }

  mutable std::mutex mutex_;
  Session* session_ = nullptr;
  bool came_ = false;
  InterruptGuard guard_{[this] { Signal(); }, /*hangup=*/true};  // Last: its thread ends first.
};

}  // namespace muster::cli
