#include "tensor/kernels/rotary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using Values = std::vector<double>;

Values RotaryInDouble(const Values& qkv, const std::vector<std::int32_t>& positions,
                      const AttentionShape& shape, const RotaryTable& table) {
  const std::size_t dims = table.options().dims, pairs = dims / 2;
  const bool halves = table.options().pairing == RotaryPairing::kHalves;
  Values out = qkv;
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (std::size_t head = 0; head < shape.heads + shape.kv_heads; ++head) {
      double* const numbers = &out[t * shape.packed_width() + head * shape.head_dim];
      for (std::size_t i = 0; i < pairs; ++i) {
        const double angle =
            static_cast<double>(static_cast<float>(positions[t]) * table.frequencies()[i]);
        double& a = numbers[halves ? i : 2 * i];
        double& b = numbers[halves ? i + pairs : 2 * i + 1];
        const double was = a;
        a = was * std::cos(angle) - b * std::sin(angle);
        b = b * std::cos(angle) + was * std::sin(angle);
      }
    }
  }
  return out;
}

// One head of 4 numbers at position 1, base 100: angles 1 and 1 / 10.
TEST(RotaryTest, MatchesHandWorkedExamples) {
  const std::vector<float> qkv = {1, 2, 3, 4, 1, 0, 0, 0, 5, 6, 7, 8};
  const AttentionShape shape{1, 1, 4};
  const std::vector<std::int32_t> positions = {1};
  const float c1 = 0.5403023F, s1 = 0.84147098F, c2 = 0.99500417F, s2 = 0.09983342F;
  for (const bool halves : {true, false}) {
    const RotaryTable table(
        {4, 100, halves ? RotaryPairing::kHalves : RotaryPairing::kNeighbours, {}}, 2);
    Tape tape;
    tape.Begin({});
    const Tensor y = ops::Rotary(tape, tape.Input({1, 12}, qkv.data()), positions, shape, table);
    const std::vector<float> wanted =
        halves ? std::vector<float>{c1 - 3 * s1, 2 * c2 - 4 * s2,
                                    3 * c1 + s1, 4 * c2 + 2 * s2,
                                    c1,          0,
                                    s1,          0}
               : std::vector<float>{
                     c1 - 2 * s1, 2 * c1 + s1, 3 * c2 - 4 * s2, 4 * c2 + 3 * s2, c1, s1, 0, 0};
    for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(y.data()[i], wanted[i], 1e-6F) << i;
    for (std::size_t i = 8; i < 12; ++i) EXPECT_EQ(y.data()[i], qkv[i]) << "a value";
  }
}

