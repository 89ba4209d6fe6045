#include "cli/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "cli/terminal.h"

namespace muster::cli {
namespace {

// Dots from the top left.
class Canvas {
 public:
  Canvas(std::size_t columns, std::size_t rows, bool unicode)
      : unicode_(unicode),
        across_(unicode ? 2 : 1),
        down_(unicode ? 4 : 1),
        columns_(columns),
        cells_(columns * rows) {}

  std::size_t width() const { return columns_ * across_; }
  std::size_t height() const { return cells_.size() / columns_ * down_; }

  void Set(std::size_t x, std::size_t y) {
    // Of braille's dots by column and row; source: The Unicode Standard, "Braille Patterns".
    constexpr std::array<std::array<unsigned char, 4>, 2> kDots = {
        {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}};
    cells_[y / down_ * columns_ + x / across_] |= kDots[x % across_][y % down_];
  }

  // The straight line between two dots, both included.
  void Line(std::size_t x0, std::size_t y0, std::size_t x1, std::size_t y1) {
    const auto dx = static_cast<long>(x1) - static_cast<long>(x0);
    const auto dy = static_cast<long>(y1) - static_cast<long>(y0);
    const long steps = std::max({std::labs(dx), std::labs(dy), 1L});
    for (long i = 0; i <= steps; ++i) {
      // Rounded to the nearest, halves away from the start.
      const auto along = [&](std::size_t from, long by) {
        const long moved = (2 * std::labs(by) * i + steps) / (2 * steps);
        return static_cast<std::size_t>(static_cast<long>(from) + (by < 0 ? -moved : moved));
      };
      Set(along(x0, dx), along(y0, dy));
    }
  }

