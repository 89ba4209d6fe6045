#include "nn/optim/schedule.h"

#include <gtest/gtest.h>

namespace muster::nn {
namespace {

TEST(ScheduleTest, WarmsUpLinearly) {
  const ScheduleOptions options{.learning_rate = 8.0F, .warmup_steps = 4, .steps_total = 100};
  EXPECT_FLOAT_EQ(LearningRate(options, 0), 2.0F);
  EXPECT_FLOAT_EQ(LearningRate(options, 3), 8.0F);
  EXPECT_FLOAT_EQ(LearningRate(options, 4), 8.0F);
  EXPECT_FLOAT_EQ(LearningRate(options, 1000), 8.0F);
}

// Steps 2 to 10 after a warm-up of 2: step 6 is half way.
TEST(ScheduleTest, DecaysToTheFinalFraction) {
  for (const ScheduleKind kind : {ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    const ScheduleOptions options{.kind = kind,
                                  .learning_rate = 1.0F,
                                  .final_fraction = 0.1F,
                                  .warmup_steps = 2,
                                  .steps_total = 11};
    EXPECT_FLOAT_EQ(LearningRate(options, 2), 1.0F);
    EXPECT_FLOAT_EQ(LearningRate(options, 6), 0.55F);
    EXPECT_FLOAT_EQ(LearningRate(options, 10), 0.1F);
    EXPECT_FLOAT_EQ(LearningRate(options, 99), 0.1F);
    for (std::uint64_t step = 2; step < 10; ++step) {
      EXPECT_GT(LearningRate(options, step), LearningRate(options, step + 1));
    }
  }
}

TEST(ScheduleTest, StaysFiniteWhenThereIsNothingToDecay) {
  for (std::uint64_t total : {0, 1, 2, 3}) {
    const ScheduleOptions options{.kind = ScheduleKind::kCosine,
                                  .learning_rate = 1.0F,
                                  .warmup_steps = 2,
                                  .steps_total = total};
    for (std::uint64_t step = 0; step < 5; ++step) {
      EXPECT_GE(LearningRate(options, step), 0.0F);
      EXPECT_LE(LearningRate(options, step), 1.0F);
    }
  }
}

}  // namespace
}  // namespace muster::nn
