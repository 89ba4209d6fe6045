#include "tensor/kernels/batched_matmul.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "base/check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using Values = std::vector<double>;

struct Sizes {
  std::size_t batch, rows, inner, columns;
};

Values InDouble(const Values& a, const Values& b, const Sizes& s, bool transposed) {
  Values c;
  for (std::size_t item = 0; item < s.batch; ++item) {
    for (std::size_t row = 0; row < s.rows; ++row) {
      for (std::size_t column = 0; column < s.columns; ++column) {
        double sum = 0;
        for (std::size_t k = 0; k < s.inner; ++k) {
          const std::size_t at = transposed ? (item * s.columns + column) * s.inner + k
                                            : (item * s.inner + k) * s.columns + column;
          sum += a[(item * s.rows + row) * s.inner + k] * b[at];
        }
        c.push_back(sum);
      }
    }
  }
  return c;
}

Shape ShapeOfB(const Sizes& s, bool transposed) {
  return transposed ? Shape{s.batch, s.columns, s.inner} : Shape{s.batch, s.inner, s.columns};
}

// {1 2; 3 4} {5 6; 7 8} and {1 2; 3 4} {5 6; 7 8}^T.
TEST(BatchedMatmulTest, MatchesHandWorkedExample) {
  const std::vector<float> a = {1, 2, 3, 4}, b = {5, 6, 7, 8};
  Tape tape;
  tape.Begin({});
  const Tensor left = tape.Input({1, 2, 2}, a.data()), right = tape.Input({1, 2, 2}, b.data());
  const Tensor plain = ops::BatchedMatmul(tape, left, right);
  EXPECT_EQ(std::vector<float>(plain.values().begin(), plain.values().end()),
            (std::vector<float>{19, 22, 43, 50}));
  const Tensor turned = ops::BatchedMatmul(tape, left, right, {.b_transposed = true});
  EXPECT_EQ(std::vector<float>(turned.values().begin(), turned.values().end()),
            (std::vector<float>{17, 23, 39, 53}));
}

// More items than threads, and fewer.
TEST(BatchedMatmulTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const Sizes& s :
       {Sizes{0, 3, 2, 5}, Sizes{2, 0, 3, 1}, Sizes{3, 2, 0, 2}, Sizes{2, 3, 4, 0},
        Sizes{1, 1, 1, 1}, Sizes{7, 5, 3, 2}, Sizes{1, 13, 17, 11}, Sizes{5, 1, 31, 7}}) {
    for (const bool transposed : {false, true}) {
      SCOPED_TRACE(std::to_string(s.batch) + ": " + std::to_string(s.rows) + " x " +
                   std::to_string(s.inner) + " x " + std::to_string(s.columns));
      CheckOp(
          [&](Tape& tape, const auto& in) {
            return ops::BatchedMatmul(tape, in[0], in[1], {.b_transposed = transposed});
          },
          [&](const auto& in) { return InDouble(in[0], in[1], s, transposed); },
          {Normal({s.batch, s.rows, s.inner}, ++seed),
           Normal(ShapeOfB(s, transposed), ++seed, 0.5)},
          {.f32 = 5e-5, .bf16 = 8e-2}, &pool);
    }
  }
}

// a a, a a^T and a again: three contributions to one gradient.
TEST(BatchedMatmulTest, GradientsOfSeveralUsesAdd) {
  const Sizes s{3, 4, 4, 4};
  CheckOp(
      [](Tape& tape, const auto& in) {
        return ops::Add(tape, ops::BatchedMatmul(tape, in[0], in[0]),
                        ops::BatchedMatmul(tape, in[0], in[0], {.b_transposed = true}));
      },
      [&](const auto& in) {
        Values sum = InDouble(in[0], in[0], s, false);
        const Values second = InDouble(in[0], in[0], s, true);
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += second[i];
        return sum;
      },
      {Normal({3, 4, 4}, 5, 0.7)}, {.f32 = 1e-4, .bf16 = 1.5e-1});
}

// Values and both gradients of a batch, one after the other.
template <class T>
std::vector<T> All(const std::vector<T>& a, const std::vector<T>& b, const Sizes& s,
                   std::size_t item, std::size_t count, ThreadPool* pool) {
  Tape tape({.pool = pool});
  tape.Begin({});
  const std::size_t a_size = s.rows * s.inner, b_size = s.inner * s.columns;
  const Tensor left = tape.InputWithGradient({count, s.rows, s.inner}, a.data() + item * a_size);
  const Tensor right =
      tape.InputWithGradient({count, s.inner, s.columns}, b.data() + item * b_size);
  const Tensor c = ops::BatchedMatmul(tape, left, right);
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, c, c)));
  std::vector<T> all;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t c_size = s.rows * s.columns;
    all.insert(all.end(), c.as<T>() + i * c_size, c.as<T>() + (i + 1) * c_size);
    const T* const da = left.template gradient_as<T>() + i * a_size;
    const T* const db = right.template gradient_as<T>() + i * b_size;
    all.insert(all.end(), da, da + a_size);
    all.insert(all.end(), db, db + b_size);
  }
  return all;
}

template <class T>
void ExpectSameBits() {
  const Sizes s{9, 130, 37, 45};
  const auto convert = [](const testing::OpInput& input) {
    std::vector<T> values;
    for (const double value : input.values) values.push_back(T(static_cast<float>(value)));
    return values;
  };
  const std::vector<T> a = convert(Normal({s.batch, s.rows, s.inner}, 1)),
                       b = convert(Normal({s.batch, s.inner, s.columns}, 2));
  const std::vector<T> whole = All(a, b, s, 0, s.batch, nullptr);
  for (const std::size_t threads : {2, 3, 5}) {  // With five the rows are shared.
    ThreadPool pool(threads);
    const std::vector<T> again = All(a, b, s, 0, s.batch, &pool);
    EXPECT_EQ(std::memcmp(whole.data(), again.data(), whole.size() * sizeof(T)), 0) << threads;
  }
  const std::size_t size = whole.size() / s.batch;
  for (std::size_t item = 0; item < s.batch; ++item) {
    const std::vector<T> alone = All(a, b, s, item, 1, nullptr);
    EXPECT_EQ(std::memcmp(whole.data() + item * size, alone.data(), size * sizeof(T)), 0) << item;
  }
}

TEST(BatchedMatmulTest, AnItemsBitsDependOnNoOtherAndNoThread) {
  ExpectSameBits<float>();
  ExpectSameBits<BFloat16>();
}

TEST(BatchedMatmulTest, RefusesMatricesThatDoNotFit) {
  const std::vector<float> values(24);
  const std::vector<BFloat16> narrow(24);
  Tape tape;
  tape.Begin({});
  const Tensor a = tape.Input({2, 3, 4}, values.data());
  EXPECT_THROW(ops::BatchedMatmul(tape, a, tape.Input({2, 3, 4}, values.data())),
               ContractViolation);
  EXPECT_THROW(ops::BatchedMatmul(tape, a, tape.Input({1, 4, 2}, values.data())),
               ContractViolation);
  EXPECT_THROW(ops::BatchedMatmul(tape, a, tape.Input({4, 3}, values.data())), ContractViolation);
  EXPECT_THROW(
      ops::BatchedMatmul(tape, a, tape.Input({2, 4, 2}, values.data()), {.b_transposed = true}),
      ContractViolation);
  EXPECT_THROW(ops::BatchedMatmul(tape, a, tape.Input({2, 4, 3}, narrow.data())),
               ContractViolation);
}

}  // namespace
}  // namespace muster
