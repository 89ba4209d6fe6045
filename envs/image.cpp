#include "envs/image.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace muster::envs {
namespace {

// Rows from the first one up to, and without, the second: no other has a crossing. Large pictures
// have thousands of small shapes, each of which lies in a few of their rows.
std::pair<std::size_t, std::size_t> RowsOf(std::span<const Point> corners, std::size_t height) {
  double low = static_cast<double>(height), high = 0;
  for (const Point& corner : corners) {
    if (corner.y < low) low = corner.y;
    if (corner.y > high) high = corner.y;
  }
  low = std::floor(std::max(low, 0.0));
  high = std::ceil(std::min(high, static_cast<double>(height)));
  if (!(low < high)) return {0, 0};
  return {static_cast<std::size_t>(low), static_cast<std::size_t>(high)};
}

}  // namespace

Image::Image(std::size_t columns, std::size_t rows, Color color)
    : width(columns), height(rows), rgb(columns * rows * 3) {
  for (std::size_t i = 0; i < rgb.size(); i += 3) std::copy_n(color.begin(), 3, rgb.begin() + i);
}

void Image::Set(long x, long y, Color color) {
  if (x < 0 || y < 0 || x >= static_cast<long>(width) || y >= static_cast<long>(height)) return;
  const std::size_t at = 3 * (static_cast<std::size_t>(y) * width + static_cast<std::size_t>(x));
  std::copy(color.begin(), color.end(), rgb.begin() + static_cast<std::ptrdiff_t>(at));
}

Color Image::At(std::size_t x, std::size_t y) const {
  const std::size_t at = 3 * (y * width + x);
  return {rgb.at(at), rgb.at(at + 1), rgb.at(at + 2)};
}

// Scan lines: between each pair of crossings with the outline is inside.
void Image::Polygon(std::span<const Point> corners, Color color) {
  const auto [first_row, end_row] = RowsOf(corners, height);
  std::vector<double> crossings;
  for (std::size_t row = first_row; row < end_row; ++row) {
    const double y = static_cast<double>(row) + 0.5;
    crossings.clear();
    for (std::size_t i = 0; i < corners.size(); ++i) {
      const Point& a = corners[i];
      const Point& b = corners[(i + 1) % corners.size()];
      if ((a.y <= y) != (b.y <= y))
        crossings.push_back(a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x));
    }
    std::sort(crossings.begin(), crossings.end());
    for (std::size_t i = 0; i + 1 < crossings.size(); i += 2) {
      const double first = std::max(crossings[i] - 0.5, 0.0);
      const double last = std::min(crossings[i + 1] - 0.5, static_cast<double>(width) - 1);
      for (long x = std::lround(std::ceil(first)); static_cast<double>(x) <= last; ++x) {
        Set(x, static_cast<long>(row), color);
      }
    }
  }
}

void Image::Rectangle(Point from, Point to, Color color) {
  const std::array<Point, 4> corners = {from, {to.x, from.y}, to, {from.x, to.y}};
  Polygon(corners, color);
}

void Image::Disc(Point centre, double radius, Color color) {
  std::array<Point, 48> corners;
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const double angle = static_cast<double>(i) * 2 * std::acos(-1.0) / 48;
    corners[i] = {centre.x + radius * std::cos(angle), centre.y + radius * std::sin(angle)};
  }
  Polygon(corners, color);
}

void Image::Line(Point from, Point to, double thickness, Color color) {
  const double x = to.x - from.x, y = to.y - from.y, length = std::hypot(x, y);
  if (length == 0) return;
  const double across_x = -y / length * thickness / 2, across_y = x / length * thickness / 2;
  const std::array<Point, 4> corners = {
      Point{from.x + across_x, from.y + across_y}, Point{to.x + across_x, to.y + across_y},
      Point{to.x - across_x, to.y - across_y}, Point{from.x - across_x, from.y - across_y}};
  Polygon(corners, color);
}

std::string Image::Ppm() const {
  std::string bytes = "P6\n" + std::to_string(width) + " " + std::to_string(height) + "\n255\n";
  bytes.append(rgb.begin(), rgb.end());
  return bytes;
}

}  // namespace muster::envs
