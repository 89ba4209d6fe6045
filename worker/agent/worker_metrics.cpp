#include "worker/agent/worker_metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <ctime>
#include <sstream>

namespace muster::agent {
namespace {

prometheus::Gauge& NewGauge(prometheus::Registry& registry, const std::string& name,
                            const std::string& help, const prometheus::Labels& labels = {}) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
}

prometheus::Gauge& Slots(prometheus::Registry& registry, const char* state) {
  return NewGauge(registry, "muster_worker_slots", "Slots of this worker: used, free.",
                  {{"state", state}});
}

prometheus::Gauge& Ranks(prometheus::Registry& registry, const char* phase) {
  return NewGauge(registry, "muster_worker_ranks",
                  "Ranks by phase: starting, running (has done a step), exited (its end has not "
                  "been acknowledged yet).",
                  {{"phase", phase}});
}

double Number(std::uint64_t count) { return static_cast<double>(count); }

}  // namespace

WorkerMetrics::WorkerMetrics(const std::string& worker, const std::string& version)
    : slots_used_(Slots(registry_, "used")),
      slots_free_(Slots(registry_, "free")),
      starting_(Ranks(registry_, "starting")),
      running_(Ranks(registry_, "running")),
      exited_(Ranks(registry_, "exited")),
      resident_bytes_(NewGauge(registry_, "muster_worker_ranks_resident_bytes",
                               "Resident memory of the ranks' processes; what they share counts "
                               "for each.")),
      cpu_seconds_(prometheus::BuildCounter()
                       .Name("muster_worker_ranks_cpu_seconds_total")
                       .Help("CPU time of all ranks since the agent started.")
                       .Register(registry_)
                       .Add({})),
      silence_(NewGauge(registry_, "muster_worker_coordinator_silence_seconds",
                        "Since the newest report that the coordinator has answered.")),
      spool_bytes_(NewGauge(registry_, "muster_worker_spool_bytes",
                            "Logs and metrics of ranks that the coordinator does not have yet.")) {
  NewGauge(registry_, "muster_worker_info", "1; the labels say who this is.",
           {{"worker", worker}, {"version", version}})
      .Set(1);
  NewGauge(registry_, "muster_worker_start_time_seconds", "Since 1970.")
      .Set(static_cast<double>(std::time(nullptr)));
}

std::string WorkerMetrics::Text(const WorkerReading& reading) {
  const std::lock_guard lock(mutex_);
  slots_used_.Set(Number(reading.slots_used));
  // Ranks of a replaced attempt may still be ending while the next ones start.
  slots_free_.Set(Number(reading.slots - std::min(reading.slots, reading.slots_used)));
  starting_.Set(Number(reading.ranks_starting));
  running_.Set(Number(reading.ranks_running));
  exited_.Set(Number(reading.ranks_exited));
  resident_bytes_.Set(Number(reading.usage.resident_bytes));
  cpu_seconds_.Increment(std::max(reading.usage.cpu_seconds - cpu_seconds_.Value(), 0.0));
  silence_.Set(reading.coordinator_silence_seconds);
  spool_bytes_.Set(Number(reading.spool_bytes));
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, registry_.Collect());
  return text.str();
}

}  // namespace muster::agent
