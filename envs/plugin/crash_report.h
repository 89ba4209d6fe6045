// Who is to blame: which plug-in each thread is in, what it was asked to do, and since when.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "envs/space.h"

namespace muster::envs {

// Around each call of a plug-in. Costs nanoseconds: what would have to be said is only copied.
class PluginCall {
 public:
  // `what` is a literal. `action` may be empty (a reset, a save).
  PluginCall(const std::string& name, const char* what, std::uint64_t step, ConstValues action);
  ~PluginCall();
  PluginCall(const PluginCall&) = delete;
  PluginCall& operator=(const PluginCall&) = delete;

 private:
  std::size_t slot_;
};

// "environment Walk is in step 17, action [0.5, 1]" of the calling thread; empty outside of a call.
std::string CurrentPluginCall();

// From now on a crash (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT; an overflown stack too) inside of
// a plug-in's call says so on standard error before the process ends as it would have, and exit()
// in there before it ends with EXIT_FAILURE. From any thread; again changes nothing.
void ReportPluginCrashes();

// A thread that looks after calls which do not come back. `on_hang` gets one line and is called
// once a call, from that thread (the same line each time, so that a repeated failure is known);
// where it is empty the line goes to standard error and the process ends with SIGABRT.
class PluginWatchdog {
 public:
  explicit PluginWatchdog(std::chrono::milliseconds limit,
                          std::function<void(const std::string&)> on_hang = {});
  ~PluginWatchdog();

 private:
  void Watch();

  std::chrono::milliseconds limit_;
  std::function<void(const std::string&)> on_hang_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace muster::envs
