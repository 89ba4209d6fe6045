#include "tensor/kernels/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "tensor/kernels/lane_math.h"
#include "tensor/kernels/vector_math.h"
#include "tests/support/limits.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::kInfinity;
using testing::kNan;
using testing::Normal;
using Values = std::vector<double>;

Values SoftmaxInDouble(const Values& x, std::size_t width, bool log) {
  Values y(x.size());
  for (std::size_t row = 0; row < x.size() / width; ++row) {
    const double* const from = x.data() + row * width;
    const double largest = *std::max_element(from, from + width);
    double sum = 0;
    for (std::size_t i = 0; i < width; ++i) sum += std::exp(from[i] - largest);
    for (std::size_t i = 0; i < width; ++i) {
      const double value = from[i] - largest - std::log(sum);
      y[row * width + i] = log ? value : std::exp(value);
    }
  }
  return y;
}

TEST(LaneMathTest, EachLaneHasTheBitsOfTheScalarFunction) {
  for (int i = -110'000; i <= 80'000; i += 8) {
    kernels::Lanes x;
    for (int lane = 0; lane < 8; ++lane) x[lane] = static_cast<float>(i + lane) * 1e-3F;
    if (i == 0) x[0] = kNan, x[1] = -kInfinity;
    const kernels::Lanes y = kernels::FastExp(x);
    for (int lane = 0; lane < 8; ++lane) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(static_cast<float>(y[lane])),
                std::bit_cast<std::uint32_t>(kernels::FastExp(static_cast<float>(x[lane]))))
          << x[lane];
    }
  }
}

TEST(LaneMathTest, TheLargestIsNanIfOneIs) {
  for (const std::size_t count : {1, 7, 8, 9, 31}) {
    for (std::size_t at = 0; at < count; ++at) {
      std::vector<float> x(count, -3);
      const auto largest = [&] {
        return kernels::MaxLanes(count, [&](std::size_t i, std::size_t n) {
          return kernels::LoadUpTo(x.data() + i, n);
        });
      };
      x[at] = -2;
      EXPECT_EQ(largest(), -2.0F);
      x[at] = kNan;
      EXPECT_TRUE(std::isnan(largest())) << at << " of " << count;
    }
  }
}

// e^0 : e^ln 3 = 1 : 3.
TEST(SoftmaxTest, MatchesHandWorkedExample) {
  const std::vector<float> x = {0, std::log(3.0F), 5, -kInfinity};
  Tape tape;
  tape.Begin({});
  const Tensor input = tape.InputWithGradient({2, 2}, x.data());
  const Tensor y = ops::Softmax(tape, input), log = ops::LogSoftmax(tape, input);
  EXPECT_NEAR(y.data()[0], 0.25F, 1e-7F);
  EXPECT_NEAR(y.data()[1], 0.75F, 1e-7F);
  EXPECT_EQ(y.data()[2], 1.0F);
  EXPECT_EQ(y.data()[3], 0.0F);
  EXPECT_NEAR(log.data()[0], -std::log(4.0F), 1e-6F);
  EXPECT_EQ(log.data()[2], 0.0F);
  EXPECT_EQ(log.data()[3], -kInfinity);
  // d y[0] = p0 (1 - p0) at x[0], -p0 p1 at x[1].
  const std::vector<float> first = {1, 0, 0, 0};
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, tape.Input({2, 2}, first.data()))));
  EXPECT_NEAR(input.gradient()[0], 0.1875F, 1e-7F);
  EXPECT_NEAR(input.gradient()[1], -0.1875F, 1e-7F);
  EXPECT_EQ(input.gradient()[3], 0.0F);
}

TEST(SoftmaxTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const std::size_t rows : {0, 1, 3, 13}) {
    for (const std::size_t width : {1, 2, 7, 8, 16, 37}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width));
      const auto x = Normal({rows, width}, ++seed, 3);
      CheckOp([](Tape& tape, const auto& t) { return ops::Softmax(tape, t[0]); },
              [&](const auto& t) { return SoftmaxInDouble(t[0], width, false); }, {x}, {}, &pool);
      CheckOp([](Tape& tape, const auto& t) { return ops::LogSoftmax(tape, t[0]); },
              [&](const auto& t) { return SoftmaxInDouble(t[0], width, true); }, {x}, {}, &pool);
      CheckOp(
          [](Tape& tape, const auto& t) {
            return ops::Add(tape, ops::Softmax(tape, t[0]), ops::LogSoftmax(tape, t[0]));
          },
          [&](const auto& t) {
            Values sum = SoftmaxInDouble(t[0], width, false);
            const Values log = SoftmaxInDouble(t[0], width, true);
            for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += log[i];
            return sum;
          },
          {x}, {}, &pool);
    }
  }
}

