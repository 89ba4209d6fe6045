#include "trainer/training_run.h"

#include <unistd.h>

namespace muster {

Status AgreeOnStart(Group& group, const Status& prepared, std::uint64_t step) {
  std::uint64_t sums[3] = {prepared.ok() ? 0U : 1U, prepared.ok() ? step : 0U, 0U};
  sums[2] = sums[1] * sums[1];
  const Status agreed = group.AllReduce(std::span<std::uint64_t>(sums));
  if (!prepared.ok()) return prepared;
  MUSTER_RETURN_IF_ERROR(agreed);
  if (sums[0] > 0) return Aborted(std::to_string(sums[0]) + " other ranks could not start");
  const std::uint64_t size = group.size();
  if (sums[1] != size * step || sums[2] != size * step * step) {
    return FailedPrecondition("the ranks resume from different steps; this one from " +
                              std::to_string(step));
  }
  return {};
}

nlohmann::json Provenance(const Group& group, const ThreadPool& pool) {
  char host[256] = {};
  if (::gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {{"host", host},
          {"ranks", group.size()},
          {"threads_per_rank", pool.threads()},
          {"transport", group.transport()},
          {"unix_time_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now).count()}};
}

void Put(MetricsRow& row, std::string_view name, double value) {
  const auto found = row.find(name);
  if (found != row.end()) {
    found->second = value;
  } else {
    row.emplace(name, value);
  }
}

}  // namespace muster
