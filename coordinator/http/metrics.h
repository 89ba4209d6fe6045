// What the coordinator tells Prometheus: aggregates only, since /metrics is open to everybody.
#pragma once

#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <string>

namespace muster::coordinator {

// Thread-safe.
class Metrics {
 public:
  Metrics();

  void SetJobs(const std::string& state, double count);
  void SetQueueLength(double jobs) { queue_length_.Set(jobs); }
  void SetSlots(const std::string& state, double count);
  // Seconds since the worker that has been silent longest was heard.
  void SetHeartbeatAge(double seconds) { heartbeat_age_.Set(seconds); }
  void ObserveJournalWrite(double seconds) { journal_write_.Observe(seconds); }
  void ObserveRpc(const std::string& method, double seconds);

  // The text exposition format, version 0.0.4.
  std::string Text() const;

 private:
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Gauge>& jobs_;
  prometheus::Family<prometheus::Gauge>& slots_;
  prometheus::Gauge& queue_length_;
  prometheus::Gauge& heartbeat_age_;
  prometheus::Histogram& journal_write_;
  prometheus::Family<prometheus::Histogram>& rpc_;
};

}  // namespace muster::coordinator
