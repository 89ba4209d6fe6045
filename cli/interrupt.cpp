#include "cli/interrupt.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/check.h"

namespace muster::cli {
namespace {

sigset_t Signals(bool hangup) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  // nohup's wish stands.
  struct sigaction action {};
  if (hangup && ::sigaction(SIGHUP, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) {
    sigaddset(&signals, SIGHUP);
  }
  return signals;
}

}  // namespace

InterruptGuard::InterruptGuard(std::function<void()> on_signal, bool hangup)
    : on_signal_(std::move(on_signal)), hangup_(hangup) {
  const sigset_t signals = Signals(hangup_);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal_descriptor_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  end_descriptor_ = ::eventfd(0, EFD_CLOEXEC);
  MUSTER_CHECK(signal_descriptor_ >= 0 && end_descriptor_ >= 0, "no descriptors are left");
  thread_ = std::thread([this] { Watch(); });
}

InterruptGuard::~InterruptGuard() {
  const std::uint64_t one = 1;
  MUSTER_CHECK(::write(end_descriptor_, &one, sizeof(one)) == sizeof(one), "eventfd is full");
  thread_.join();
  ::close(end_descriptor_);
  ::close(signal_descriptor_);
  const sigset_t signals = Signals(hangup_);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

void InterruptGuard::Watch() {
  while (true) {
    std::array<pollfd, 2> events = {pollfd{signal_descriptor_, POLLIN, 0},
                                    pollfd{end_descriptor_, POLLIN, 0}};
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) return;
    signalfd_siginfo info{};
    while (::read(signal_descriptor_, &info, sizeof(info)) == sizeof(info)) {
      ++count_;
      on_signal_();
    }
    if ((events[1].revents & POLLIN) != 0) return;
  }
}

}  // namespace muster::cli
