#include "worker/agent/worker_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace muster::agent {
namespace {

using testing::HasSubstr;

TEST(WorkerMetricsTest, TellsOneReading) {
  WorkerMetrics metrics("node-1-0", "0.1.0");
  WorkerReading reading;
  reading.slots = 4;
  reading.slots_used = 3;
  reading.ranks_starting = 1;
  reading.ranks_running = 2;
  reading.usage = {1024, 2.5};
  reading.coordinator_silence_seconds = 0.25;
  reading.spool_bytes = 77;
  const std::string text = metrics.Text(reading);
  for (const char* line :
       {"muster_worker_slots{state=\"used\"} 3\n", "muster_worker_slots{state=\"free\"} 1\n",
        "muster_worker_ranks{phase=\"starting\"} 1\n", "muster_worker_ranks{phase=\"running\"} 2\n",
        "muster_worker_ranks{phase=\"exited\"} 0\n", "muster_worker_ranks_resident_bytes 1024\n",
        "muster_worker_ranks_cpu_seconds_total 2.5\n",
        "muster_worker_coordinator_silence_seconds 0.25\n", "muster_worker_spool_bytes 77\n",
        "# TYPE muster_worker_ranks_cpu_seconds_total counter\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, HasSubstr("worker=\"node-1-0\""));
  EXPECT_THAT(text, HasSubstr("version=\"0.1.0\""));
}

// What a scan of processes misses once must not look as if the counter had begun again.
TEST(WorkerMetricsTest, CpuTimeNeverGoesBack) {
  WorkerMetrics metrics("w", "v");
  WorkerReading reading;
  for (const auto& [measured, told] : {std::pair{2.0, "2"}, {1.5, "2"}, {2.0, "2"}, {3.0, "3"}}) {
    reading.usage.cpu_seconds = measured;
    EXPECT_THAT(metrics.Text(reading), HasSubstr("cpu_seconds_total " + std::string(told) + "\n"));
  }
}

TEST(WorkerMetricsTest, MoreRanksThanSlotsLeaveNoneFree) {
  WorkerMetrics metrics("w", "v");
  WorkerReading reading;
  reading.slots = 1;
  reading.slots_used = 2;
  EXPECT_THAT(metrics.Text(reading), HasSubstr("muster_worker_slots{state=\"free\"} 0\n"));
}

TEST(RankUsageTest, CountsWhatRunsBelowAndWhatHasEnded) {
  const RankUsage before = MeasureRanks();
  const pid_t child = ::fork();
  if (child == 0) {
    while (true) continue;
  }
  RankUsage now = before;
  while (now.cpu_seconds < before.cpu_seconds + 0.1) now = MeasureRanks();
  EXPECT_GT(now.resident_bytes, before.resident_bytes);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const RankUsage after = MeasureRanks();
  EXPECT_EQ(after.resident_bytes, before.resident_bytes);
  // Ticks of 10 ms while it runs, exact afterwards.
  EXPECT_GE(after.cpu_seconds, before.cpu_seconds + 0.08);
}

}  // namespace
}  // namespace muster::agent
