#include "tensor/kernels/gather.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using testing::RandomIndices;
using testing::RowsOf;
using Values = std::vector<double>;
using Indices = std::vector<std::int32_t>;

Values ScatterInDouble(const Values& x, std::size_t width, const Indices& indices,
                       std::size_t rows) {
  Values y(rows * width);
  for (std::size_t i = 0; i < indices.size() * width; ++i) {
    y[static_cast<std::size_t>(indices[i / width]) * width + i % width] += x[i];
  }
  return y;
}

TEST(GatherTest, MatchesHandWorkedExamples) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.InputWithGradient({3, 2}, x.data());
  const Tensor picked = ops::GatherRows(tape, input, Indices{2, 2});
  EXPECT_EQ(std::vector<float>(picked.values().begin(), picked.values().end()),
            (std::vector<float>{5, 6, 5, 6}));
  const Tensor added = ops::ScatterAddRows(tape, input, Indices{1, 3, 1}, 4);
  EXPECT_EQ(std::vector<float>(added.values().begin(), added.values().end()),
            (std::vector<float>{0, 0, 6, 8, 0, 0, 3, 4}));
  tape.Backward(ops::Sum(tape, picked));
  EXPECT_EQ(std::vector<float>(input.gradient(), input.gradient() + 6),
            (std::vector<float>{0, 0, 0, 0, 2, 2}));
}

TEST(GatherTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const std::size_t count : {0, 1, 29}) {
    for (const std::size_t rows : {1, 5, 17}) {
      for (const std::size_t width : {0, 1, 3, 8, 41}) {
        SCOPED_TRACE(std::to_string(count) + " of " + std::to_string(rows) + " x " +
                     std::to_string(width));
        const Indices indices = RandomIndices(count, rows, ++seed);
        // Twice, so that the second contribution is added to the first.
        CheckOp(
            [&](Tape& tape, const auto& t) {
              const Tensor y = ops::GatherRows(tape, t[0], indices);
              return ops::Add(tape, y, ops::GatherRows(tape, t[0], indices));
            },
            [&](const auto& t) {
              Values y = RowsOf(t[0], width, indices);
              for (double& value : y) value *= 2;
              return y;
            },
            {Normal({rows, width}, ++seed)}, {}, &pool);
        CheckOp(
            [&](Tape& tape, const auto& t) {
              const Tensor y = ops::ScatterAddRows(tape, t[0], indices, rows);
              return ops::Add(tape, y, ops::ScatterAddRows(tape, t[0], indices, rows));
            },
            [&](const auto& t) {
              Values y = ScatterInDouble(t[0], width, indices, rows);
              for (double& value : y) value *= 2;
              return y;
            },
            {Normal({count, width}, ++seed)}, {.f32 = 2e-5, .bf16 = 5e-2}, &pool);
      }
    }
  }
}

TEST(GatherTest, RowsOfAnyShape) {
  CheckOp(
      [](Tape& tape, const auto& t) {
        return ops::GatherRows(tape, t[0], Indices{1, 0, 1});
      },
      [](const auto& t) {
        return RowsOf(t[0], 6, {1, 0, 1});
      },
      {Normal({2, 3, 2}, 1)});
  CheckOp(
      [](Tape& tape, const auto& t) {
        return ops::GatherRows(tape, t[0], Indices{3, 3});
      },
      [](const auto& t) {
        return RowsOf(t[0], 1, {3, 3});
      },
      {Normal({4}, 1)});
}

// bf16 rows are added in f32 and rounded once: 256 + 1 + 1 is 258, but 256 + 1 rounds to 256.
TEST(GatherTest, SumsOfBf16AreRoundedOnce) {
  const std::vector<BFloat16> x = {BFloat16(256.0F), BFloat16(1.0F), BFloat16(1.0F)};
  Tape tape;
  tape.Begin({});
  const Tensor y = ops::ScatterAddRows(tape, tape.Input({3, 1}, x.data()), Indices{0, 0, 0}, 1);
  EXPECT_EQ(ToFloat(*y.as<BFloat16>()), 258.0F);
}

// The sum in ascending order, to the bit, on any number of threads.
TEST(GatherTest, BitsDependOnNoThread) {
  constexpr std::size_t kCount = 4000, kRows = 3001, kWidth = 45;
  Indices indices = RandomIndices(kCount, kRows, 1);
  for (std::size_t i = 0; i < kCount; i += 2) indices[i] = static_cast<std::int32_t>(i % 6);
  const auto normal = Normal({kCount, kWidth}, 2);
  const std::vector<float> x(normal.values.begin(), normal.values.end());
  std::vector<float> expected(kRows * kWidth);
  for (std::size_t i = 0; i < x.size(); ++i) {
    expected[static_cast<std::size_t>(indices[i / kWidth]) * kWidth + i % kWidth] += x[i];
  }
  for (const std::size_t threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    Tape tape({.pool = &pool});
    tape.Begin({});
    const Tensor y =
        ops::ScatterAddRows(tape, tape.Input({kCount, kWidth}, x.data()), indices, kRows);
    EXPECT_EQ(std::vector<float>(y.values().begin(), y.values().end()), expected) << threads;
  }
}

TEST(GatherTest, RefusesIndicesOutOfRange) {
  const std::vector<float> values(6);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({3, 2}, values.data());
  for (const std::int32_t bad : {-1, 3}) {
    EXPECT_THROW(ops::GatherRows(tape, x, Indices{0, bad}), ContractViolation);
    EXPECT_THROW(ops::ScatterAddRows(tape, x, Indices{0, bad, 0}, 3), ContractViolation);
  }
  EXPECT_THROW(ops::ScatterAddRows(tape, x, Indices{0, 1}, 3), ContractViolation);
  EXPECT_THROW(ops::GatherRows(tape, tape.Input(Shape(), values.data()), Indices{0}),
               ContractViolation);
}

}  // namespace
}  // namespace muster
