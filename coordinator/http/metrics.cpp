#include "coordinator/http/metrics.h"

#include <prometheus/text_serializer.h>

#include <sstream>

namespace muster::coordinator {
namespace {

prometheus::Histogram::BucketBoundaries Latencies() {
  return {0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0};
}

prometheus::Family<prometheus::Gauge>& GaugeFamily(prometheus::Registry& registry,
                                                   const std::string& name,
                                                   const std::string& help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

}  // namespace

Metrics::Metrics()
    : jobs_(GaugeFamily(registry_, "muster_jobs", "Jobs by state.")),
      slots_(GaugeFamily(registry_, "muster_slots", "Slots of ready workers: used, free.")),
      queue_length_(
          GaugeFamily(registry_, "muster_queue_length", "Jobs that wait for slots.").Add({})),
      heartbeat_age_(GaugeFamily(registry_, "muster_heartbeat_age_seconds",
                                 "Silence of the ready worker that was heard least recently.")
                         .Add({})),
      journal_write_(prometheus::BuildHistogram()
                         .Name("muster_journal_write_seconds")
                         .Help("Time to make a batch of decisions durable.")
                         .Register(registry_)
                         .Add({}, Latencies())),
      rpc_(prometheus::BuildHistogram()
               .Name("muster_rpc_seconds")
               .Help("Time from a request to its answer, by method.")
               .Register(registry_)) {}

void Metrics::SetJobs(const std::string& state, double count) {
  jobs_.Add({{"state", state}}).Set(count);
}

void Metrics::SetSlots(const std::string& state, double count) {
  slots_.Add({{"state", state}}).Set(count);
}

void Metrics::ObserveRpc(const std::string& method, double seconds) {
  rpc_.Add({{"method", method}}, Latencies()).Observe(seconds);
}

std::string Metrics::Text() const {
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, registry_.Collect());
  return text.str();
}

}  // namespace muster::coordinator
