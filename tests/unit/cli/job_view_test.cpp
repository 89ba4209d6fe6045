#include "cli/job_view.h"

#include <gtest/gtest.h>

namespace muster::cli {
namespace {

v1::JobInfo RunningJob() {
  v1::JobInfo job;
  job.set_id(3);
  job.set_name("fashion-cnn");
  job.set_state(v1::JOB_STATE_RUNNING);
  job.set_attempt(1);
  job.set_steps_done(500);
  job.set_steps_total(1000);
  job.mutable_spec()->mutable_supervised()->set_batch_size(128);
  (*job.mutable_last_metrics())["train/loss"] = 0.51234;
  (*job.mutable_last_metrics())["validation/accuracy"] = 0.875;
  return job;
}

TEST(JobViewTest, MeasuresStepsASecondAndStartsAnewAfterARewind) {
  StepRate rate;
  EXPECT_EQ(rate.steps_per_second(), 0);
  rate.Add(0, 0);
  rate.Add(50, 2'000);
  EXPECT_EQ(rate.steps_per_second(), 25);
  rate.Add(10, 3'000);
  EXPECT_EQ(rate.steps_per_second(), 0);
}

TEST(JobViewTest, ShowsEverythingWhereThereIsRoom) {
  EXPECT_EQ(ProgressText(RunningJob(), 50, 0),
            "job 3 fashion-cnn RUNNING  500/1,000 steps  10 s left  loss 0.5123  accuracy 0.875  "
            "6,400 samples/s");
}

TEST(JobViewTest, ShowsTheTimeThatACommandHasRunAndItsExitCode) {
  v1::JobInfo job;
  job.set_id(3);
  job.set_name("shell");
  job.set_state(v1::JOB_STATE_RUNNING);
  job.set_started_ms(1'000);
  job.mutable_spec()->mutable_command()->add_arguments("sh");
  EXPECT_EQ(ProgressText(job, 0, 0, 43'000), "job 3 shell RUNNING  for 42 s");
  job.set_state(v1::JOB_STATE_FAILED);
  job.set_ended_ms(61'000);
  job.set_exit_code(3);
  job.set_reason("rank 1 on w-1 failed: `sh` exited with code 3");
  EXPECT_EQ(ResultText(job),
            "job 3 FAILED after 1 min, exit code 3\n"
            "  rank 1 on w-1 failed: `sh` exited with code 3");
}

TEST(JobViewTest, FitsAnyTerminal) {
  for (unsigned columns = 40; columns < 200; ++columns) {
    SCOPED_TRACE(columns);
    const std::string text = ProgressText(RunningJob(), 50, columns);
    EXPECT_LT(TextColumns(text), columns);
    EXPECT_NE(text.find("500/1,000 steps"), std::string::npos);
  }
}

TEST(JobViewTest, TellsWhyAJobDoesNotRun) {
  v1::JobInfo job = RunningJob();
  job.set_state(v1::JOB_STATE_QUEUED);
  job.set_reason("waits for 4 slots; 2 are free");
  EXPECT_EQ(ProgressText(job, 0, 0), "job 3 fashion-cnn QUEUED: waits for 4 slots; 2 are free");
}

TEST(JobViewTest, PrintsALineAtChangesAndEveryFiveSecondsWithoutATerminal) {
  std::vector<std::string> lines;
  JobView view([&](const std::string& line) { lines.push_back(line); },
               [](const std::string&, unsigned) { FAIL() << "there is no terminal"; });
  v1::JobInfo job = RunningJob();
  job.set_state(v1::JOB_STATE_STARTING);
  view.Show(job, 0, 0);
  job.set_state(v1::JOB_STATE_RUNNING);
  view.Show(job, 100, 0);
  job.set_steps_done(510);
  view.Show(job, 200, 0);
  EXPECT_EQ(lines.size(), 2U);
  job.set_steps_done(600);
  view.Show(job, 5'200, 0);
  EXPECT_EQ(lines.size(), 3U);
}

TEST(JobViewTest, EndsWithResultAndCheckpoint) {
  v1::JobInfo job = RunningJob();
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  job.set_started_ms(1'000);
  job.set_ended_ms(46'000);
  (*job.mutable_last_metrics())["test/accuracy"] = 0.9123;
  for (const unsigned step : {1000U, 500U}) {
    v1::CheckpointInfo* checkpoint = job.add_checkpoints();
    checkpoint->set_step(step);
    checkpoint->set_sha256(std::to_string(step) + "abc");
  }
  EXPECT_EQ(ResultText(job),
            "job 3 SUCCEEDED after 45 s\n  test accuracy 0.9123\n  checkpoint of step 1,000\n"
            "  sha256 1000abc");
}

}  // namespace
}  // namespace muster::cli
