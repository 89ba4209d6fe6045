#include "cli/metric_rows.h"

#include <gtest/gtest.h>

namespace muster::cli {
namespace {

TEST(MetricRowsTest, ReadsNumbersByName) {
  MetricRow row;
  ASSERT_TRUE(ParseMetricRow(R"({"step":20,"train/loss":0.5,"note":"x","bad":null})", row));
  EXPECT_EQ(row.step, 20U);
  EXPECT_EQ(row.values, (std::map<std::string, double>{{"train/loss", 0.5}}));
  EXPECT_EQ(row.nulls, (std::vector<std::string>{"bad"}));
}

TEST(MetricRowsTest, RefusesWhatIsNoRow) {
  MetricRow row;
  for (const char* line : {"", "[]", "{}", "{\"step\":-1}", "{\"step\":1", "\xff"}) {
    EXPECT_FALSE(ParseMetricRow(line, row)) << line;
  }
}

TEST(MetricRowsTest, QuotesColumnsOfCsvWhereNeeded) {
  EXPECT_EQ(CsvHeader({"a", "b,c", "d\"e"}), "step,a,\"b,c\",\"d\"\"e\"");
  EXPECT_EQ(CsvLine({3, {{"a", 0.1}}}, {"a", "b"}), "3,0.1,");
}

}  // namespace
}  // namespace muster::cli
