// Image: a picture of 24 bits a pixel, and the few shapes that environments are drawn with.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster::envs {

using Color = std::array<std::uint8_t, 3>;  // Red, green, blue.

constexpr Color kBlack = {0, 0, 0}, kWhite = {255, 255, 255}, kGrey = {128, 128, 128};

struct Point {
  double x = 0, y = 0;  // Pixels from the left and from the top.
};

struct Image {
  std::size_t width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  // [height, width, 3]

  Image() = default;
  Image(std::size_t columns, std::size_t rows, Color color = kWhite);

  // Pixels whose centres are inside; what lies outside of the picture is left out.
  void Polygon(std::span<const Point> corners, Color color);
  void Rectangle(Point from, Point to, Color color);
  void Disc(Point centre, double radius, Color color);
  void Line(Point from, Point to, double thickness, Color color);

  Color At(std::size_t x, std::size_t y) const;
  // A portable pixmap (P6), which most viewers open.
  std::string Ppm() const;

 private:
  void Set(long x, long y, Color color);
};

}  // namespace muster::envs
