#include "trainer/supervised/supervised_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/trainer/synthetic_job.h"

namespace muster {
namespace {

using testing::HasSubstr;

class SupervisedOptionsTest : public testing::Test {
 protected:
  // What is said of the good options after a change.
  template <class Change>
  std::string Refusal(const Change& change, std::size_t ranks = 2) {
    SupervisedOptions options = good_;
    change(options);
    const auto plan = PlanSupervised(options, ranks);
    return plan.ok() ? "accepted" : plan.status().message();
  }
  SupervisedOptions good_ = test::QuadrantJob(test::EmptyFolder("options"), ModelKind::kCnn);
};

TEST_F(SupervisedOptionsTest, PlansWithoutTraining) {
  const auto plan = PlanSupervised(good_, 4);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ(plan->data.train_samples, 330U);
  EXPECT_EQ(plan->steps_per_epoch, 5U);
  EXPECT_EQ(plan->steps_total, 24U);
  // conv 1->8 and 8->16 of 3 x 3, then 2 x 2 x 16 -> 16 -> 4; each with biases.
  EXPECT_EQ(plan->parameters, 8U * 9 + 8 + 16 * 8 * 9 + 16 + 16 * 64 + 16 + 4 * 16 + 4);
  good_.steps = 0;
  good_.epochs = 3;
  EXPECT_EQ(PlanSupervised(good_, 1)->steps_total, 15U);
}

TEST_F(SupervisedOptionsTest, NamesWhatIsWrong) {
  using Options = SupervisedOptions;
  EXPECT_EQ(Refusal([](Options&) {}), "accepted");
  EXPECT_THAT(Refusal([](Options& o) { o.batch_size = 66; }),
              HasSubstr("batch_size 66 is not a multiple of lanes (4)"));
  EXPECT_THAT(Refusal([](Options& o) { o.batch_size = 0; }), HasSubstr("batch_size must be above"));
  EXPECT_THAT(Refusal([](Options& o) { o.batch_size = 332; }),
              HasSubstr("more than the 330 samples to train on"));
  EXPECT_THAT(Refusal([](Options& o) { o.lanes = 3; }), HasSubstr("lanes must be a power of two"));
  EXPECT_THAT(Refusal([](Options&) {}, 8), HasSubstr("ranks must be a power of two up to lanes"));
  EXPECT_THAT(Refusal([](Options&) {}, 3), HasSubstr("ranks must be a power of two up to lanes"));
  EXPECT_THAT(Refusal([](Options& o) { o.epochs = 1; }), HasSubstr("either epochs or steps"));
  EXPECT_THAT(Refusal([](Options& o) { o.steps = 0; }), HasSubstr("either epochs or steps"));
  EXPECT_THAT(Refusal([](Options& o) { o.learning_rate = 0; }), HasSubstr("learning_rate"));
  EXPECT_THAT(Refusal([](Options& o) { o.learning_rate = NAN; }), HasSubstr("learning_rate"));
  EXPECT_THAT(Refusal([](Options& o) { o.final_learning_rate_fraction = 2; }),
              HasSubstr("final_learning_rate_fraction"));
  EXPECT_THAT(Refusal([](Options& o) { o.zero_stage = 3; }), HasSubstr("zero_stage"));
  EXPECT_THAT(Refusal([](Options& o) { o.gradient_clip_norm = -1; }),
              HasSubstr("gradient_clip_norm"));
  EXPECT_THAT(Refusal([](Options& o) { o.optimizer.beta2 = 1; }), HasSubstr("beta2"));
  EXPECT_THAT(Refusal([](Options& o) { o.optimizer.momentum = 1; }), HasSubstr("momentum"));
  EXPECT_THAT(Refusal([](Options& o) { o.optimizer.weight_decay = -1; }),
              HasSubstr("weight_decay"));
  EXPECT_THAT(Refusal([](Options& o) { o.warmup_steps = 25; }),
              HasSubstr("warmup_steps 25 is more than the 24 steps"));
  EXPECT_THAT(Refusal([](Options& o) {
                o.model.cnn.conv_channels = {8, 8, 8, 8};
              }),
              HasSubstr("channels"));
  EXPECT_THAT(Refusal([](Options& o) {
                o.model.cnn.hidden = {1U << 31U, 1U << 31U, 1U << 31U};
              }),
              HasSubstr("the most is 2^36"));
  EXPECT_THAT(Refusal([](Options& o) { o.data.validation_samples = 800; }),
              HasSubstr("leave none to train on"));
  EXPECT_THAT(Refusal([](Options& o) { o.data.train_idx->images = "/nowhere"; }),
              HasSubstr("/nowhere"));
}

TEST_F(SupervisedOptionsTest, TheRecipeHoldsWhatTheResultDependsOn) {
  const nlohmann::json recipe = RecipeOf(good_);
  EXPECT_EQ(recipe["learning_rate"].dump(), "0.005");
  SupervisedOptions moved = good_;
  moved.data.cache_directory = "/elsewhere";
  moved.data.train_idx->images = "/elsewhere";
  EXPECT_EQ(RecipeOf(moved), recipe);
  moved.optimizer.beta1 = 0.8F;
  EXPECT_NE(RecipeOf(moved), recipe);
}

}  // namespace
}  // namespace muster
