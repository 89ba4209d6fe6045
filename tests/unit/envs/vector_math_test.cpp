#include "envs/vector_math.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace muster::envs {
namespace {

// Whether this C library's functions are glibc's on processors with fused multiply-add.
bool IsReference() {
#ifdef __GLIBC__
  return true;
#else
  return false;
#endif
}

void ExpectReference(const std::array<double, 4>& x) {
  const Double4 four = {x[0], x[1], x[2], x[3]};
  const Double4 sine = Sin(four), cosine = Cos(four);
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(Sin(x[i]), std::sin(x[i])) << std::hexfloat << x[i];
    ASSERT_EQ(Cos(x[i]), std::cos(x[i])) << std::hexfloat << x[i];
    ASSERT_EQ(sine[i], std::sin(x[i])) << std::hexfloat << x[i];
    ASSERT_EQ(cosine[i], std::cos(x[i])) << std::hexfloat << x[i];
  }
}

TEST(VectorMathTest, SineAndCosineAreTheCLibrarysToTheBit) {
  if (!IsReference()) GTEST_SKIP() << "this C library is not glibc";
  for (const double limit : {1e-8, 0.13, 0.9, 2.5, 7.0, 100.0, 1e5, 1.05e8, 1e12}) {
    SCOPED_TRACE(limit);
    std::mt19937_64 random(7);
    std::uniform_real_distribution<double> uniform(-limit, limit);
    for (int i = 0; i < 20'000; ++i) {
      ExpectReference({uniform(random), uniform(random), uniform(random), uniform(random)});
    }
  }
}

// Where the method changes, and mixtures of all its ways in one vector.
TEST(VectorMathTest, BordersAndMixturesAreRightToo) {
  if (!IsReference()) GTEST_SKIP() << "this C library is not glibc";
  std::vector<double> borders = {0.0, -0.0, 5e-324, 1e-300};
  for (const double x : {0.126, 0.85546875, 0x1.368FDp1, 3.141592653589793, 1e5, 0x1.921FBp26}) {
    for (const double y : {x, std::nextafter(x, 0), std::nextafter(x, 1e9)}) {
      borders.insert(borders.end(), {y, -y});
    }
  }
  for (std::size_t i = 0; i < borders.size(); ++i) {
    const auto at = [&](std::size_t k) { return borders[(i * 7 + k * 5) % borders.size()]; };
    ExpectReference({at(0), at(1), at(2), at(3)});
  }
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = INFINITY;
  EXPECT_TRUE(std::isnan(Sin(nan)) && std::isnan(Cos(infinity)));
  EXPECT_TRUE(std::isnan(Sin(Double4{0, nan, 1, 2})[1]));
  EXPECT_EQ(Sin(Double4{0.5, nan, 1, 2})[0], std::sin(0.5));
}

// Where it is stored side by side, which is what g++ 12 gets wrong with casts.
#ifndef __clang__
__attribute__((noinline, optimize("O3")))
#endif
void RoundAll(const double* from, double* to) {
  const double a = from[0] * 2, b = from[1] * 2, c = from[2] * 2, d = from[3] * 2;
  to[0] = RoundToFloat(a);
  to[1] = RoundToFloat(b);
  to[2] = RoundToFloat(c);
  to[3] = RoundToFloat(d);
}

TEST(VectorMathTest, NeighboursAreRoundedToo) {
  const std::array<double, 4> from = {0.1, 0.2, 0.3, 0.7};
  std::array<double, 4> to{};
  RoundAll(from.data(), to.data());
  for (std::size_t i = 0; i < 4; ++i) {
    volatile float rounded = static_cast<float>(from[i] * 2);
    EXPECT_EQ(to[i], static_cast<double>(rounded));
  }
}

TEST(VectorMathTest, FloatsRoundOnceAndSelectionsFollowTheirMask) {
  const Double4 x = {1.1, -2.2, 3.3, -4.4};
  const Double4 rounded = RoundToFloat(x);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(rounded[i], static_cast<double>(static_cast<float>(x[i])));
    EXPECT_EQ(Abs(x)[i], std::abs(x[i]));
    EXPECT_EQ(Clip(x, -3, 2)[i], std::min(std::max(x[i], -3.0), 2.0));
    EXPECT_EQ(Truncate(x)[i], std::trunc(x[i]));
  }
  EXPECT_TRUE(Any(x > 3.0));
  EXPECT_FALSE(Any(x > 5.0));
  EXPECT_EQ(Select(x > 0.0, x, Fill<Double4>(7))[1], 7);
}

TEST(VectorMathTest, PythonsSquareIsThePowerFunctions) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> uniform(-10, 10);
  volatile double two = 2;
  int differ = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double x = uniform(random);
    ASSERT_EQ(PythonSquare(x), std::pow(x, two));
    ASSERT_EQ(PythonSquare(Double4{x, 0, 0, 0})[0], std::pow(x, two));
    differ += PythonSquare(x) != x * x ? 1 : 0;
  }
  if (IsReference()) {
    EXPECT_GT(differ, 0);
  }
}

}  // namespace
}  // namespace muster::envs
