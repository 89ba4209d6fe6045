#include "tensor/kernels/recurrent.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::Added;
using testing::CheckOp;
using testing::Normal;
using Values = std::vector<double>;
using Floats = std::vector<float>;

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// x W^T + b for x [rows, in]; no bias if b is empty.
Values Product(const Values& x, const Values& weight, const Values& bias, std::size_t in) {
  const std::size_t out = weight.size() / in;
  Values y;
  for (std::size_t row = 0; row < x.size() / in; ++row) {
    for (std::size_t o = 0; o < out; ++o) {
      double sum = bias.empty() ? 0 : bias[o];
      for (std::size_t i = 0; i < in; ++i) sum += x[row * in + i] * weight[o * in + i];
      y.push_back(sum);
    }
  }
  return y;
}

Values GruInDouble(const Values& input, const Values& product, const Values& hidden,
                   std::size_t width) {
  Values next;
  for (std::size_t at = 0; at < hidden.size(); ++at) {
    const std::size_t r = at / width * 3 * width + at % width, u = r + width, n = u + width;
    const double update = Sigmoid(input[u] + product[u]);
    const double fresh = std::tanh(input[n] + Sigmoid(input[r] + product[r]) * product[n]);
    next.push_back((1 - update) * fresh + update * hidden[at]);
  }
  return next;
}

struct State {
  Values hidden, cell;
};

State LstmInDouble(const Values& input, const Values& product, const Values& cell,
                   std::size_t width) {
  State next;
  for (std::size_t at = 0; at < cell.size(); ++at) {
    const std::size_t i = at / width * 4 * width + at % width;
    const auto before = [&](std::size_t gate) {
      return input[i + gate * width] + product[i + gate * width];
    };
    next.cell.push_back(Sigmoid(before(1)) * cell[at] + Sigmoid(before(0)) * std::tanh(before(2)));
    next.hidden.push_back(Sigmoid(before(3)) * std::tanh(next.cell.back()));
  }
  return next;
}

// Gates one at a time, by biases that open (+-100) or close them; the hidden product's share of the
// new gate is weighed by the reset gate, its bias too.
TEST(RecurrentTest, MatchesHandWorkedGru) {
  const Floats input = {0, -100, 0.5F, 100, -100, 0.5F, -100, -100, 0.5F, 0, 100, 9};
  const Floats product = {0, 0, 0.5F, 0, 0, 0.5F, 0, 0, 0.5F, 0, 0, 9};
  const Floats states = {0.25F, 0.25F, 0.25F, 0.25F};
  Tape tape;
  tape.Begin({});
  const Tensor y =
      ops::GruGates(tape, tape.Input({4, 3}, input.data()), tape.Input({4, 3}, product.data()),
                    tape.Input({4, 1}, states.data()));
  EXPECT_NEAR(y.data()[0], std::tanh(0.75), 1e-6);  // r = 1/2, u = 0.
  EXPECT_NEAR(y.data()[1], std::tanh(1.0), 1e-6);   // r = 1.
  EXPECT_NEAR(y.data()[2], std::tanh(0.5), 1e-6);   // r = 0.
  EXPECT_EQ(y.data()[3], 0.25F);                    // u = 1: the old state.
}

// i = 1, f = 0, g = tanh 1/2, o = 1; then i = 0, f = 1, o = 1/2.
TEST(RecurrentTest, MatchesHandWorkedLstm) {
  const Floats input = {100, -100, 0.25F, 100, -100, 100, 9, 0}, cells = {7, 2};
  const Floats product = {0, 0, 0.25F, 0, 0, 0, 0, 0};
  Tape tape;
  tape.Begin({});
  const auto next =
      ops::LstmGates(tape, tape.Input({2, 4}, input.data()), tape.Input({2, 4}, product.data()),
                     tape.Input({2, 1}, cells.data()));
  EXPECT_NEAR(next.cell.data()[0], std::tanh(0.5), 1e-6);
  EXPECT_NEAR(next.hidden.data()[0], std::tanh(std::tanh(0.5)), 1e-6);
  EXPECT_EQ(next.cell.data()[1], 2.0F);
  EXPECT_NEAR(next.hidden.data()[1], std::tanh(2.0) / 2, 1e-6);
}

