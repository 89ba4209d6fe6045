#include "envs/ziggurat.h"

#include <cmath>

namespace muster::envs {
namespace {

constexpr long double kScale = 4503599627370496.0L;  // 2^52
constexpr long double kEdge = 3.6541528853610087963519472518L;

long double Density(long double x) { return std::exp(-0.5L * x * x); }

Ziggurat Compute() {
  Ziggurat layers{};
  const long double tail =
      std::sqrt(std::acos(-1.0L) / 2) * std::erfc(kEdge / std::sqrt(2.0L));  // Its area.
  const long double area = kEdge * Density(kEdge) + tail;
  long double x = kEdge;
  const long double base = area / Density(kEdge);  // As wide as the lowest layer with its tail.
  layers.inside[0] = static_cast<std::uint64_t>(x / base * kScale);
  layers.inside[1] = 0;
  layers.width[0] = static_cast<double>(base / kScale);
  layers.density[0] = 1;
  for (std::size_t i = 255;; --i) {
    layers.width[i] = static_cast<double>(x / kScale);
    layers.density[i] = static_cast<double>(Density(x));
    if (i == 1) break;
    const long double inner = std::sqrt(-2 * std::log(area / x + Density(x)));
    layers.inside[i] = static_cast<std::uint64_t>(inner / x * kScale);
    x = inner;
  }
  return layers;
}

}  // namespace

const Ziggurat& Ziggurat::Get() {
  static const Ziggurat layers = Compute();
  return layers;
}

}  // namespace muster::envs
