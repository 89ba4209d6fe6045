#include "worker/rank/publish_queue.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <vector>

namespace muster::rank {
namespace {

v1::PublishRequest Checkpoint(std::uint64_t step, bool final = false) {
  v1::PublishRequest request;
  request.set_step(step);
  request.set_final(final);
  return request;
}

TEST(PublishQueueTest, PublishesInOrder) {
  std::vector<std::uint64_t> steps;
  PublishQueue queue([&steps](const v1::PublishRequest& request) {
    steps.push_back(request.step());
    return Status();
  });
  ASSERT_TRUE(queue.Add(Checkpoint(1)).ok());
  ASSERT_TRUE(queue.WaitForAll().ok());
  ASSERT_TRUE(queue.Add(Checkpoint(2)).ok());
  ASSERT_TRUE(queue.Add(Checkpoint(3, true)).ok());
  ASSERT_TRUE(queue.WaitForAll().ok());
  EXPECT_EQ(steps, (std::vector<std::uint64_t>{1, 2, 3}));
}

TEST(PublishQueueTest, DropsTheOldestThatWaitsButNeitherTheBestNorTheLastOne) {
  std::promise<void> started, go;
  std::future<void> may_go = go.get_future();
  std::vector<std::uint64_t> steps;
  PublishQueue queue([&](const v1::PublishRequest& request) {
    if (steps.empty()) {
      started.set_value();
      may_go.wait();
    }
    steps.push_back(request.step());
    return Status();
  });
  ASSERT_TRUE(queue.Add(Checkpoint(1)).ok());
  started.get_future().wait();
  for (std::uint64_t step = 2; step <= 8; ++step) {
    v1::PublishRequest checkpoint = Checkpoint(step);
    checkpoint.set_score(step == 3 || step == 8 ? 0.9 : 0.1);  // Of equally good ones the earlier.
    ASSERT_TRUE(queue.Add(checkpoint).ok());
  }
  ASSERT_TRUE(queue.Add(Checkpoint(9, true)).ok());
  go.set_value();
  ASSERT_TRUE(queue.WaitForAll().ok());
  EXPECT_EQ(steps, (std::vector<std::uint64_t>{1, 3, 6, 7, 8, 9}));
}

TEST(PublishQueueTest, ARefusalEndsEverything) {
  PublishQueue queue([](const v1::PublishRequest&) { return Aborted("attempt 2 has taken over"); });
  ASSERT_TRUE(queue.Add(Checkpoint(7)).ok());
  const Status status = queue.WaitForAll();
  EXPECT_EQ(status.code(), StatusCode::kAborted);
  EXPECT_EQ(status.message(), "publish the checkpoint of step 7: attempt 2 has taken over");
  EXPECT_EQ(queue.Add(Checkpoint(8)).code(), StatusCode::kAborted);
}

}  // namespace
}  // namespace muster::rank
