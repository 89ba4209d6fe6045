#include "trainer/supervised/supervised_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/sha256.h"
#include "tests/unit/trainer/synthetic_job.h"

namespace muster {
namespace {

using test::Layout;
using test::QuadrantJob;
using test::RunJob;
using testing::ElementsAre;
using testing::HasSubstr;

class SupervisedTrainerTest : public testing::Test {
 protected:
  TrainingRun Run() const {
    TrainingRun run;
    run.staging_directory = folder_ + "/staging";
    return run;
  }
  // The digest of the last checkpoint of an undisturbed run.
  std::string FinalDigest(const SupervisedOptions& options, Layout layout) const {
    const auto outcome = RunJob(options, Run(), layout);
    for (const auto& result : outcome.results)
      EXPECT_TRUE(result.ok()) << result.status().message();
    const auto& notices = outcome.hosts[0].notices;
    EXPECT_TRUE(!notices.empty() && notices.back().last);
    return notices.empty() ? "none" : notices.back().sha256;
  }
  std::vector<nlohmann::json> Rows(const std::string& path) const {
    std::vector<nlohmann::json> rows;
    std::istringstream text(*ReadFile(path));
    for (std::string line; std::getline(text, line);) rows.push_back(nlohmann::json::parse(line));
    return rows;
  }