TEST(RecurrentTest, GatesAgreeWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const std::size_t rows : {0, 1, 3}) {
    for (const std::size_t width : {1, 7, 8, 131}) {
      if (rows * width > 131) continue;  // Its differences would take seconds.
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width));
      const auto state = Normal({rows, width}, ++seed);
      CheckOp([](Tape& tape, const auto& in) { return ops::GruGates(tape, in[0], in[1], in[2]); },
              [&](const auto& in) { return GruInDouble(in[0], in[1], in[2], width); },
              {Normal({rows, 3 * width}, ++seed), Normal({rows, 3 * width}, ++seed), state},
              {.f32 = 2e-5, .bf16 = 2e-2}, &pool);
      // Only the hidden state, only the cell, and both: each has a backward pass of its own.
      for (const int which : {1, 2, 3}) {
        CheckOp(
            [&](Tape& tape, const auto& in) {
              const auto next = ops::LstmGates(tape, in[0], in[1], in[2]);
              if (which == 3) return ops::Add(tape, next.hidden, next.cell);
              return which == 1 ? next.hidden : next.cell;
            },
            [&](const auto& in) {
              const State next = LstmInDouble(in[0], in[1], in[2], width);
              if (which == 3) return Added(next.hidden, next.cell);
              return which == 1 ? next.hidden : next.cell;
            },
            {Normal({rows, 4 * width}, ++seed), Normal({rows, 4 * width}, ++seed), state},
            {.f32 = 2e-5, .bf16 = 3e-2}, &pool);
      }
    }
  }
}

// Two steps with the same weights, a reset of one row between them.
TEST(RecurrentTest, CellsOverTwoStepsAgreeWithDouble) {
  constexpr std::size_t kRows = 3, kIn = 5, kWidth = 4;
  const std::vector<std::uint8_t> done = {0, 1, 0};
  const auto reset = [&](Values state) {
    for (std::size_t i = 0; i < state.size(); ++i) state[i] *= 1 - done[i / kWidth];
    return state;
  };
  const auto inputs = [&](std::size_t gates) {
    return std::vector<testing::OpInput>{
        Normal({kRows, kIn}, 1),          Normal({kRows, kWidth}, 2),
        Normal({gates * kWidth, kIn}, 3), Normal({gates * kWidth, kWidth}, 4, 0.5),
        Normal({gates * kWidth}, 5),      Normal({gates * kWidth}, 6)};
  };
  CheckOp(
      [&](Tape& tape, const auto& in) {
        const ops::RecurrentWeights weights{in[2], in[3], in[4], in[5]};
        const Tensor h = ops::GruCell(tape, in[0], in[1], weights);
        return ops::GruCell(tape, in[0], ops::ResetRows(tape, h, done), weights);
      },
      [&](const auto& in) {
        Values h = in[1];
        const Values made = Product(in[0], in[2], in[4], kIn);
        h = reset(GruInDouble(made, Product(h, in[3], in[5], kWidth), h, kWidth));
        return GruInDouble(made, Product(h, in[3], in[5], kWidth), h, kWidth);
      },
      inputs(3), {.f32 = 5e-5, .bf16 = 6e-2});
  CheckOp(
      [&](Tape& tape, const auto& in) {
        const ops::RecurrentWeights weights{in[2], in[3], in[4], in[5]};
        ops::LstmState s = ops::LstmCell(tape, in[0], {in[1], in[1]}, weights);
        s = {ops::ResetRows(tape, s.hidden, done), ops::ResetRows(tape, s.cell, done)};
        return ops::LstmCell(tape, in[0], s, weights).hidden;
      },
      [&](const auto& in) {
        State s{in[1], in[1]};
        const Values made = Product(in[0], in[2], in[4], kIn);
        s = LstmInDouble(made, Product(s.hidden, in[3], in[5], kWidth), s.cell, kWidth);
        s = {reset(s.hidden), reset(s.cell)};
        return LstmInDouble(made, Product(s.hidden, in[3], in[5], kWidth), s.cell, kWidth).hidden;
      },
      inputs(4), {.f32 = 5e-5, .bf16 = 6e-2});
}

