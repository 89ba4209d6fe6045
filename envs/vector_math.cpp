#include "envs/vector_math.h"

namespace muster::envs {

extern const double kTwo = 2;

namespace trigonometry {
namespace {

// 113 bits, so that the rests are right to their own last bits.
__extension__ using Quad = __float128;

constexpr std::array<Row, kRows> Compute() {
  std::array<Row, kRows> rows{};
  for (std::size_t k = 0; k < kRows; ++k) {
    const Quad x = static_cast<Quad>(static_cast<double>(k)) / 128;
    Quad sine = 0, cosine = 0, term = 1;
    for (int n = 0; n < 32; ++n) {  // x^n / n!
      (n % 2 == 0 ? cosine : sine) += n % 4 < 2 ? term : -term;
      term *= x / (n + 1);
    }
    Row& row = rows[k];
    row.sine = static_cast<double>(sine);
    row.sine_rest = static_cast<double>(sine - row.sine);
    row.cosine = static_cast<double>(cosine);
    row.cosine_rest = static_cast<double>(cosine - row.cosine);
  }
  return rows;
}

}  // namespace

constinit const std::array<Row, kRows> kTable = Compute();

}  // namespace trigonometry
}  // namespace muster::envs