  std::string folder_ = test::EmptyFolder("supervised");
};

TEST_F(SupervisedTrainerTest, Learns) {
  for (const ModelKind model : {ModelKind::kMlp, ModelKind::kCnn}) {
    SCOPED_TRACE(static_cast<int>(model));
    SupervisedOptions options = QuadrantJob(folder_, model);
    options.steps = 0;
    options.epochs = 12;
    const auto outcome = RunJob(options, Run(), {});
    ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
    const SupervisedResult& result = *outcome.results[0];
    EXPECT_EQ(result.step, 60U);
    EXPECT_FALSE(result.stopped);
    EXPECT_GT(result.test->accuracy, 0.9);  // A guess is right for a quarter.
    EXPECT_GT(result.validation->accuracy, 0.9);
  }
}

// The first promise: ranks, threads and where lanes run do not change a bit.
TEST_F(SupervisedTrainerTest, SameBitsOnAnyNumberOfRanksAndThreads) {
  for (const ModelKind model : {ModelKind::kMlp, ModelKind::kCnn}) {
    SCOPED_TRACE(static_cast<int>(model));
    const SupervisedOptions options = QuadrantJob(folder_, model);
    const std::string digest = FinalDigest(options, {1, 1});
    for (const Layout layout :
         {Layout{1, 2}, {1, 3}, {1, 8}, {2, 1}, {2, 2}, {2, 4}, {4, 1}, {4, 2}}) {
      SCOPED_TRACE(std::to_string(layout.ranks) + " ranks, " + std::to_string(layout.threads));
      EXPECT_EQ(FinalDigest(options, layout), digest);
    }
    SupervisedOptions other = options;
    other.seed = 12;
    EXPECT_NE(FinalDigest(other, {1, 1}), digest);
    other = options;
    other.lanes = 8;
    EXPECT_NE(FinalDigest(other, {1, 1}), digest);
  }
}

// Interrupted after any step, and resumed on other ranks and threads, perhaps more than once.
TEST_F(SupervisedTrainerTest, ResumesToTheSameBits) {
  const SupervisedOptions options = QuadrantJob(folder_, ModelKind::kCnn);
  const std::string digest = FinalDigest(options, {1, 1});
  const Layout layouts[] = {{1, 1}, {2, 1}, {4, 1}, {1, 2}, {2, 2}};
  for (unsigned seed = 0; seed < 6; ++seed) {
    SCOPED_TRACE(seed);
    TrainingRun run = Run();
    run.staging_directory += std::to_string(seed);
    std::uint64_t stop_after = 0;
    std::string last;
    for (unsigned attempt = 0; attempt < 20; ++attempt) {
      stop_after += 1 + (seed * 7 + attempt * 5) % 11;
      const Layout layout = layouts[(seed + attempt) % 5];
      const auto outcome = RunJob(options, run, layout, stop_after, attempt % layout.ranks);
      for (const auto& result : outcome.results) {
        ASSERT_TRUE(result.ok()) << result.status().message();
        EXPECT_EQ(result->step, outcome.results[0]->step);
      }
      EXPECT_EQ(outcome.results[0]->step, std::min<std::uint64_t>(stop_after, 24));
      ASSERT_FALSE(outcome.hosts[0].notices.empty());
      last = outcome.hosts[0].notices.back().sha256;
      run.resume_directory = outcome.hosts[0].notices.back().directory;
      if (!outcome.results[0]->stopped) break;
    }
    EXPECT_EQ(last, digest);
  }
}

// ZeRO: neither what is sharded nor over how many ranks changes a bit, also of a job that is
// interrupted and goes on with another stage.
TEST_F(SupervisedTrainerTest, ShardedRunsHaveTheBitsOfOthers) {
  SupervisedOptions options = QuadrantJob(folder_, ModelKind::kMlp);
  options.model.mlp.hidden = {900, 100};  // 2.3 blocks.
  options.lanes = 8;
  options.steps = 9;
  const std::string digest = FinalDigest(options, {1, 1});
  for (const int stage : {1, 2}) {
    options.zero_stage = stage;
    for (const Layout layout : {Layout{1, 1}, {1, 3}, {2, 1}, {2, 2}, {2, 8}, {4, 1}, {4, 2}}) {
      SCOPED_TRACE(testing::Message() << "stage " << stage << ", " << layout.ranks << " ranks, "
                                      << layout.threads << " threads");
      EXPECT_EQ(FinalDigest(options, layout), digest);
    }
  }
  TrainingRun run = Run();
  std::string last;
  const int stages[] = {2, 0, 1, 2, 1, 0, 2};
  for (std::uint64_t attempt = 0; attempt < 7; ++attempt) {
    options.zero_stage = stages[attempt];
    const Layout layout{attempt % 2 == 0 ? 2U : 4U, 1};
    const auto outcome = RunJob(options, run, layout, attempt == 6 ? 100 : attempt + 1, 1);
    ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
    EXPECT_EQ(outcome.results[0]->step, attempt == 6 ? 9 : attempt + 1);
    run.resume_directory = outcome.hosts[0].notices.back().directory;
    last = outcome.hosts[0].notices.back().sha256;
  }
  EXPECT_EQ(last, digest);
}

TEST_F(SupervisedTrainerTest, CadenceDecidesWhichCheckpointsExistNotTheirBytes) {
  const SupervisedOptions options = QuadrantJob(folder_, ModelKind::kMlp);
  TrainingRun run = Run();
  const auto plain = RunJob(options, run, {2, 1});
  ASSERT_EQ(plain.hosts[0].notices.size(), 1U);
  EXPECT_TRUE(plain.hosts[1].notices.empty());

  run.cadence.every_steps = 10;
  const auto steps = RunJob(options, run, {2, 1}).hosts[0].notices;
  ASSERT_EQ(steps.size(), 3U);
  EXPECT_EQ(steps[0].step, 10U);
  EXPECT_FALSE(steps[0].score.has_value());
  EXPECT_FALSE(steps[1].last);
  EXPECT_EQ(steps[2].step, 24U);
  EXPECT_TRUE(steps[2].score.has_value());
  EXPECT_EQ(steps[2].sha256, plain.hosts[0].notices[0].sha256);

  run.cadence = {};
  run.cadence.every_seconds = 1e-9;  // After every step.
  const auto seconds = RunJob(options, run, {2, 1}).hosts[0].notices;
  ASSERT_EQ(seconds.size(), 24U);
  EXPECT_EQ(seconds[9].sha256, steps[0].sha256);

  run.cadence = {};
  run.cadence.on_best = true;
  const auto best = RunJob(options, run, {2, 1}).hosts[0].notices;
  ASSERT_GE(best.size(), 2U);
  EXPECT_EQ(best[0].step, 7U);
  for (std::size_t i = 1; i + 1 < best.size(); ++i) EXPECT_GT(*best[i].score, *best[i - 1].score);
}

TEST_F(SupervisedTrainerTest, LookingDoesNotChangeTheModel) {
  SupervisedOptions options = QuadrantJob(folder_, ModelKind::kCnn);
  std::vector<std::string> models;
  for (const std::uint64_t every : {0, 1, 7}) {
    options.evaluate_every_steps = every;
    const auto outcome = RunJob(options, Run(), {2, 1});
    ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
    const std::string directory = outcome.hosts[0].notices.back().directory;
    models.push_back(*Sha256OfFile(directory + "/model.safetensors"));
  }
  EXPECT_EQ(models[1], models[0]);
  EXPECT_EQ(models[2], models[0]);
}

TEST_F(SupervisedTrainerTest, WritesOneRowOfMetricsAStep) {
  const SupervisedOptions options = QuadrantJob(folder_, ModelKind::kMlp);
  TrainingRun run = Run();
  run.metrics_path = folder_ + "/metrics.jsonl";
  const auto outcome = RunJob(options, run, {2, 1});
  ASSERT_TRUE(outcome.results[0].ok());
  const auto rows = Rows(run.metrics_path);
  ASSERT_EQ(rows.size(), 24U);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(rows[i].dump());
    EXPECT_EQ(rows[i]["step"], i + 1);
    for (const char* name :
         {"train/loss", "train/accuracy", "train/learning_rate", "train/gradient_norm",
          "train/images_per_second", "time/data_ms", "time/forward_ms", "time/backward_ms",
          "time/communication_ms", "time/optimizer_ms", "time/evaluation_ms", "time/checkpoint_ms",
          "time/step_ms"}) {
      EXPECT_TRUE(rows[i].contains(name)) << name;
    }
    EXPECT_EQ(rows[i].contains("validation/accuracy"), (i + 1) % 7 == 0 || i == 23);
    EXPECT_EQ(rows[i].contains("test/accuracy"), i == 23);
  }
  EXPECT_EQ(rows[23]["test/accuracy"], outcome.results[0]->test->accuracy);
  EXPECT_EQ(rows[23]["validation/loss"], outcome.results[1]->validation->loss);
  EXPECT_EQ(outcome.hosts[0].notices.back().metrics_bytes,
            std::filesystem::file_size(run.metrics_path));
}

// Partial last batches count every sample once: 470 and 150 are no multiples of a batch.
TEST_F(SupervisedTrainerTest, AnEvaluationCountsEverySample) {
  SupervisedOptions options = QuadrantJob(folder_, ModelKind::kMlp);
  const auto outcome = RunJob(options, Run(), {1, 1});
  const double correct = outcome.results[0]->test->accuracy * 150;
  EXPECT_NEAR(correct, std::round(correct), 1e-9);
  options.lanes = 16;
  options.batch_size = 16;
  const auto lanes = RunJob(options, Run(), {4, 1});
  const double validated = lanes.results[0]->validation->accuracy * 470;
  EXPECT_NEAR(validated, std::round(validated), 1e-9);
}

TEST_F(SupervisedTrainerTest, ResumingTheLastCheckpointHasNothingLeftToDo) {
  const SupervisedOptions options = QuadrantJob(folder_, ModelKind::kMlp);
  TrainingRun run = Run();
  const auto first = RunJob(options, run, {1, 1});
  run.resume_directory = first.hosts[0].notices.back().directory;
  const auto again = RunJob(options, run, {2, 1});
  ASSERT_TRUE(again.results[1].ok()) << again.results[1].status().message();
  EXPECT_TRUE(again.hosts[0].steps.empty());
  EXPECT_EQ(again.results[0]->test->accuracy, first.results[0]->test->accuracy);
}

TEST_F(SupervisedTrainerTest, RefusesToResumeAnotherJob) {
  const SupervisedOptions options = QuadrantJob(folder_, ModelKind::kMlp);
  TrainingRun run = Run();
  run.resume_directory = RunJob(options, run, {1, 1}, 10).hosts[0].notices.back().directory;
  const auto refusal = [&run](const SupervisedOptions& changed) {
    const auto outcome = RunJob(changed, run, {2, 1});
    EXPECT_FALSE(outcome.results[1].ok());
    return outcome.results[0].status().message();
  };
  SupervisedOptions changed = options;
  changed.batch_size = 32;
  EXPECT_THAT(refusal(changed), HasSubstr("another batch_size: 64, now it is 32"));
  changed = options;
  changed.model.mlp.hidden = {31};
  EXPECT_THAT(refusal(changed), HasSubstr("another model"));
  test::WriteQuadrants(folder_ + "/train", 800, 5);
  EXPECT_THAT(refusal(options), HasSubstr("the data have changed"));
}

TEST_F(SupervisedTrainerTest, TellsTheStepWhereNumbersEnd) {
  SupervisedOptions options = QuadrantJob(folder_, ModelKind::kMlp);
  options.optimizer.kind = nn::OptimizerKind::kSgd;
  options.learning_rate = 1e30F;
  options.gradient_clip_norm = 0.0;
  options.warmup_steps = 0;
  const auto outcome = RunJob(options, Run(), {2, 1});
  EXPECT_THAT(outcome.results[0].status().message(), testing::ContainsRegex("^step [2-4]: the "));
  EXPECT_EQ(outcome.results[0].status().message(), outcome.results[1].status().message());
  EXPECT_TRUE(outcome.hosts[0].notices.empty());
  options.schedule = nn::ScheduleKind::kConstant;
  options.steps = 1;  // The first loss is finite, what its step makes of the parameters is not.
  EXPECT_THAT(RunJob(options, Run(), {1, 1}).results[0].status().message(),
              HasSubstr("step 1: the validation loss is"));
}

TEST_F(SupervisedTrainerTest, ReadsCsvToo) {
  std::string rows = "x,y,label\n";
  for (unsigned i = 0; i < 300; ++i) {
    const PhiloxBlock block = RandomBlock(3, RandomPurpose::kAugmentation, 0, i);
    const float x = UnitFloat(block[0]);
    const float y = UnitFloat(block[1]);
    rows += std::to_string(x) + "," + std::to_string(y) + (x > y ? ",1\n" : ",0\n");
  }
  SupervisedOptions options = QuadrantJob(folder_, ModelKind::kMlp);
  options.data.train_idx.reset();
  options.data.test_idx.reset();
  options.data.train_csv = CsvOptions{test::Written(folder_ + "/points.csv", rows)};
  options.data.validation_samples = 70;
  options.steps = 100;
  options.learning_rate = 0.02F;
  const auto outcome = RunJob(options, Run(), {2, 1});
  ASSERT_TRUE(outcome.results[0].ok()) << outcome.results[0].status().message();
  EXPECT_GT(outcome.results[0]->validation->accuracy, 0.9);
  EXPECT_FALSE(outcome.results[0]->test.has_value());
}

}  // namespace
}  // namespace muster
