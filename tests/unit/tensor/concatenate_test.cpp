#include "tensor/kernels/concatenate.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using testing::OpInput;
using Values = std::vector<double>;

// x of [outer, sizes[i], inner] each.
Values ConcatenateInDouble(const std::vector<Values>& parts, const std::vector<std::size_t>& sizes,
                           std::size_t outer, std::size_t inner) {
  Values y;
  for (std::size_t o = 0; o < outer; ++o) {
    for (std::size_t part = 0; part < parts.size(); ++part) {
      const std::size_t run = sizes[part] * inner;
      for (std::size_t i = 0; i < run; ++i) y.push_back(parts[part][o * run + i]);
    }
  }
  return y;
}

std::vector<float> Ascending(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0F);
  return values;
}

std::vector<float> ValuesOf(Tensor x) { return {x.values().begin(), x.values().end()}; }

TEST(ConcatenateTest, MatchesHandWorkedExamples) {
  const std::vector<float> values = Ascending(12);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({2, 3}, values.data()), y = tape.Input({2, 1}, values.data() + 6);
  const Tensor both[] = {x, y, x};
  EXPECT_EQ(ValuesOf(ops::Concatenate(tape, both, 1)),
            (std::vector<float>{0, 1, 2, 6, 0, 1, 2, 3, 4, 5, 7, 3, 4, 5}));
  const Tensor rows[] = {x, tape.Input({1, 3}, values.data() + 8)};
  EXPECT_EQ(ValuesOf(ops::Concatenate(tape, rows, 0)),
            (std::vector<float>{0, 1, 2, 3, 4, 5, 8, 9, 10}));
  EXPECT_EQ(ValuesOf(ops::Slice(tape, x, 1, 1, 2)), (std::vector<float>{1, 2, 4, 5}));
  EXPECT_EQ(ValuesOf(ops::Slice(tape, x, 0, 1, 1)), (std::vector<float>{3, 4, 5}));
  EXPECT_EQ(ops::Slice(tape, x, 1, 3, 0).shape(), (Shape{2, 0}));
}

TEST(ConcatenateTest, AgreesWithDoubleAlongAnyDimension) {
  ThreadPool pool(2);
  unsigned seed = 1;
  for (const auto& sizes : {std::vector<std::size_t>{3},
                            {1, 0, 5},
                            {2, 2, 2, 2},
                            {1, 2, 3, 4, 5},
                            {1, 1, 2, 1, 0, 3, 1, 1, 7}}) {
    for (std::size_t dimension = 0; dimension < 3; ++dimension) {
      SCOPED_TRACE(std::to_string(sizes.size()) + " along " + std::to_string(dimension));
      std::vector<OpInput> inputs;
      for (const std::size_t size : sizes) {
        const Shape shapes[] = {{size, 3, 2}, {3, size, 2}, {3, 2, size}};
        inputs.push_back(Normal(shapes[dimension], ++seed));
      }
      CheckOp([&](Tape& tape, const auto& t) { return ops::Concatenate(tape, t, dimension); },
              [&](const auto& t) {
                const std::size_t outer[] = {1, 3, 6}, inner[] = {6, 2, 1};
                return ConcatenateInDouble(t, sizes, outer[dimension], inner[dimension]);
              },
              inputs, {}, &pool);
    }
  }
}

// Nine parts are three nodes; both tensors come several times in each of the first two.
TEST(ConcatenateTest, GradientsOfSeveralUsesAdd) {
  CheckOp(
      [](Tape& tape, const auto& t) {
        const std::vector<Tensor> parts = {t[0], t[1], t[0], t[1], t[0], t[1], t[0], t[1], t[1]};
        const Tensor y = ops::Concatenate(tape, parts, 1);
        return ops::Multiply(tape, y, y);
      },
      [](const auto& t) {
        Values y = ConcatenateInDouble({t[0], t[1], t[0], t[1], t[0], t[1], t[0], t[1], t[1]},
                                       {2, 3, 2, 3, 2, 3, 2, 3, 3}, 3, 1);
        for (double& value : y) value *= value;
        return y;
      },
      {Normal({3, 2}, 1), Normal({3, 3}, 2)}, {.f32 = 2e-5, .bf16 = 6e-2});
}

