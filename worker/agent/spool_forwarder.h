// Brings what ranks append to their spool files to the coordinator: complete, in order, once.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/status.h"
#include "muster/v1/agent.pb.h"
#include "worker/agent/rank_key.h"
#include "worker/agent/spool_file.h"

namespace muster::agent {

struct SpoolForwarderOptions {
  std::chrono::milliseconds poll = std::chrono::milliseconds(20);
  std::chrono::milliseconds retry = std::chrono::milliseconds(100);  // While there is no sink.
  std::chrono::milliseconds denied_retry_max = std::chrono::seconds(10);
  std::uint64_t log_bytes_max = 256U << 20U;
  std::uint64_t log_bytes_per_second = 16U << 20U;  // Of one rank; a flood waits in its spool.
  std::size_t chunk_bytes = 1U << 20U;
};

// All functions are thread-safe. One thread of its own tails the files and calls the sink.
class SpoolForwarder {
 public:
  // AppendRequest -> how much of the file the coordinator has. kUnavailable and its like are tried
  // again for ever; other errors mean that it will never take this file.
  using Sink = std::function<Result<std::uint64_t>(const v1::AppendRequest&)>;
  // Called on the forwarder's thread, once per rank, when everything of a closed one has arrived.
  using Drained = std::function<void(const RankKey&)>;

  SpoolForwarder(SpoolForwarderOptions options, Sink sink, Drained drained);
  ~SpoolForwarder() { Stop(); }

  // Ends the thread after the call to the sink it is in; no `drained` comes later.
  void Stop();

  // Tails FOLDER/log and FOLDER/metrics, which need not exist yet.
  void Add(const RankKey& rank, const std::string& folder);
  // Nobody writes to the rank's files any more: drained once everything is forwarded.
  void Close(const RankKey& rank);
  void Remove(const RankKey& rank);
  // Another coordinator process: it may have less than the last one acknowledged.
  void SinkChanged();

  // Waits until the rank's metrics up to `bytes` are stored. kAborted: they are refused; kNotFound:
  // no such rank; kCancelled when `cancelled` says so, which is asked every 50 ms. `ask_again`:
  // compares with what the sink has now first.
  Status WaitForMetrics(const RankKey& rank, std::uint64_t bytes, bool ask_again,
                        const std::function<bool()>& cancelled);

  // What ranks have written and the sink has not acknowledged, by the sizes of the files.
  std::uint64_t WaitingBytes() const;

 private:
  struct Tail {
    Tail(v1::Stream of, std::string path, SpoolLimits limits)
        : stream(of), file(std::move(path), limits) {}
    const v1::Stream stream;
    // Of the forwarder's thread alone:
    SpoolFile file;
    double tokens = 0;  // Bytes it may send now.
    std::chrono::steady_clock::time_point refilled;
    // Under the mutex:
    std::uint64_t acknowledged = 0;
    bool ask = false;  // Ask the sink for its size before relying on `acknowledged`.
    bool done = false;
    bool refused = false;
  };
  struct Rank {
    std::unique_ptr<Tail> log, metrics;
    bool closed = false;
    bool drained = false;
  };
  enum class Outcome { kNothing, kSent, kUnavailable };

  void Loop();
  Outcome Forward(const RankKey& key, Tail& tail, bool closed);
  bool MaySend(Tail& tail) const;

  const SpoolForwarderOptions options_;
  const Sink sink_;
  const Drained drained_;
  mutable std::mutex mutex_;
  std::condition_variable work_;      // To the thread: do not wait for the next poll.
  std::condition_variable progress_;  // From the thread: `acknowledged` has changed.
  std::map<RankKey, std::shared_ptr<Rank>> ranks_;
  bool kick_ = false;
  bool stop_ = false;
  unsigned refused_in_a_row_ = 0;  // Denials since the last answer that was none.
  std::thread thread_;             // Last: it uses all of the above.
};

}  // namespace muster::agent