TEST(SoftmaxTest, SurvivesALargeVocabularyAndLargeValues) {
  constexpr std::size_t kWidth = 151'936;
  auto x = Normal({2, kWidth}, 1, 5);
  x.values[7] = 30'000;
  std::vector<float> values(x.values.begin(), x.values.end());
  x.values.assign(values.begin(), values.end());
  Tape tape({.inference = true});
  tape.Begin({});
  const Tensor y = ops::LogSoftmax(tape, tape.Input(x.shape, values.data()));
  const Values expected = SoftmaxInDouble(x.values, kWidth, true);
  for (std::size_t i = 0; i < 2 * kWidth; ++i) {
    const double got = static_cast<double>(y.data()[i]);
    ASSERT_NEAR(got, expected[i], 2e-6 * (1 + std::abs(expected[i]))) << i;
  }
}

TEST(SoftmaxTest, TellsRowsThatAreNoDistribution) {
  const float nan = kNan;
  const std::vector<float> x = {0, nan, 0, kInfinity, -kInfinity, -kInfinity, 1, 1};
  Tape tape({.inference = true});
  tape.Begin({});
  const Tensor y = ops::Softmax(tape, tape.Input({4, 2}, x.data()));
  for (std::size_t row = 0; row < 3; ++row) EXPECT_TRUE(std::isnan(y.data()[row * 2 + 1])) << row;
  EXPECT_EQ(y.data()[6], 0.5F);
}

template <class T>
void ExpectRowsAlike(std::size_t rows, std::size_t width) {
  const auto x = Normal({rows, width}, 1, 3), dy = Normal({rows, width}, 2);
  std::vector<T> values, slopes;
  for (const double v : x.values) values.push_back(T(static_cast<float>(v)));
  for (const double v : dy.values) slopes.push_back(T(static_cast<float>(v)));
  const auto run = [&](ThreadPool* pool, std::size_t begin, std::size_t count) {
    Tape tape({.pool = pool});
    tape.Begin({});
    const Tensor in = tape.InputWithGradient({count, width}, values.data() + begin * width);
    const Tensor y = ops::Softmax(tape, in);
    const Tensor w = tape.Input({count, width}, slopes.data() + begin * width);
    tape.Backward(ops::Sum(tape, ops::Multiply(tape, ops::LogSoftmax(tape, y), w)));
    auto all = testing::ValuesOf(y);
    const auto gradient = testing::GradientOf(in);
    all.insert(all.end(), gradient.begin(), gradient.end());
    return all;
  };
  ThreadPool pool(3);
  const Values whole = run(&pool, 0, rows);
  ASSERT_EQ(whole, run(nullptr, 0, rows));
  for (std::size_t row = 0; row < rows; row += 11) {
    const Values alone = run(nullptr, row, 1);
    for (std::size_t i = 0; i < width; ++i) {
      ASSERT_EQ(alone[i], whole[row * width + i]) << row;
      ASSERT_EQ(alone[width + i], whole[(rows + row) * width + i]) << row;
    }
  }
}

TEST(SoftmaxTest, ARowsBitsDependOnNoOther) {
  ExpectRowsAlike<float>(130, 517);
  ExpectRowsAlike<BFloat16>(130, 517);
}

TEST(SoftmaxTest, RefusesRowsWithoutElements) {
  Tape tape;
  tape.Begin({});
  const float none = 0;
  EXPECT_THROW(ops::Softmax(tape, tape.Input({3, 0}, &none)), ContractViolation);
  EXPECT_THROW(ops::LogSoftmax(tape, tape.Input({3, 0}, &none)), ContractViolation);
}

}  // namespace
}  // namespace muster
