#include "nn/parameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/check.h"

namespace muster::nn {
namespace {

TEST(ParametersTest, LieInReverseOrderOfUse) {
  ParameterSet set;
  EXPECT_EQ(set.Add({.name = "a", .shape = {3, 5}}), 0U);
  EXPECT_EQ(set.Add({.name = "b", .shape = {17}}), 1U);
  EXPECT_EQ(set.Add({.name = "c", .shape = {1}}), 2U);
  EXPECT_EQ(set[2].offset, 0U);
  EXPECT_EQ(set[1].offset, 16U);
  EXPECT_EQ(set[0].offset, 48U);
  EXPECT_EQ(set.flat_elements(), 64U);
  EXPECT_EQ(set.parameter_elements(), 33U);
  EXPECT_EQ(set.ReadyOrder(), (std::vector<std::size_t>{2, 1, 0}));
}

TEST(ParametersTest, FrozenOnesLieBehindAllOthers) {
  ParameterSet set;
  for (const char* name : {"a", "b", "c", "d"}) set.Add({.name = name, .shape = {16}});
  set.Freeze(1);
  set.Freeze(3);
  EXPECT_EQ(set[2].offset, 0U);
  EXPECT_EQ(set[0].offset, 16U);
  EXPECT_EQ(set[3].offset, 32U);
  EXPECT_EQ(set[1].offset, 48U);
  EXPECT_EQ(set.flat_elements(), 64U);
  EXPECT_EQ(set.trainable_elements(), 32U);
  EXPECT_EQ(set.ReadyOrder(), (std::vector<std::size_t>{2, 0}));
  std::vector<float> values(64), gradients(32);
  const auto leaves = set.Bind(values, gradients);
  EXPECT_TRUE(leaves[1].frozen && leaves[1].gradient == nullptr);
  EXPECT_EQ(leaves[1].values, &values[48]);
  EXPECT_EQ(leaves[0].gradient, &gradients[16]);
  EXPECT_THROW(set.Bind(values, values), ContractViolation);
}

TEST(ParametersTest, InitialValuesHaveTheStatedMoments) {
  for (const Initialization kind :
       {Initialization::kKaimingNormal, Initialization::kKaimingUniform}) {
    ParameterSet set;
    set.Add({.name = "w", .shape = {1000, 50}, .initialization = kind, .gain = 2.0F, .fan_in = 50});
    std::vector<float> values(set.flat_elements());
    set.Initialize(3, values);
    double sum = 0.0, squares = 0.0, largest = 0.0;
    for (const float value : values) {
      sum += static_cast<double>(value);
      squares += static_cast<double>(value) * static_cast<double>(value);
      largest = std::max(largest, std::abs(static_cast<double>(value)));
    }
    const double n = 50000.0, variance = 4.0 / 50.0;
    EXPECT_NEAR(sum / n, 0.0, 4.0 * std::sqrt(variance / n));
    EXPECT_NEAR(squares / n, variance, 0.03 * variance);
    if (kind == Initialization::kKaimingUniform) {
      EXPECT_LE(largest, std::sqrt(3.0 * variance) + 1e-6);
    }
  }
}

// Wide, tall and square matrices, and a kernel seen as [5, 18].
TEST(ParametersTest, OrthogonalValuesAreGainTimesOrthonormalVectors) {
  for (const Shape& shape : {Shape{7, 40}, Shape{40, 7}, Shape{16, 16}, Shape{5, 2, 3, 3}}) {
    SCOPED_TRACE(shape.ToString());
    ParameterSet set;
    set.Add(
        {.name = "w", .shape = shape, .initialization = Initialization::kOrthogonal, .gain = 3.0F});
    std::vector<float> values(set.flat_elements()), other(values.size());
    set.Initialize(3, values);
    const std::size_t rows = shape[0], columns = shape.elements() / rows;
    const bool wide = rows <= columns;
    const std::size_t count = std::min(rows, columns), length = std::max(rows, columns);
    const auto at = [&](std::size_t v, std::size_t i) {
      return static_cast<double>(values[wide ? v * columns + i : i * columns + v]);
    };
    for (std::size_t a = 0; a < count; ++a) {
      for (std::size_t b = 0; b <= a; ++b) {
        double product = 0.0;
        for (std::size_t i = 0; i < length; ++i) product += at(a, i) * at(b, i);
        EXPECT_NEAR(product, a == b ? 9.0 : 0.0, 1e-5);
      }
    }
    set.Initialize(4, other);
    EXPECT_NE(values, other);
  }
}

// Of a uniform draw no direction is preferred: the first vector's elements have mean 0 over seeds
// and mean square 1 / length, of either sign.
TEST(ParametersTest, OrthogonalDrawsPreferNoDirection) {
  ParameterSet set;
  set.Add({.name = "w", .shape = {4, 4}, .initialization = Initialization::kOrthogonal});
  std::vector<double> sums(16), squares(16);
  constexpr int kSeeds = 2000;
  for (int seed = 0; seed < kSeeds; ++seed) {
    std::vector<float> values(set.flat_elements());
    set.Initialize(static_cast<std::uint64_t>(seed), values);
    for (std::size_t i = 0; i < 16; ++i) {
      const auto value = static_cast<double>(values[i]);
      sums[i] += value / kSeeds;
      squares[i] += value * value / kSeeds;
    }
  }
  for (std::size_t i = 0; i < 16; ++i) {
    // Four deviations: of a mean of numbers with variance 1/4, of squares with variance 1/16.
    EXPECT_NEAR(sums[i], 0.0, 0.045) << i;
    EXPECT_NEAR(squares[i], 0.25, 0.0225) << i;
  }
}

TEST(ParametersTest, InitialValuesDependOnSeedAndNumberAlone) {
  const auto draw = [](std::uint64_t seed, std::size_t size) {
    ParameterSet set;
    set.Add({.name = "first", .shape = {size}, .initialization = Initialization::kKaimingNormal});
    set.Add({.name = "second", .shape = {7}, .initialization = Initialization::kKaimingNormal});
    std::vector<float> values(set.flat_elements());
    set.Initialize(seed, values);
    return std::vector<float>(values.begin(), values.begin() + 7);
  };
  EXPECT_EQ(draw(1, 5), draw(1, 500));
  EXPECT_NE(draw(1, 5), draw(2, 5));
}

TEST(ParametersTest, RefusesTheSameNameTwice) {
  ParameterSet set;
  set.Add({.name = "a", .shape = {1}});
  EXPECT_THROW(set.Add({.name = "a", .shape = {1}}), ContractViolation);
}

}  // namespace
}  // namespace muster::nn
