#include "cli/watch_view.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cli/terminal.h"

namespace muster::cli {
namespace {

using Lines = std::vector<std::string>;

v1::MetricsChunk Rows(const std::string& rows) {
  v1::MetricsChunk chunk;
  chunk.set_rows(rows);
  return chunk;
}

TEST(CurvesTest, ShowsTheFirstThatExistsOfThoseThatMatterMost) {
  Curves curves({});
  EXPECT_EQ(curves.shown(), Lines());
  curves.Take(Rows("{\"step\":1,\"time/step\":3,\"zebra\":1,\"ant\":2}\n"));
  EXPECT_EQ(curves.shown(), Lines{"ant"});
  curves.Take(Rows("{\"step\":2,\"train/loss\":0.5}\n"));
  EXPECT_EQ(curves.shown(), Lines{"train/loss"});
  curves.Take(Rows("{\"step\":3,\"validation/accuracy\":0.5,\"evaluation/return\":3}\n"));
  EXPECT_EQ(curves.shown(), Lines{"evaluation/return"});
  curves.Take(Rows("{\"step\":4,\"charts/episodic_return\":0.5}\n"));
  EXPECT_EQ(curves.shown(), Lines{"charts/episodic_return"});
  curves.Take(Rows("{\"step\":4,\"episode/return\":0.5}\n"));
  EXPECT_EQ(curves.shown(), Lines{"episode/return"});
}

TEST(CurvesTest, ShowsWhatIsAskedForInThatOrderAndOnce) {
  Curves curves({"time/step", "b", "a", "b"});
  curves.Take(Rows("{\"step\":1,\"time/step\":3,\"a\":1,\"b\":2}\n"));
  EXPECT_EQ(curves.shown(), (Lines{"time/step", "b", "a"}));
  EXPECT_EQ(NewestText(curves), "  time/step 3  b 2  a 1");
}

TEST(CurvesTest, RepeatedStepsReplaceTheOldOnesAndNullIsAGap) {
  Curves curves({});
  curves.Take(Rows("{\"step\":1,\"a\":1}\n{\"step\":2,\"a\":2}\n{\"step\":3,\"a\":3}\n"));
  v1::MetricsChunk rewind;
  rewind.set_rewind_to_step(1);
  curves.Take(rewind);
  EXPECT_EQ(curves.points("a").size(), 1U);
  curves.Take(Rows("{\"step\":2,\"a\":null}\nno row\n{\"step\":3,\"a\":7}\n"));
  const std::vector<ChartPoint>& points = curves.points("a");
  ASSERT_EQ(points.size(), 3U);
  EXPECT_EQ(points[0].value, 1);
  EXPECT_TRUE(std::isnan(points[1].value));
  EXPECT_EQ(points[2].step, 3U);
  EXPECT_EQ(points[2].value, 7);
}

TEST(CurvesTest, NamesTheNearestMetricAndAllThatThereAre) {
  Curves curves({"train/los", "train/loss"});
  EXPECT_TRUE(curves.empty());
  curves.Take(Rows("{\"step\":1,\"time/step\":3,\"train/loss\":1,\"a\\u001b[2J\":2}\n"));
  EXPECT_EQ(curves.MissingText(),
            "no metric 'train/los' (did you mean 'train/loss'?); there are: a\\x1b[2J train/loss");
  curves.Take(Rows("{\"step\":2,\"train/los\":1}\n"));
  EXPECT_EQ(curves.MissingText(), "");
}

TEST(DrawWatchTest, PutsTheCurvesBelowTheProgress) {
  Curves curves({"a", "b", "missing"});
  curves.Take(Rows("{\"step\":1,\"a\":1,\"b\":5}\n{\"step\":2,\"a\":2,\"b\":5}\n"));
  const Lines expected = {"job 3 waits for a worker",  //
                          "no metric 'missing';",      //
                          "there are: a b",            //
                          "a 2 at step 2",             //
                          "2 +               ******",  //
                          "  |     **********",        //
                          "1 +*****",                  //
                          "   step 1              2",  //
                          "b 5 at step 2",             //
                          "  |",                       //
                          "5 +*********************",  //
                          "  |",                       //
                          "   step 1              2"};
  EXPECT_EQ(DrawWatch("job 3 waits for a worker", curves, {24, 13, false}), expected);
}

TEST(DrawWatchTest, SaysThatThereIsNothingYet) {
  const Curves none({});
  EXPECT_EQ(DrawWatch("job 3 QUEUED: waits for 2 slots", none, {20, 10, true}),
            (Lines{"job 3 QUEUED: waits", "for 2 slots", "no metrics yet"}));
  EXPECT_EQ(DrawWatch("", none, {20, 10, true}), Lines());
}

TEST(DrawWatchTest, FitsEverySize) {
  Curves curves({"train/loss", "validation/accuracy", "a metric with a name of its own", "none"});
  for (int step = 1; step < 300; ++step) {
    curves.Take(Rows("{\"step\":" + std::to_string(step * 1'000) +
                     ",\"train/loss\":" + std::to_string(1.0 / step) +
                     ",\"validation/accuracy\":" + std::to_string(step % 7) +
                     ",\"a metric with a name of its own\":-1.23456e-200}\n"));
  }
  const std::string head =
      "job 1234 näme QUEUED: waits for 16 slots of 64 GiB, which no worker has; the largest has 4";
  for (const bool unicode : {true, false}) {
    for (std::size_t columns = 1; columns < 100; columns += 3) {
      for (std::size_t rows = 1; rows < 50; rows += 2) {
        SCOPED_TRACE(std::to_string(columns) + " x " + std::to_string(rows));
        const Lines lines = DrawWatch(head, curves, {columns, rows, unicode});
        EXPECT_LE(lines.size(), rows);
        for (const std::string& line : lines) {
          EXPECT_LE(TextColumns(line), columns) << line;
          for (const char c : line) EXPECT_TRUE(unicode || (c >= ' ' && c <= '~')) << line;
        }
      }
    }
  }
}

}  // namespace
}  // namespace muster::cli