  std::string Row(std::size_t row) const {
    std::string text;
    for (std::size_t i = 0; i < columns_; ++i) {
      const unsigned dots = cells_[row * columns_ + i];
      if (dots == 0) {
        text += ' ';
      } else if (!unicode_) {
        text += '*';
      } else {  // U+2800 + dots, in UTF-8.
        text += {'\xe2', static_cast<char>(0xa0U | (dots >> 6U)),
                 static_cast<char>(0x80U | (dots & 0x3fU))};
      }
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  }

 private:
  bool unicode_;
  std::size_t across_, down_, columns_;
  std::vector<unsigned char> cells_;
};

struct Extent {
  double least = 0, greatest = 0;
  std::uint64_t first = 0, last = 0;  // Steps.
};

// Of what is finite; nothing where nothing is.
std::optional<Extent> ExtentOf(std::span<const ChartPoint> points) {
  std::optional<Extent> extent;
  for (const ChartPoint& point : points) {
    if (!std::isfinite(point.value)) continue;
    if (!extent) extent = {point.value, point.value, point.step, point.step};
    extent->least = std::min(extent->least, point.value);
    extent->greatest = std::max(extent->greatest, point.value);
    extent->first = std::min(extent->first, point.step);
    extent->last = std::max(extent->last, point.step);
  }
  return extent;
}

// Points in one column of dots, one after the other without a gap: what is to be drawn of them.
struct Column {
  std::size_t x = 0, first = 0, last = 0, top = 0, bottom = 0;
};

void Plot(std::span<const ChartPoint> points, const Extent& extent, Canvas& canvas) {
  const auto right = static_cast<double>(canvas.width() - 1);
  const auto bottom = static_cast<double>(canvas.height() - 1);
  const auto steps = static_cast<double>(extent.last - extent.first);
  // Halves, since the difference of two numbers may be too large for one.
  const double range = extent.greatest / 2 - extent.least / 2;
  std::optional<Column> open;
  const auto close = [&] {
    if (open) canvas.Line(open->x, open->top, open->x, open->bottom);
    open.reset();
  };
  for (const ChartPoint& point : points) {
    if (!std::isfinite(point.value)) {
      close();
      continue;
    }
    const double along = steps > 0 ? static_cast<double>(point.step - extent.first) / steps : 0;
    const double above = range > 0 ? (point.value / 2 - extent.least / 2) / range : 0.5;
    const auto x = static_cast<std::size_t>(std::lround(along * right));
    const auto y = static_cast<std::size_t>(std::lround((1 - above) * bottom));
    if (!open || open->x != x) {
      const std::optional<Column> before = open;
      close();
      if (before) canvas.Line(before->x, before->last, x, y);
      open = Column{x, y, y, y, y};
    }
    open->last = y;
    open->top = std::min(open->top, y);
    open->bottom = std::max(open->bottom, y);
  }
  close();
}

std::string Digits(double value, int digits) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.*g", digits, value);
  return text.data();
}

// Of the ends of the axis, with as many digits as it takes to tell them apart.
std::pair<std::string, std::string> Labels(const Extent& extent) {
  int digits = 4;
  while (digits < 9 && extent.least != extent.greatest &&
         Digits(extent.least, digits) == Digits(extent.greatest, digits)) {
    ++digits;
  }
  return {Digits(extent.least, digits), Digits(extent.greatest, digits)};
}

std::string RightAligned(const std::string& text, std::size_t columns) {
  const std::size_t used = TextColumns(text);
  return used >= columns ? text : std::string(columns - used, ' ') + text;
}

// The newest value, and the title as far as it fits before it.
std::string Headline(const std::string& title, std::span<const ChartPoint> points,
                     const ChartSize& size) {
  std::string tail, more;
  if (points.empty()) {
    tail = " none yet";
  } else {
    const ChartPoint& newest = points.back();
    tail = " " + (std::isfinite(newest.value) ? MetricText(newest.value) : "not a number");
    more = " at step " + GroupedText(newest.step);
  }
  const std::size_t room = size.columns - std::min(size.columns, TextColumns(tail));
  std::string head = title;
  if (TextColumns(head) > room) {
    head = Cut(head, room);
    if (!size.unicode && room > 0) head.replace(head.size() - 3, 3, "~");  // For the ellipsis.
  }
  std::string line = head + tail;
  if (TextColumns(line + more) <= size.columns) line += more;
  return TextColumns(line) <= size.columns ? line : "";
}

// The steps at the ends of an axis of `columns`; the first one where there is room for it.
std::string StepLabels(const Extent& extent, std::size_t columns) {
  const std::string first = GroupedText(extent.first), last = GroupedText(extent.last);
  if (last.size() > columns) return "";
  if (extent.first == extent.last) return 5 + first.size() > columns ? first : "step " + first;
  if (first.size() + last.size() + 2 > columns) return RightAligned(last, columns);
  const std::string head = 5 + first.size() + last.size() + 2 > columns ? first : "step " + first;
  return head + RightAligned(last, columns - head.size());
}

struct Strokes {
  const char *tick, *side, *corner, *bottom;
};
constexpr Strokes kUnicode = {"┤", "│", "└", "─"}, kAscii = {"+", "|", "+", "-"};

}  // namespace

std::vector<std::string> DrawChart(const std::string& title, std::span<const ChartPoint> points,
                                   const ChartSize& size) {
  std::vector<std::string> lines;
  if (size.rows == 0) return lines;
  lines.push_back(Headline(title, points, size));
  const std::optional<Extent> extent = ExtentOf(points);
  constexpr std::size_t kColumnsLeast = 4;
  const auto [least, greatest] = extent ? Labels(*extent) : std::pair<std::string, std::string>();
  const std::size_t margin = std::max(least.size(), greatest.size()) + 2;  // And the axis.
  if (!extent || size.rows < 3 || size.columns < margin + kColumnsLeast) {
    lines.resize(size.rows);
    return lines;
  }
  const bool with_line = size.rows >= 6;
  const std::size_t height = size.rows - (with_line ? 3 : 2), width = size.columns - margin;
  Canvas canvas(width, height, size.unicode);
  Plot(points, *extent, canvas);
  const Strokes& strokes = size.unicode ? kUnicode : kAscii;
  const bool flat = extent->least == extent->greatest;
  for (std::size_t row = 0; row < height; ++row) {
    const bool top = flat ? row == height / 2 : row == 0;
    const bool bottom = !flat && row + 1 == height && height > 1;
    const std::string label = top ? greatest : bottom ? least : "";
    lines.push_back(RightAligned(label, margin - 2) + " " +
                    (label.empty() ? strokes.side : strokes.tick) + canvas.Row(row));
  }
  const std::string indent(margin - 1, ' ');
  if (with_line) {
    std::string line = indent + strokes.corner;
    for (std::size_t i = 0; i < width; ++i) line += strokes.bottom;
    lines.push_back(line);
  }
  lines.push_back(indent + " " + StepLabels(*extent, width));
  return lines;
}

}  // namespace muster::cli
