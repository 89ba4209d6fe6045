// The layers of the ziggurat that NumPy draws normal numbers with, 256 of equal area.
// Source: Marsaglia and Tsang, "The ziggurat method for generating random variables", JSS 5(8),
// 2000; the layout (52 bits, edge at 3.654) is that of numpy.random's distributions.c.
#pragma once

#include <array>
#include <cstdint>

namespace muster::envs {

struct Ziggurat {
  static constexpr double kEdge = 3.6541528853610087963519472518;  // Where the tail begins.
  static constexpr double kInverseEdge = 0.27366123732975827203338247596;

  std::array<double, 256> width;          // Of a layer, by 2^-52.
  std::array<double, 256> density;        // exp(-x^2/2) at a layer's outer corner.
  std::array<std::uint64_t, 256> inside;  // Of 2^52: below it a point needs no look at the density.

  // Computed once, in extended precision. NumPy's tables went through double arithmetic and differ
  // from these in the 15th digit, so normal numbers do too.
  static const Ziggurat& Get();
};

}  // namespace muster::envs
