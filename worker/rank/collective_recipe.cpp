#include "worker/rank/collective_recipe.h"

#include <chrono>
#include <optional>
#include <span>
#include <utility>

#include "trainer/metrics/metrics_writer.h"

namespace muster::rank {
namespace {

// Small whole numbers: their sums over up to 4096 ranks are exact in f32.
float Value(std::uint64_t step, std::size_t element, std::size_t rank) {
  return static_cast<float>((element + step) % 1021 + rank);
}

Status Verify(std::span<const float> sum, std::uint64_t step, std::size_t ranks) {
  const auto of_ranks = static_cast<float>(ranks * (ranks - 1) / 2);
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const float expected = static_cast<float>(ranks) * Value(step, i, 0) + of_ranks;
    if (sum[i] == expected) continue;
    return DataLoss("step " + std::to_string(step) + ": element " + std::to_string(i) +
                    " of the sum is " + std::to_string(sum[i]) + ", expected " +
                    std::to_string(expected));
  }
  return {};
}

}  // namespace

Status RunCollective(const CollectiveOptions& options, Group& group, TrainerHost& host) {
  const std::size_t count = (options.bytes + sizeof(float) - 1) / sizeof(float);
  MUSTER_ASSIGN_OR_RETURN(const std::span<float> buffer, group.Allocate(count));
  MUSTER_ASSIGN_OR_RETURN(const std::span<float> stop, group.Allocate(1));
  std::optional<MetricsWriter> metrics;
  if (group.rank() == 0 && !options.metrics_path.empty()) {
    MUSTER_ASSIGN_OR_RETURN(metrics, MetricsWriter::Open(options.metrics_path));
  }
  MetricsRow row;
  const auto ranks = static_cast<double>(group.size());
  host.Started(0, options.steps);
  for (std::uint64_t step = 1; step <= options.steps; ++step) {
    // All ranks stop after the same step, whichever is asked first.
    stop[0] = host.StopRequested() ? 1.0F : 0.0F;
    MUSTER_RETURN_IF_ERROR(group.AllReduce(stop));
    if (stop[0] > 0) break;
    for (std::size_t i = 0; i < count; ++i) buffer[i] = Value(step, i, group.rank());
    MUSTER_RETURN_IF_ERROR(group.Barrier());
    const auto start = std::chrono::steady_clock::now();
    MUSTER_RETURN_IF_ERROR(group.AllReduce(buffer));
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    MUSTER_RETURN_IF_ERROR(Verify(buffer, step, group.size()));
    if (metrics) {
      row["collective/latency_us"] = time.count() * 1e6;
      row["collective/busbw_gbps"] =
          static_cast<double>(count * sizeof(float)) / time.count() * 2 * (ranks - 1) / ranks / 1e9;
      MUSTER_RETURN_IF_ERROR(metrics->Append(step, row));
    }
    host.StepDone(step, options.steps);
  }
  return {};
}

}  // namespace muster::rank
