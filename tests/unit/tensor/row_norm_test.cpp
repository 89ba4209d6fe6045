#include "tensor/kernels/row_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::Added;
using testing::CheckOp;
using testing::Normal;
using Values = std::vector<double>;

Values NormInDouble(const Values& x, const Values& gain, const Values* bias, double epsilon) {
  const std::size_t width = gain.size();
  Values y(x.size());
  for (std::size_t row = 0; row < x.size() / width; ++row) {
    const double* const from = x.data() + row * width;
    double mean = 0, squares = 0;
    for (std::size_t i = 0; bias != nullptr && i < width; ++i) mean += from[i];
    mean /= static_cast<double>(width);
    for (std::size_t i = 0; i < width; ++i) squares += (from[i] - mean) * (from[i] - mean);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + epsilon);
    for (std::size_t i = 0; i < width; ++i) {
      y[row * width + i] = (from[i] - mean) * scale * gain[i] + (bias != nullptr ? (*bias)[i] : 0);
    }
  }
  return y;
}

// mean 2, variance 1: (x - 2) / sqrt(1 + 0) * gain + bias; mean square 5 of {1, 3}.
TEST(RowNormTest, MatchesHandWorkedExamples) {
  const std::vector<float> x = {1, 3}, gain = {2, 10}, bias = {0, 1};
  Tape tape;
  tape.Begin({});
  const Tensor in = tape.Input({1, 2}, x.data()), g = tape.Input({2}, gain.data());
  const Tensor y = ops::LayerNorm(tape, in, g, tape.Input({2}, bias.data()), 0.0F);
  EXPECT_EQ(y.data()[0], -2.0F);
  EXPECT_EQ(y.data()[1], 11.0F);
  const Tensor r = ops::RmsNorm(tape, in, g, 0.0F);
  EXPECT_FLOAT_EQ(r.data()[0], 2.0F / std::sqrt(5.0F));
  EXPECT_FLOAT_EQ(r.data()[1], 30.0F / std::sqrt(5.0F));
}

TEST(RowNormTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const std::size_t rows : {0, 1, 3, 67}) {
    for (const std::size_t width : {1, 3, 8, 17, 40}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width));
      const auto x = Normal({rows, width}, ++seed, 2, 0.5),
                 residual = Normal({rows, width}, ++seed), gain = Normal({width}, ++seed),
                 bias = Normal({width}, ++seed);
      CheckOp([](Tape& tape, const auto& in) { return ops::LayerNorm(tape, in[0], in[1], in[2]); },
              [](const auto& in) { return NormInDouble(in[0], in[1], &in[2], 1e-5); },
              {x, gain, bias}, {.f32 = 2e-4, .bf16 = 6e-2}, &pool);
      CheckOp([](Tape& tape, const auto& in) { return ops::RmsNorm(tape, in[0], in[1]); },
              [](const auto& in) { return NormInDouble(in[0], in[1], nullptr, 1e-5); }, {x, gain},
              {.f32 = 2e-4, .bf16 = 6e-2}, &pool);
      CheckOp(
          [](Tape& tape, const auto& in) {
            const ops::SumAndNorm both = ops::AddLayerNorm(tape, in[0], in[1], in[2], in[3]);
            return ops::Add(tape, both.sum, both.y);
          },
          [](const auto& in) {
            const Values sum = Added(in[0], in[1]);
            return Added(sum, NormInDouble(sum, in[2], &in[3], 1e-5));
          },
          {x, residual, gain, bias}, {.f32 = 2e-4, .bf16 = 1e-1}, &pool);
      CheckOp(
          [](Tape& tape, const auto& in) {
            const ops::SumAndNorm both = ops::AddRmsNorm(tape, in[0], in[1], in[2]);
            return ops::Add(tape, both.sum, both.y);
          },
          [](const auto& in) {
            const Values sum = Added(in[0], in[1]);
            return Added(sum, NormInDouble(sum, in[2], nullptr, 1e-5));
          },
          {x, residual, gain}, {.f32 = 2e-4, .bf16 = 1e-1}, &pool);
    }
  }
}

TEST(RowNormTest, ARowsBitsDependOnNoOther) {
  const auto x = Normal({130, 24}, 1), gain = Normal({24}, 2), bias = Normal({24}, 3);
  std::vector<BFloat16> values, gains, biases;
  for (const double v : x.values) values.emplace_back(static_cast<float>(v));
  for (const double v : gain.values) gains.emplace_back(static_cast<float>(v));
  for (const double v : bias.values) biases.emplace_back(static_cast<float>(v));
  ThreadPool pool(3);
  Tape all({.inference = true, .pool = &pool}), one({.inference = true});
  all.Begin({});
  const Tensor y = ops::LayerNorm(all, all.Input({130, 24}, values.data()),
                                  all.Input({24}, gains.data()), all.Input({24}, biases.data()));
  for (std::size_t row = 0; row < 130; ++row) {
    one.Begin({});
    const Tensor alone =
        ops::LayerNorm(one, one.Input({1, 24}, values.data() + row * 24),
                       one.Input({24}, gains.data()), one.Input({24}, biases.data()));
    for (std::size_t i = 0; i < 24; ++i) {
      ASSERT_EQ(y.as<BFloat16>()[row * 24 + i].bits, alone.as<BFloat16>()[i].bits);
    }
  }
}

TEST(RowNormTest, RefusesAGainOfAnotherWidth) {
  const std::vector<float> values(64);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({4, 4}, values.data());
  EXPECT_THROW(ops::RmsNorm(tape, x, tape.Input({3}, values.data())), ContractViolation);
}

}  // namespace
}  // namespace muster
