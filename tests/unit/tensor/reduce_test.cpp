#include "tensor/kernels/reduce.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "tests/support/limits.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::kNan;
using testing::Normal;
using Values = std::vector<double>;

// reduce(row, width) of each row.
template <class Reduce>
Values OfRows(const Values& x, std::size_t width, const Reduce& reduce) {
  Values y;
  for (std::size_t at = 0; at < x.size(); at += width) y.push_back(reduce(x.data() + at));
  return y;
}

std::vector<std::int32_t> IndicesOf(const ops::ValuesAndIndices& result) {
  return {result.indices.begin(), result.indices.end()};
}

TEST(ReduceTest, MatchesHandWorkedExamples) {
  const std::vector<float> x = {1, 5, -3, 5, 2, 2, 2, 1};
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.InputWithGradient({2, 4}, x.data());
  const Tensor sum = ops::SumLast(tape, input), mean = ops::MeanLast(tape, input);
  EXPECT_EQ(sum.shape(), Shape{2});
  EXPECT_EQ(sum.data()[0], 8.0F);
  EXPECT_EQ(mean.data()[1], 1.75F);
  const auto largest = ops::MaxLast(tape, input);
  EXPECT_EQ(largest.values.data()[0], 5.0F);
  EXPECT_EQ(IndicesOf(largest), (std::vector<std::int32_t>{1, 0}));  // The first of equal ones.
  const auto top = ops::TopK(tape, input, 3);
  EXPECT_EQ(top.values.shape(), (Shape{2, 3}));
  EXPECT_EQ(IndicesOf(top), (std::vector<std::int32_t>{1, 3, 0, 0, 1, 2}));
  EXPECT_EQ(std::vector<float>(top.values.values().begin(), top.values.values().end()),
            (std::vector<float>{5, 5, 1, 2, 2, 2}));
  tape.Backward(ops::Sum(tape, ops::Add(tape, mean, largest.values)));
  EXPECT_EQ(std::vector<float>(input.gradient(), input.gradient() + 8),
            (std::vector<float>{0.25F, 1.25F, 0.25F, 0.25F, 1.25F, 0.25F, 0.25F, 0.25F}));
}

TEST(ReduceTest, AgreesWithDoubleInAnyShape) {
  ThreadPool pool(2);
  unsigned seed = 1;
  for (const std::size_t rows : {0, 1, 3, 31}) {
    for (const std::size_t width : {1, 2, 8, 17, 41}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width));
      const auto x = Normal({rows, 1, width}, ++seed);
      const auto count = static_cast<double>(width);
      const auto sum_of = [&](const double* row) {
        double sum = 0;
        for (std::size_t i = 0; i < width; ++i) sum += row[i];
        return sum;
      };
      const auto max_of = [&](const double* row) { return *std::max_element(row, row + width); };
      CheckOp([](Tape& tape, const auto& t) { return ops::SumLast(tape, t[0]); },
              [&](const auto& t) { return OfRows(t[0], width, sum_of); }, {x}, {}, &pool);
      CheckOp(
          [](Tape& tape, const auto& t) {
            return ops::Add(tape, ops::MeanLast(tape, t[0]), ops::SumLast(tape, t[0]));
          },
          [&](const auto& t) {
            return OfRows(t[0], width,
                          [&](const double* row) { return sum_of(row) / count + sum_of(row); });
          },
          {x}, {}, &pool);
      // Distinct values: where the largest are equal there is no derivative.
      auto distinct = x;
      for (std::size_t i = 0; i < distinct.values.size(); ++i) {
        distinct.values[i] = static_cast<double>((i * 37) % 127) / 8;
      }
      CheckOp(
          [](Tape& tape, const auto& t) {
            const Tensor largest = ops::MaxLast(tape, t[0]).values;
            return ops::Add(tape, largest, ops::MaxLast(tape, t[0]).values);
          },
          [&](const auto& t) {
            return OfRows(t[0], width, [&](const double* row) { return 2 * max_of(row); });
          },
          {distinct}, {}, &pool);
    }
  }
}

