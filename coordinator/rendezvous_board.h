// Where the ranks of an attempt find each other: small values under keys, kept in memory while the
// attempt lives. A restart of the coordinator empties it; ranks that were just meeting then time
// out and the attempt is made again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/scheduler/scheduler.h"

namespace muster::coordinator {

// Not thread-safe.
class RendezvousBoard {
 public:
  using Done = std::function<void(Result<std::string>)>;

  // kResourceExhausted beyond 64 KiB a value or 4,096 values an attempt. A key keeps the value that
  // was put last.
  Status Put(AttemptId attempt, const std::string& key, const std::string& value);
  // Calls `done` with the value at once, or when it is put; kDeadlineExceeded at `deadline`.
  void Get(AttemptId attempt, const std::string& key, Millis deadline, Done done);
  // Answers what has waited too long.
  void Tick(Millis now);
  // Forgets the attempt; who waits gets kAborted.
  void Remove(AttemptId attempt);
  // The coordinator ends: who waits, now or later, gets kUnavailable.
  void Close();

 private:
  struct Waiter {
    std::string key;
    Millis deadline = 0;
    Done done;
  };
  struct Board {
    std::map<std::string, std::string> values;
    std::vector<Waiter> waiters;
  };
  std::map<AttemptId, Board> boards_;
  bool closed_ = false;
};

}  // namespace muster::coordinator