TEST(RotaryTest, AgreesWithDoubleInAnyShape) {
  ThreadPool pool(2);
  unsigned seed = 1;
  for (const RotaryPairing pairing : {RotaryPairing::kHalves, RotaryPairing::kNeighbours}) {
    for (const auto& pair : {std::pair{AttentionShape{1, 1, 2}, 2},
                             {AttentionShape{3, 1, 7}, 6},
                             {AttentionShape{4, 2, 20}, 4},
                             {AttentionShape{2, 2, 300}, 300}}) {
      const AttentionShape& shape = pair.first;
      const int dims = pair.second;
      for (const std::size_t tokens : {0, 1, 5}) {
        SCOPED_TRACE(std::to_string(tokens) + " tokens, head_dim " +
                     std::to_string(shape.head_dim));
        const RotaryTable table({static_cast<std::size_t>(dims), 10'000, pairing, {}}, 97);
        const auto positions = testing::RandomIndices(tokens, 97, ++seed);
        CheckOp([&](Tape& tape,
                    const auto& t) { return ops::Rotary(tape, t[0], positions, shape, table); },
                [&](const auto& t) { return RotaryInDouble(t[0], positions, shape, table); },
                {Normal({tokens, shape.packed_width()}, ++seed)}, {}, &pool);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Two uses of one input: the second contribution is added to the first.
TEST(RotaryTest, AddsToAGradientThatIsThere) {
  const AttentionShape shape{1, 1, 4};
  const RotaryTable table({2, 10'000, RotaryPairing::kHalves, {}}, 9);
  const std::vector<std::int32_t> positions = {8, 3};
  CheckOp(
      [&](Tape& tape, const auto& t) {
        return ops::Add(tape, t[0], ops::Rotary(tape, t[0], positions, shape, table));
      },
      [&](const auto& t) {
        Values sum = RotaryInDouble(t[0], positions, shape, table);
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += t[0][i];
        return sum;
      },
      {Normal({2, 12}, 3)});
}

// A product of query and key depends on their distance alone.
TEST(RotaryTest, TurnsQueriesAndKeysAlike) {
  const AttentionShape shape{1, 1, 8};
  const RotaryTable table({8, 10'000, RotaryPairing::kNeighbours, {}}, 200);
  const auto row = Normal({24}, 7).values;
  std::vector<float> qkv;
  for (std::size_t t = 0; t < 4; ++t) qkv.insert(qkv.end(), row.begin(), row.end());
  const std::vector<std::int32_t> positions = {17, 3, 114, 100};
  Tape tape({.inference = true});
  tape.Begin({});
  const Tensor y = ops::Rotary(tape, tape.Input({4, 24}, qkv.data()), positions, shape, table);
  const auto product = [&](std::size_t query, std::size_t key) {
    double sum = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      sum += static_cast<double>(y.data()[query * 24 + i]) *
             static_cast<double>(y.data()[key * 24 + 8 + i]);
    }
    return sum;
  };
  EXPECT_NEAR(product(0, 1), product(2, 3), 1e-5);
}

// Of Llama 3.1 (factor 8, 1 and 4, context 8192): a wavelength of 2 pi is kept, one beyond 8192
// stretched to 8 times; half way, at a share of 2.5, half of each.
TEST(RotaryTest, StretchesLongWavelengths) {
  const double pi = std::acos(-1.0);
  const auto second_frequency = [](double wanted) {
    // dims = 4: frequencies 1 and base^-0.5.
    const RotaryTable table({4, 1 / (wanted * wanted), RotaryPairing::kHalves, Llama3Scaling{}}, 1);
    EXPECT_EQ(table.frequencies()[0], 1.0F);
    return static_cast<double>(table.frequencies()[1]) / wanted;
  };
  EXPECT_NEAR(second_frequency(2 * pi * 4.01 / 8192), 1, 1e-6);
  EXPECT_NEAR(second_frequency(2 * pi * 0.99 / 8192), 0.125, 1e-6);
  EXPECT_NEAR(second_frequency(2 * pi * 2.5 / 8192), (0.125 + 1) / 2, 1e-5);
}

TEST(RotaryTest, PositionsAreCountedFromEachStart) {
  const std::vector<std::int32_t> starts = {0, 3, 3, 4, 6};
  EXPECT_EQ(PositionsOf(starts), (std::vector<std::int32_t>{0, 1, 2, 0, 0, 1}));
}

TEST(RotaryTest, RefusesWhatCannotBeTurned) {
  EXPECT_THROW(RotaryTable({3, 10'000, RotaryPairing::kHalves, {}}, 4), ContractViolation);
  EXPECT_THROW(RotaryTable({0, 10'000, RotaryPairing::kHalves, {}}, 4), ContractViolation);
  const RotaryTable table({4, 10'000, RotaryPairing::kHalves, {}}, 4);
  const std::vector<float> qkv(12);
  Tape tape;
  tape.Begin({});
  const Tensor in = tape.Input({1, 12}, qkv.data()), narrow = tape.Input({2, 6}, qkv.data());
  const auto rotary = [&](Tensor x, std::vector<std::int32_t> positions, AttentionShape shape) {
    ops::Rotary(tape, x, positions, shape, table);
  };
  EXPECT_NO_THROW(rotary(in, {3}, {1, 1, 4}));
  EXPECT_THROW(rotary(in, {4}, {1, 1, 4}), ContractViolation);
  EXPECT_THROW(rotary(in, {-1}, {1, 1, 4}), ContractViolation);
  EXPECT_THROW(rotary(in, {0, 1}, {1, 1, 4}), ContractViolation);
  EXPECT_THROW(rotary(narrow, {0, 1}, {1, 1, 2}), ContractViolation);
}

}  // namespace
}  // namespace muster