// Of a vocabulary of 151,936 with many equal values, in bf16 too.
template <class T>
void ExpectSorted() {
  constexpr std::size_t kWidth = 151'936, kCount = 50;
  std::vector<T> x;
  for (const double value : Normal({2, kWidth}, 1).values) {
    x.push_back(T(std::round(static_cast<float>(value) * 64) / 64));
  }
  ThreadPool pool(2);
  Tape tape({.inference = true, .pool = &pool});
  tape.Begin({});
  const Tensor input = tape.Input({2, kWidth}, x.data());
  const auto top = ops::TopK(tape, input, kCount), first = ops::MaxLast(tape, input);
  for (std::size_t row = 0; row < 2; ++row) {
    std::vector<std::pair<float, std::int32_t>> sorted;
    for (std::size_t i = 0; i < kWidth; ++i) {
      sorted.emplace_back(-ToFloat(x[row * kWidth + i]), static_cast<std::int32_t>(i));
    }
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(first.indices[row], sorted[0].second);
    for (std::size_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(top.indices[row * kCount + i], sorted[i].second) << i;
      ASSERT_EQ(ToFloat(top.values.as<T>()[row * kCount + i]), -sorted[i].first) << i;
    }
  }
}

TEST(ReduceTest, TopOfALargeVocabulary) {
  ExpectSorted<float>();
  ExpectSorted<BFloat16>();
}

TEST(ReduceTest, NanIsTheLargest) {
  const std::vector<float> x = {1, kNan, std::numeric_limits<float>::infinity(), -kNan};
  Tape tape({.inference = true});
  tape.Begin({});
  const Tensor input = tape.Input({1, 4}, x.data());
  const auto largest = ops::MaxLast(tape, input);
  EXPECT_TRUE(std::isnan(*largest.values.data()));
  EXPECT_EQ(largest.indices[0], 1);
  EXPECT_EQ(IndicesOf(ops::TopK(tape, input, 4)), (std::vector<std::int32_t>{1, 3, 2, 0}));
}

TEST(ReduceTest, ARowsBitsDependOnNoOther) {
  constexpr std::size_t kRows = 150, kWidth = 301;
  const auto normal = Normal({kRows, kWidth}, 1);
  const std::vector<float> x(normal.values.begin(), normal.values.end());
  ThreadPool pool(3);
  Tape all({.inference = true, .pool = &pool}), one({.inference = true});
  all.Begin({});
  const Tensor input = all.Input({kRows, kWidth}, x.data());
  const Tensor sum = ops::SumLast(all, input), mean = ops::MeanLast(all, input);
  for (std::size_t row = 0; row < kRows; ++row) {
    one.Begin({});
    const Tensor alone = one.Input({1, kWidth}, x.data() + row * kWidth);
    ASSERT_EQ(*ops::SumLast(one, alone).data(), sum.data()[row]);
    ASSERT_EQ(*ops::MeanLast(one, alone).data(), mean.data()[row]);
  }
}

TEST(ReduceTest, RefusesEmptyRowsAndTooLargeCounts) {
  const std::vector<float> values(4);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({2, 2}, values.data()), empty = tape.Input({2, 0}, values.data());
  EXPECT_THROW(ops::SumLast(tape, empty), ContractViolation);
  EXPECT_THROW(ops::MeanLast(tape, empty), ContractViolation);
  EXPECT_THROW(ops::MaxLast(tape, empty), ContractViolation);
  EXPECT_THROW(ops::MaxLast(tape, tape.Input(Shape(), values.data())), ContractViolation);
  EXPECT_THROW(ops::TopK(tape, x, 0), ContractViolation);
  EXPECT_THROW(ops::TopK(tape, x, 3), ContractViolation);
}

}  // namespace
}  // namespace muster
