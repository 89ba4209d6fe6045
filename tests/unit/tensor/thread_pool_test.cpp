#include "tensor/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "base/check.h"

namespace muster {
namespace {

TEST(ThreadPoolTest, RunsEveryBlockOnce) {
  for (std::size_t threads : {1, 2, 3, 5}) {
    SCOPED_TRACE(threads);
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (std::size_t blocks : {0, 1, 2, 7, 100}) {
      std::vector<std::atomic<int>> runs(blocks);
      ParallelFor(&pool, blocks, [&](std::size_t block) { ++runs[block]; });
      for (const auto& count : runs) EXPECT_EQ(count.load(), 1);
    }
  }
}

TEST(ThreadPoolTest, NestedCallsRunInline) {
  ThreadPool pool(3);
  std::atomic<int> runs{0};
  pool.ParallelFor(4, [&](std::size_t) { pool.ParallelFor(5, [&](std::size_t) { ++runs; }); });
  EXPECT_EQ(runs.load(), 20);
}

TEST(ThreadPoolTest, RethrowsAndStaysUsable) {
  ThreadPool pool(2);
  std::atomic<int> runs{0};
  const auto failing = [&](std::size_t block) {
    ++runs;
    if (block == 3) throw std::runtime_error("block 3");
  };
  EXPECT_THROW(pool.ParallelFor(8, failing), std::runtime_error);
  EXPECT_EQ(runs.load(), 8);
  pool.ParallelFor(8, [&](std::size_t) { ++runs; });
  EXPECT_EQ(runs.load(), 16);
}

TEST(ThreadPoolTest, RefusesToHaveNoThread) { EXPECT_THROW(ThreadPool(0), ContractViolation); }

}  // namespace
}  // namespace muster
