// A curve as lines of text: braille where the terminal shows it, ASCII elsewhere. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster::cli {

// A value that is not finite is a gap: the curve is not drawn across it.
struct ChartPoint {
  std::uint64_t step = 0;
  double value = 0;
};

struct ChartSize {
  std::size_t columns = 80;
  std::size_t rows = 16;
  bool unicode = true;  // Braille (2 x 4 dots a character) and lines; otherwise ASCII.
};

// `rows` lines of at most `columns` characters:
//   train/loss 0.4 at step 3
//   0.8 ┤⠑⢄
//       │  ⠑⢄
//   0.4 ┤    ⠑
//       └─────
//       1    3
// The newest value, the curve with its least and greatest finite value at the axis, and the first
// and last step. Points come with ascending steps and are joined by lines. Where several share a
// column all that lies between their least and greatest value is drawn, so that no peak is lost.
// Fewer than 6 rows: without the line below; fewer than 3: the newest value alone. The title is cut
// to fit. O(points).
std::vector<std::string> DrawChart(const std::string& title, std::span<const ChartPoint> points,
                                   const ChartSize& size);

}  // namespace muster::cli