TEST(RecurrentTest, AResetStartsAnewWhateverTheStateHolds) {
  const Floats state = {std::numeric_limits<float>::quiet_NaN(), 1, 2, 3};
  const std::vector<std::uint8_t> done = {1, 0};
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.InputWithGradient({2, 2}, state.data());
  const Tensor y = ops::ResetRows(tape, x, done);
  EXPECT_EQ(Floats(y.data(), y.data() + 4), (Floats{0, 0, 2, 3}));
  // Two uses: the second adds to the gradient of the first.
  tape.Backward(ops::Sum(tape, ops::Add(tape, y, ops::ResetRows(tape, x, done))));
  EXPECT_EQ(Floats(x.gradient(), x.gradient() + 4), (Floats{0, 0, 2, 2}));
}

TEST(RecurrentTest, BitsDependOnNoOtherRowAndNoThreads) {
  constexpr std::size_t kRows = 150, kWidth = 140;  // Several blocks and two parts of a row.
  const auto sample = [](const Shape& shape, unsigned seed) {
    const Values values = Normal(shape, seed).values;
    return Floats(values.begin(), values.end());
  };
  const Floats input = sample({kRows, 4 * kWidth}, 1), product = sample({kRows, 4 * kWidth}, 2);
  const Floats state = sample({kRows, kWidth}, 3);
  // [rows][next states, then gradients of input and state], of both cells.
  const auto run = [&](std::size_t begin, std::size_t rows, ThreadPool* pool) {
    std::vector<Floats> bits(rows);
    for (const std::size_t gates : {3, 4}) {
      Tape tape({.pool = pool});
      tape.Begin({});
      const std::size_t wide = gates * kWidth;
      const Tensor in = tape.InputWithGradient({rows, wide}, input.data() + begin * wide);
      const Tensor made = tape.InputWithGradient({rows, wide}, product.data() + begin * wide);
      const Tensor old = tape.InputWithGradient({rows, kWidth}, state.data() + begin * kWidth);
      const Tensor y = gates == 3 ? ops::GruGates(tape, in, made, old)
                                  : ops::LstmGates(tape, in, made, old).hidden;
      tape.Backward(ops::Sum(tape, y));
      for (std::size_t row = 0; row < rows; ++row) {
        Floats& to = bits[row];
        to.insert(to.end(), y.data() + row * kWidth, y.data() + (row + 1) * kWidth);
        to.insert(to.end(), in.gradient() + row * wide, in.gradient() + (row + 1) * wide);
        to.insert(to.end(), old.gradient() + row * kWidth, old.gradient() + (row + 1) * kWidth);
      }
    }
    return bits;
  };
  ThreadPool pool(3);
  const auto all = run(0, kRows, &pool);
  for (std::size_t row = 0; row < kRows; ++row) {
    ASSERT_EQ(all[row], run(row, 1, nullptr)[0]) << row;
  }
}

TEST(RecurrentTest, RefusesWhatDoesNotFit) {
  const Floats values(256);
  const std::vector<BFloat16> narrow(256);
  Tape tape;
  tape.Begin({});
  const auto tensor = [&](const Shape& shape) { return tape.Input(shape, values.data()); };
  const Tensor x = tensor({2, 3}), h = tensor({2, 4});
  const ops::RecurrentWeights gru{tensor({12, 3}), tensor({12, 4}), {}, {}};
  EXPECT_EQ(ops::GruCell(tape, x, h, gru).shape(), (Shape{2, 4}));       // Without biases.
  EXPECT_THROW(ops::LstmCell(tape, x, {h, h}, gru), ContractViolation);  // 3 gates for 4.
  EXPECT_THROW(ops::GruCell(tape, tensor({3, 3}), h, gru), ContractViolation);
  EXPECT_THROW(ops::GruCell(tape, x, h, {gru.input, gru.hidden, tensor({12}), {}}),
               ContractViolation);
  const Tensor product = tensor({2, 12});
  EXPECT_THROW(ops::GruGates(tape, product, tensor({2, 9}), h), ContractViolation);
  EXPECT_THROW(ops::GruGates(tape, product, tape.Input({2, 12}, narrow.data()), h),
               ContractViolation);
  EXPECT_THROW(ops::LstmGates(tape, product, product, h), ContractViolation);
  EXPECT_THROW(ops::ResetRows(tape, h, std::vector<std::uint8_t>(3)), ContractViolation);
}

}  // namespace
}  // namespace muster
