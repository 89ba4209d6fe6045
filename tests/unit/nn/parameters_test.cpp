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