TEST(ConcatenateTest, PartsWithoutGradientAreConstants) {
  const std::vector<float> values = Ascending(12);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({2, 1}, values.data());
  const Tensor constant = tape.Input({2, 2}, values.data());
  const std::vector<Tensor> parts = {constant, constant, constant, constant, constant, x};
  const Tensor y = ops::Concatenate(tape, parts, 1);
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, y)));
  EXPECT_EQ(x.gradient()[0], 0.0F);
  EXPECT_EQ(x.gradient()[1], 2.0F);
  EXPECT_EQ(constant.gradient(), nullptr);
}

TEST(SliceTest, AgreesWithDoubleAlongAnyDimension) {
  ThreadPool pool(2);
  for (std::size_t dimension = 0; dimension < 3; ++dimension) {
    for (const auto& [begin, count] :
         {std::pair<std::size_t, std::size_t>{0, 5}, {1, 3}, {4, 1}, {5, 0}}) {
      SCOPED_TRACE(std::to_string(begin) + "+" + std::to_string(count) + " along " +
                   std::to_string(dimension));
      const Shape shapes[] = {{5, 3, 2}, {3, 5, 2}, {3, 2, 5}};
      const std::size_t outer[] = {1, 3, 6}, inner[] = {6, 2, 1};
      const std::size_t from = begin, n = count;
      // Twice, so that the second contribution is added to the first.
      CheckOp(
          [&](Tape& tape, const auto& t) {
            const Tensor y = ops::Slice(tape, t[0], dimension, from, n);
            return ops::Add(tape, y, ops::Slice(tape, t[0], dimension, from, n));
          },
          [&](const auto& t) {
            Values y;
            const std::size_t width = inner[dimension];
            for (std::size_t o = 0; o < outer[dimension]; ++o) {
              for (std::size_t i = from * width; i < (from + n) * width; ++i) {
                y.push_back(2 * t[0][o * 5 * width + i]);
              }
            }
            return y;
          },
          {Normal(shapes[dimension], 1)}, {}, &pool);
    }
  }
}

// Runs of several blocks, on three threads.
TEST(SliceTest, CutsWhatConcatenatePutTogether) {
  const std::vector<float> a = Ascending(3 * 40'000), b = Ascending(3 * 7);
  ThreadPool pool(3);
  Tape tape({.pool = &pool});
  tape.Begin({});
  const Tensor parts[] = {tape.InputWithGradient({3, 40'000}, a.data()),
                          tape.InputWithGradient({3, 7}, b.data())};
  const Tensor both = ops::Concatenate(tape, parts, 1);
  EXPECT_EQ(ValuesOf(ops::Slice(tape, both, 1, 0, 40'000)), a);
  const Tensor second = ops::Slice(tape, both, 1, 40'000, 7);
  EXPECT_EQ(ValuesOf(second), b);
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, second, second)));
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(parts[0].gradient()[i], 0.0F);
  for (std::size_t i = 0; i < b.size(); ++i) ASSERT_EQ(parts[1].gradient()[i], 2 * b[i]);
}

TEST(ConcatenateTest, RefusesWhatDoesNotFit) {
  const std::vector<float> values(12);
  const std::vector<BFloat16> narrow(12);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({2, 3}, values.data());
  EXPECT_THROW(ops::Concatenate(tape, {}, 0), ContractViolation);
  const auto refused = [&](Tensor other, std::size_t dimension) {
    const Tensor parts[] = {x, other};
    EXPECT_THROW(ops::Concatenate(tape, parts, dimension), ContractViolation);
  };
  refused(tape.Input({2, 2}, values.data()), 0);
  refused(tape.Input({3, 3}, values.data()), 1);
  refused(tape.Input({6}, values.data()), 0);
  refused(tape.Input({2, 3}, narrow.data()), 0);
  refused(x, 2);
  EXPECT_THROW(ops::Slice(tape, x, 1, 2, 2), ContractViolation);
  EXPECT_THROW(ops::Slice(tape, x, 1, 4, 0), ContractViolation);
  EXPECT_THROW(ops::Slice(tape, x, 1, 2, ~std::size_t{0}), ContractViolation);
  EXPECT_THROW(ops::Slice(tape, x, 2, 0, 0), ContractViolation);
}

}  // namespace
}  // namespace muster
