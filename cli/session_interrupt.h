// Ctrl-C while a session is in use: ends the stream that is being followed, instead of the process.
#pragma once

#include <array>
#include <mutex>

#include "cli/interrupt.h"
#include "cli/session.h"

namespace muster::cli {

// Create it before the session, so that no signal is lost between the two.
class SessionInterrupt {
 public:
  // The session (or two) that the signal ends from now on; nullptr before it is destroyed. A signal
  // that has already come ends it at once.
  void Use(Session* session, Session* beside = nullptr) {
    const std::lock_guard lock(mutex_);
    sessions_ = {session, beside};
    if (came_) End();
  }

  bool came() const {
    const std::lock_guard lock(mutex_);
    return came_;
  }

 private:
  void Signal() {
    const std::lock_guard lock(mutex_);
    came_ = true;
    End();
  }
  void End() {
    for (Session* session : sessions_) {
      if (session != nullptr) session->Interrupt();
    }
  }

  mutable std::mutex mutex_;
  std::array<Session*, 2> sessions_{};
  bool came_ = false;
  InterruptGuard guard_{[this] { Signal(); }, /*hangup=*/true};  // Last: its thread ends first.
};

}  // namespace muster::cli
