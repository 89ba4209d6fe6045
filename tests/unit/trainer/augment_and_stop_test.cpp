// Augmentation and early stop in a whole training: what they change, and that neither ranks nor a
// resume change them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/trainer/synthetic_job.h"
#include "trainer/checkpoint/checkpoint.h"

namespace muster {
namespace {

using test::Layout;
using test::Outcome;
using test::RunJob;
using testing::ElementsAre;
using testing::HasSubstr;

class AugmentAndStopTest : public testing::Test {
 protected:
  // A small residual network; images are shifted and flipped.
  SupervisedOptions Augmented() const {
    SupervisedOptions options = test::QuadrantJob(folder_, ModelKind::kResnet);
    options.model.resnet.stages = 2;
    options.model.resnet.blocks = 1;
    options.model.resnet.base_channels = 8;
    options.augment = {1, true};
    return options;
  }
  // No accuracy is above another by more than 1, so the first evaluation stays the best: with
  // evaluations every 3 steps and a patience of 2 the job ends after step 9 of 24.
  SupervisedOptions Stopping() const {
    SupervisedOptions options = test::QuadrantJob(folder_, ModelKind::kMlp);
    options.evaluate_every_steps = 3;
    options.early_stop = {2, 1.0};
    return options;
  }
  TrainingRun Run(const std::string& name = "staging") const {
    TrainingRun run;
    run.staging_directory = folder_ + "/" + name;
    return run;
  }
  static std::string Digest(const Outcome& outcome) {
    for (const auto& result : outcome.results) {
      EXPECT_TRUE(result.ok()) << result.status().message();
    }
    const auto& notices = outcome.hosts[0].notices;
    EXPECT_TRUE(!notices.empty() && notices.back().last);
    return notices.empty() ? "none" : notices.back().sha256;
  }
  // Interrupts the job again and again, each time after some steps more and on other ranks.
  std::string DigestOfPieces(const SupervisedOptions& options, unsigned seed) const {
    const Layout layouts[] = {{1, 1}, {2, 1}, {4, 1}, {1, 2}, {2, 2}};
    TrainingRun run = Run("staging" + std::to_string(seed));
    std::uint64_t stop_after = 0;
    for (unsigned attempt = 0; attempt < 20; ++attempt) {
      stop_after += 1 + (seed * 7 + attempt * 5) % 6;
      const auto outcome = RunJob(options, run, layouts[(seed + attempt) % 5], stop_after);
      if (!outcome.results[0].ok()) return outcome.results[0].status().message();
      if (!outcome.results[0]->stopped) return Digest(outcome);
      run.resume_directory = outcome.hosts[0].notices.back().directory;
    }
    return "no end";
  }

