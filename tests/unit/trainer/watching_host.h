// A job whose ranks are threads of the test, and a host that watches them.
#pragma once

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "collectives/local/local_group.h"
#include "tensor/thread_pool.h"
#include "trainer/trainer_host.h"

namespace muster::test {

// Notes what a rank tells, and asks to stop after step `stop_after`.
class WatchingHost : public TrainerHost {
 public:
  explicit WatchingHost(std::uint64_t stop_after = UINT64_MAX) : stop_after_(stop_after) {}

  void Started(std::uint64_t step, std::uint64_t steps_total) override {
    started_at = step;
    told_total = steps_total;
  }
  void StepDone(std::uint64_t step, std::uint64_t steps_total) override {
    steps.push_back(step);
    told_total = steps_total;
  }
  void EndedEarly(const std::string& why) override { why_early = why; }
  Status SaveCheckpoint(const CheckpointNotice& notice) override {
    notices.push_back(notice);
    return {};
  }
  // Asked while the step is under way: the one after those done.
  bool StopRequested() override {
    return (steps.empty() ? started_at : steps.back()) + 1 >= stop_after_;
  }

  std::uint64_t started_at = 0;
  std::uint64_t told_total = 0;  // As told last.
  std::string why_early;
  std::vector<std::uint64_t> steps;
  std::vector<CheckpointNotice> notices;

 private:
  std::uint64_t stop_after_;
};

struct Layout {
  std::size_t ranks = 1;
  std::size_t threads = 1;
};

template <class R>
struct OutcomeOf {
  std::vector<Result<R>> results;   // [ranks]
  std::vector<WatchingHost> hosts;  // [ranks]
};

// train(group, pool, host) on every rank, as threads of this process. Rank `stopping_rank` alone
// asks to stop.
template <class R, class Train>
OutcomeOf<R> RunRanks(Layout layout, std::uint64_t stop_after, std::size_t stopping_rank,
                      const Train& train) {
  const auto groups = CreateLocalGroups(layout.ranks);
  OutcomeOf<R> outcome;
  for (std::size_t rank = 0; rank < layout.ranks; ++rank) {
    outcome.results.emplace_back(Internal("the rank did not run"));
    outcome.hosts.emplace_back(rank == stopping_rank ? stop_after : UINT64_MAX);
  }
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < layout.ranks; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadPool pool(layout.threads);
      outcome.results[rank] = train(*groups[rank], pool, outcome.hosts[rank]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcome;
}

}  // namespace muster::test
