#include "cli/chart.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cli/terminal.h"

namespace muster::cli {
namespace {

constexpr double kGap = std::numeric_limits<double>::quiet_NaN();

using Lines = std::vector<std::string>;

// A hash as a number in [0, 1).
double Chance(std::uint64_t n) {
  n = (n + 1) * 0x9e3779b97f4a7c15U;
  n = (n ^ (n >> 30U)) * 0xbf58476d1ce4e5b9U;
  n = (n ^ (n >> 27U)) * 0x94d049bb133111ebU;
  return static_cast<double>((n ^ (n >> 31U)) >> 11U) * 0x1p-53;
}

TEST(ChartTest, JoinsPointsByLines) {
  const std::vector<ChartPoint> points = {{1, 4}, {2, 3}, {3, 2}, {4, 1}};
  const Lines expected = {"loss 1",       //
                          "4 +*",         //
                          "  | ***",      //
                          "  |    **",    //
                          "1 +      **",  //
                          "  +--------",  //
                          "   1      4"};
  EXPECT_EQ(DrawChart("loss", points, {11, 7, false}), expected);
}

TEST(ChartTest, DrawsBrailleOfTwoByFourDots) {
  const std::vector<ChartPoint> points = {{1, 4}, {2, 3}, {3, 2}, {4, 1}};
  const Lines expected = {"loss 1",       //
                          "4 ┤⠑⢄",        //
                          "  │  ⠑⢄",      //
                          "  │    ⠑⢄",    //
                          "1 ┤      ⠑⢄",  //
                          "  └────────",  //
                          "   1      4"};
  EXPECT_EQ(DrawChart("loss", points, {11, 7, true}), expected);
}

TEST(ChartTest, DoesNotDrawAcrossAGap) {
  const std::vector<ChartPoint> points = {{0, 0}, {1, 1}, {2, kGap}, {4, 1}, {5, 0}};
  const Lines expected = {"gap 0",      //
                          "1 + *  *",   //
                          "  | *  *",   //
                          "  |*    *",  //
                          "0 +*    *",  //
                          "  +------",  //
                          "   0    5"};
  EXPECT_EQ(DrawChart("gap", points, {9, 7, false}), expected);
}

// One step of a thousand, in a column of a hundred steps.
TEST(ChartTest, LosesNoPeak) {
  std::vector<ChartPoint> points;
  for (std::uint64_t step = 0; step <= 1'000; ++step)
    points.push_back({step, step == 500 ? 9. : 0.});
  const Lines expected = {"peak 0",          //
                          "9 +     *",       //
                          "  |     *",       //
                          "  |     *",       //
                          "0 +***********",  //
                          "  +-----------",  //
                          "   0     1,000"};
  EXPECT_EQ(DrawChart("peak", points, {14, 7, false}), expected);
}

TEST(ChartTest, DrawsWhatIsFlatInTheMiddle) {
  const std::vector<ChartPoint> points = {{1, 0.5}, {2, 0.5}};
  const Lines expected = {"flat 0.5 at step 2",  //
                          "    |",               //
                          "    |",               //
                          "0.5 +*************",  //
                          "    |",               //
                          "    +-------------",  //
                          "     step 1      2"};
  EXPECT_EQ(DrawChart("flat", points, {18, 7, false}), expected);
  EXPECT_EQ(DrawChart("one", std::vector<ChartPoint>{{3, 0.5}}, {18, 7, false})[3], "0.5 +*");
}

TEST(ChartTest, SaysWhatThereIsWhereNothingCanBeDrawn) {
  EXPECT_EQ(DrawChart("a", {}, {20, 3, true}), (Lines{"a none yet", "", ""}));
  const std::vector<ChartPoint> gap = {{7, kGap}};
  EXPECT_EQ(DrawChart("a", gap, {30, 3, true}), (Lines{"a not a number at step 7", "", ""}));
  const std::vector<ChartPoint> points = {{0, 0}, {7, 1}};
  EXPECT_EQ(DrawChart("a", points, {20, 2, true}), (Lines{"a 1 at step 7", ""}));
  EXPECT_EQ(DrawChart("narrow", points, {6, 4, false}), (Lines{"nar~ 1", "", "", ""}));
  EXPECT_EQ(DrawChart("a", points, {20, 0, true}), Lines());
}

TEST(ChartTest, CutsTheTitleBeforeTheValue) {
  const std::vector<ChartPoint> points = {{0, 0}, {1'000'000, 123.456}};
  EXPECT_EQ(DrawChart("evaluation/return", points, {20, 6, true})[0], "evaluation/re… 123.5");
  EXPECT_EQ(DrawChart("evaluation/return", points, {20, 6, false})[0], "evaluation/re~ 123.5");
  EXPECT_EQ(DrawChart("evaluation/return", points, {20, 6, true})[5], "       0   1,000,000");
}

TEST(ChartTest, ItsLabelsTellTheEndsApart) {
  const std::vector<ChartPoint> close = {{0, 1.00001}, {1, 1.00002}};
  const Lines lines = DrawChart("close", close, {40, 6, false});
  EXPECT_EQ(lines[1].substr(0, 9), "1.00002 +");
  EXPECT_EQ(lines[3].substr(0, 9), "1.00001 +");
  // The difference of these is no number.
  const std::vector<ChartPoint> huge = {{0, -1.7e308}, {1, 1.7e308}};
  EXPECT_EQ(DrawChart("huge", huge, {16, 6, false})[1], " 1.7e+308 +   **");
}

// The dots of braille, and the stars of ASCII, by column and row from the top left.
std::vector<std::vector<bool>> Dots(const Lines& lines, std::size_t margin, std::size_t width,
                                    std::size_t height, bool unicode) {
  const std::size_t across = unicode ? 2 : 1, down = unicode ? 4 : 1;
  std::vector<std::vector<bool>> dots(width * across, std::vector<bool>(height * down));
  constexpr unsigned kBits[2][4] = {{0, 1, 2, 6}, {3, 4, 5, 7}};
  for (std::size_t row = 0; row < height; ++row) {
    std::size_t column = 0;
    const std::string& line = lines[row + 1];
    for (std::size_t i = 0; i < line.size(); ++column) {
      const auto byte = static_cast<unsigned char>(line[i]);
      const std::size_t bytes = byte < 0x80 ? 1 : 3;
      unsigned bits = line[i] == '*' ? 1 : 0;
      if (bytes == 3) {
        bits = (static_cast<unsigned char>(line[i + 1]) & 3U) << 6U |
               (static_cast<unsigned char>(line[i + 2]) & 63U);
      }
      i += bytes;
      if (column < margin) continue;
      for (std::size_t x = 0; x < across; ++x) {
        for (std::size_t y = 0; y < down; ++y) {
          const std::size_t at_x = (column - margin) * across + x, at_y = row * down + y;
          dots.at(at_x).at(at_y) = (bits >> kBits[x][y] & 1U) != 0;
        }
      }
    }
  }
  return dots;
}

// Whatever the series and the size: every value has its dot, and every line fits.
TEST(ChartTest, ShowsEveryValueInAnySize) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    const auto between = [&](std::uint64_t which, double least, double most) {
      return least + Chance(seed * 100 + which) * (most - least);
    };
    const bool unicode = seed % 2 == 0;
    const ChartSize size = {static_cast<std::size_t>(between(1, 24, 120)),
                            static_cast<std::size_t>(between(2, 6, 40)), unicode};
    const auto count = static_cast<std::uint64_t>(between(3, 2, seed % 3 == 0 ? 5'000 : 60));
    std::vector<ChartPoint> points;
    for (std::uint64_t i = 0; i < count; ++i) {
      const double chance = Chance(seed * 1'000'003 + i);
      points.push_back({5 + 3 * i, i == 0 ? 0 : i == 1 ? 1 : chance < 0.05 ? kGap : chance});
    }
    const Lines lines = DrawChart("a", points, size);
    ASSERT_EQ(lines.size(), size.rows);
    for (const std::string& line : lines) EXPECT_LE(TextColumns(line), size.columns) << line;
    constexpr std::size_t kMargin = 3;  // "1 |"
    const auto dots = Dots(lines, kMargin, size.columns - kMargin, size.rows - 3, unicode);
    std::uint64_t last = 5;
    for (const ChartPoint& point : points) {
      if (std::isfinite(point.value)) last = point.step;
    }
    for (const ChartPoint& point : points) {
      if (!std::isfinite(point.value)) continue;
      const double x = static_cast<double>(point.step - 5) / static_cast<double>(last - 5) *
                       static_cast<double>(dots.size() - 1);
      const double y = (1 - point.value) * static_cast<double>(dots[0].size() - 1);
      EXPECT_TRUE(
          dots[static_cast<std::size_t>(std::lround(x))][static_cast<std::size_t>(std::lround(y))])
          << point.step << " " << point.value;
    }
  }
}

}  // namespace
}  // namespace muster::cli