  std::string folder_ = test::EmptyFolder("augment_and_stop");
};

TEST_F(AugmentAndStopTest, SameBitsOnAnyNumberOfRanksAndThreads) {
  const SupervisedOptions options = Augmented();
  const std::string digest = Digest(RunJob(options, Run(), {1, 1}));
  for (const Layout layout : {Layout{1, 3}, {1, 8}, {2, 1}, {2, 4}, {4, 1}}) {
    SCOPED_TRACE(std::to_string(layout.ranks) + " ranks, " + std::to_string(layout.threads));
    EXPECT_EQ(Digest(RunJob(options, Run(), layout)), digest);
  }
  for (const AugmentOptions& other : {AugmentOptions{}, {1, false}, {0, true}, {2, true}}) {
    SupervisedOptions changed = options;
    changed.augment = other;
    EXPECT_NE(Digest(RunJob(changed, Run(), {1, 1})), digest);
  }
}

TEST_F(AugmentAndStopTest, ResumesToTheSameBits) {
  const SupervisedOptions options = Augmented();
  const std::string digest = Digest(RunJob(options, Run(), {1, 1}));
  for (unsigned seed = 0; seed < 4; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_EQ(DigestOfPieces(options, seed), digest);
  }
}

// At a rate that moves no parameter, every evaluation sees the same model: with or without
// augmentation it says the same, while training sees other images.
TEST_F(AugmentAndStopTest, EvaluationsSeeImagesAsTheyAre) {
  SupervisedOptions options = Augmented();
  options.learning_rate = 1e-30F;
  options.optimizer.weight_decay = 0.0F;
  options.steps = 4;
  TrainingRun run = Run();
  std::vector<SupervisedResult> results;
  std::vector<std::string> rows;
  for (const AugmentOptions& augment : {AugmentOptions{}, {3, true}}) {
    options.augment = augment;
    run.metrics_path = folder_ + "/metrics" + std::to_string(results.size());
    const auto outcome = RunJob(options, run, {2, 1});
    ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
    results.push_back(*outcome.results[0]);
    const std::string text = *ReadFile(run.metrics_path);
    const auto first = nlohmann::json::parse(text.substr(0, text.find('\n')));
    rows.push_back(first["train/loss"].dump());
  }
  EXPECT_EQ(results[0].validation->loss, results[1].validation->loss);
  EXPECT_EQ(results[0].test->loss, results[1].test->loss);
  EXPECT_NE(rows[0], rows[1]);
}

TEST(EarlyStopTest, CountsEvaluationsWithoutImprovement) {
  const EarlyStopOptions options{2, 0.1};
  EarlyStop stop;
  const auto ends_after = [&](double accuracy) {
    stop.Observe(options, accuracy);
    return stop.Ends(options);
  };
  EXPECT_FALSE(ends_after(0.5));
  EXPECT_FALSE(ends_after(0.59));  // Better, but by too little.
  EXPECT_FALSE(ends_after(0.65));  // 0.15 above 0.5: the count begins again.
  EXPECT_FALSE(ends_after(0.7));
  EXPECT_TRUE(ends_after(0.65));
  EXPECT_EQ(stop.best, 0.65);
  EXPECT_FALSE(EarlyStop{}.Ends({}));
}

TEST_F(AugmentAndStopTest, AllRanksEndAfterTheSameStepWithACheckpointOfIt) {
  TrainingRun run = Run();
  run.cadence.on_best = true;
  const auto outcome = RunJob(Stopping(), run, {4, 1});
  const std::string digest = Digest(outcome);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(outcome.results[rank]->step, 9U);
    EXPECT_EQ(outcome.results[rank]->steps_total, 24U);
    EXPECT_TRUE(outcome.results[rank]->ended_early);
    EXPECT_FALSE(outcome.results[rank]->stopped);
    EXPECT_TRUE(outcome.results[rank]->test.has_value());
    EXPECT_EQ(outcome.hosts[rank].told_total, 9U);  // Nothing is left to do.
    EXPECT_THAT(outcome.hosts[rank].why_early,
                HasSubstr("ended early after step 9 of 24: 2 evaluations without a validation "
                          "accuracy above 0."));
  }
  const auto& notices = outcome.hosts[0].notices;
  EXPECT_EQ(notices.back().step, 9U);
  EXPECT_TRUE(notices.back().score.has_value());
  EXPECT_EQ(notices.front().step, 3U);  // The best at that time.
  EXPECT_FALSE(notices.front().last);
  EXPECT_EQ(Digest(RunJob(Stopping(), Run(), {1, 2})), digest);
}

TEST_F(AugmentAndStopTest, AResumedJobEndsAfterTheSameStep) {
  const std::string digest = Digest(RunJob(Stopping(), Run(), {1, 1}));
  for (unsigned seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_EQ(DigestOfPieces(Stopping(), seed), digest);
  }
}

// As when the process was killed between its last checkpoint and its end.
TEST_F(AugmentAndStopTest, ResumedAtItsEndItSaysAgainThatItHasEnded) {
  TrainingRun run = Run();
  run.resume_directory = RunJob(Stopping(), run, {1, 1}).hosts[0].notices.back().directory;
  const auto again = RunJob(Stopping(), run, {2, 1});
  ASSERT_TRUE(again.results[1].ok()) << again.results[1].status().message();
  EXPECT_TRUE(again.hosts[0].steps.empty());
  EXPECT_EQ(again.hosts[0].started_at, 9U);
  EXPECT_EQ(again.hosts[0].told_total, 9U);
  EXPECT_THAT(again.hosts[0].why_early, HasSubstr("after step 9 of 24"));
  EXPECT_FALSE(again.results[0]->stopped);
}

TEST_F(AugmentAndStopTest, AJobThatImprovesRunsToItsEnd) {
  SupervisedOptions options = Stopping();
  options.early_stop.patience = 8;  // Of 8 evaluations one is the best.
  const auto outcome = RunJob(options, Run(), {1, 1});
  EXPECT_EQ(outcome.results[0]->step, 24U);
  EXPECT_FALSE(outcome.results[0]->ended_early);
  EXPECT_EQ(outcome.hosts[0].why_early, "");
  options.early_stop.patience = 7;  // Satisfied by the last one: nothing was left anyway.
  EXPECT_FALSE(RunJob(options, Run(), {1, 1}).results[0]->ended_early);
}

TEST_F(AugmentAndStopTest, RefusesToGoOnWithoutOrWithOthers) {
  SupervisedOptions options = Stopping();
  options.augment = {1, true};
  TrainingRun run = Run();
  run.resume_directory = RunJob(options, run, {1, 1}, 4).hosts[0].notices.back().directory;
  const auto refusal = [&run](const SupervisedOptions& changed) {
    return RunJob(changed, run, {1, 1}).results[0].status().message();
  };
  SupervisedOptions changed = options;
  changed.augment = {};
  EXPECT_THAT(refusal(changed), HasSubstr("made with augment {"));
  changed = options;
  changed.early_stop = {};
  EXPECT_THAT(refusal(changed), HasSubstr("made with early_stop {"));
  changed = options;
  changed.augment.shift_max = 2;
  EXPECT_THAT(refusal(changed), HasSubstr("another augment"));
  EXPECT_EQ(refusal(options), "");
}

TEST_F(AugmentAndStopTest, RefusesWhatCannotWorkBeforeAnythingStarts) {
  const auto refusal = [](const SupervisedOptions& options) {
    const auto plan = PlanSupervised(options, 1);
    return plan.ok() ? "accepted" : plan.status().message();
  };
  EXPECT_EQ(refusal(Stopping()), "accepted");
  SupervisedOptions options = Stopping();
  options.data.validation_samples = 0;
  EXPECT_THAT(refusal(options), HasSubstr("early_stop.patience needs validation samples"));
  options.data.validation_fraction = 1e-6;  // Of 800 samples none.
  EXPECT_THAT(refusal(options), HasSubstr("early_stop.patience needs validation samples"));
  options = Stopping();
  options.evaluate_every_steps = 0;
  EXPECT_THAT(refusal(options), HasSubstr("needs evaluate_every_steps"));
  options = Stopping();
  options.early_stop.min_delta = -0.1;
  EXPECT_THAT(refusal(options), HasSubstr("min_delta must be from 0 to 1"));
  options = Stopping();
  options.augment.shift_max = 8;
  EXPECT_THAT(refusal(options), HasSubstr("the most for them is 7"));
}

TEST_F(AugmentAndStopTest, TrainsWithRmsProp) {
  SupervisedOptions options = test::QuadrantJob(folder_, ModelKind::kMlp);
  options.optimizer.kind = nn::OptimizerKind::kRmsProp;
  options.steps = 60;
  for (const float momentum : {0.0F, 0.5F}) {
    options.optimizer.momentum = momentum;
    const auto outcome = RunJob(options, Run(), {2, 1});
    ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
    EXPECT_GT(outcome.results[0]->test->accuracy, 0.9);
    EXPECT_EQ(Digest(outcome), DigestOfPieces(options, momentum == 0.0F ? 0 : 1));
  }
  EXPECT_EQ(RecipeOf(options)["optimizer"]["kind"], "rmsprop");
  EXPECT_EQ(RecipeOf(options)["optimizer"]["alpha"].dump(), "0.99");
}

}  // namespace
}  // namespace muster
