// What an agent tells Prometheus: aggregates only, since /metrics is open to everybody.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <mutex>
#include <string>

#include "worker/agent/rank_usage.h"

namespace muster::agent {

// At one moment.
struct WorkerReading {
  std::uint64_t slots = 0;
  std::uint64_t slots_used = 0;
  std::uint64_t ranks_starting = 0, ranks_running = 0, ranks_exited = 0;
  RankUsage usage;
  double coordinator_silence_seconds = 0;  // Since the last report that it has answered.
  std::uint64_t spool_bytes = 0;           // Of logs and metrics that it does not have yet.
};

// Thread-safe.
class WorkerMetrics {
 public:
  // The start time is that of this call.
  WorkerMetrics(const std::string& worker, const std::string& version);

  // The text exposition format, version 0.0.4.
  std::string Text(const WorkerReading& reading);

 private:
  std::mutex mutex_;  // One reading at a time.
  prometheus::Registry registry_;
  prometheus::Gauge &slots_used_, &slots_free_;
  prometheus::Gauge &starting_, &running_, &exited_;
  prometheus::Gauge& resident_bytes_;
  prometheus::Counter& cpu_seconds_;
  prometheus::Gauge& silence_;
  prometheus::Gauge& spool_bytes_;
};

}  // namespace muster::agent
