#include "trainer/metrics/metrics_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmath>
#include <csignal>

#include "tests/unit/trainer/data_files.h"

namespace muster {
namespace {

class MetricsWriterTest : public testing::Test {
 protected:
  std::string path_ = test::EmptyFolder("metrics") + "/metrics.jsonl";
};

TEST_F(MetricsWriterTest, AppendsOneRowAStepWithSortedKeys) {
  auto writer = MetricsWriter::Open(path_);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->Append(1'000'000, {{"train/loss", 0.1}, {"epoch", 2}}).ok());
  ASSERT_TRUE(writer->Append(1'000'001, {{"a", NAN}, {"z", 1e-7}}).ok());
  ASSERT_TRUE(writer->Append(1'000'002, {}).ok());
  const std::string rows =
      "{\"epoch\":2,\"step\":1000000,\"train/loss\":0.1}\n"
      "{\"a\":null,\"step\":1000001,\"z\":1e-07}\n"
      "{\"step\":1000002}\n";
  EXPECT_EQ(*ReadFile(path_), rows);
  EXPECT_EQ(writer->bytes_written(), rows.size());
}

TEST_F(MetricsWriterTest, GoesOnAfterWholeRowsAndRemovesHalfOnes) {
  test::Written(path_, "{\"step\":1}\n{\"ste");
  auto writer = MetricsWriter::Open(path_);
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(writer->bytes_written(), 11U);
  ASSERT_TRUE(writer->Append(2, {}).ok());
  EXPECT_EQ(*ReadFile(path_), "{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(MetricsWriterTest, AFullDiskLeavesNoHalfRow) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{15, 15};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    auto writer = MetricsWriter::Open(path_);
    const bool first = writer->Append(1, {}).ok();
    const Status second = writer->Append(2, {});
    ::_exit(first && second.code() == StatusCode::kResourceExhausted ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(*ReadFile(path_), "{\"step\":1}\n");
}

TEST_F(MetricsWriterTest, NamesAFileItCannotOpen) {
  EXPECT_THAT(MetricsWriter::Open("/nowhere/m.jsonl").status().message(),
              testing::HasSubstr("/nowhere/m.jsonl"));
}

}  // namespace
}  // namespace muster
