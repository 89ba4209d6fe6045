// Sleeping on a 32-bit word in memory that threads or processes share (futex(2)).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace muster {

// Sleeps while `word` holds `expected`, at most `time`; may wake early for no reason.
void FutexWait(std::atomic<std::uint32_t>& word, std::uint32_t expected,
               std::chrono::milliseconds time);

// Wakes every thread and process that sleeps on `word`.
void FutexWake(std::atomic<std::uint32_t>& word);

// A hint to the processor inside a spinning loop.
inline void SpinPause() { __builtin_ia32_pause(); }

}  // namespace muster
