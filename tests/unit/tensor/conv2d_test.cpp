#include "tensor/kernels/conv2d.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tensor/kernels/pool2d.h"
#include "tests/support/gradient_check.h"

namespace muster {
namespace {

using testing::CheckedInput;
using testing::RandomInput;

struct Case {
  Shape image, kernel;
  ops::Conv2dOptions options;
};

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {{1, 3, 3, 1}, {1, 1, 3, 3}, {}},
      {{2, 5, 4, 3}, {4, 3, 3, 3}, {.padding = 1}},
      {{2, 6, 7, 2}, {3, 2, 3, 2}, {.stride = 2}},  // A column that no window reaches.
      {{1, 8, 8, 1}, {5, 1, 5, 5}, {.stride = 3, .padding = 2}},
      {{9, 4, 4, 16}, {16, 16, 3, 3}, {.padding = 1}},  // More than one block of samples.
      {{3, 4, 4, 8}, {32, 8, 1, 1}, {}},
  };
  return cases;
}

// One output element by the definition, in double.
double Reference(const CheckedInput& x, const CheckedInput& w, float bias,
                 const ops::Conv2dOptions& options, std::array<std::size_t, 4> at) {
  const auto [sample, row, column, out] = at;
  double sum = static_cast<double>(bias);
  for (std::size_t c = 0; c < w.shape[1]; ++c) {
    for (std::size_t i = 0; i < w.shape[2]; ++i) {
      for (std::size_t j = 0; j < w.shape[3]; ++j) {
        const std::size_t h = row * options.stride + i - options.padding;  // Wraps when negative.
        const std::size_t v = column * options.stride + j - options.padding;
        if (h >= x.shape[1] || v >= x.shape[2]) continue;
        sum += static_cast<double>(
                   x.values[((sample * x.shape[1] + h) * x.shape[2] + v) * x.shape[3] + c]) *
               static_cast<double>(
                   w.values[((out * w.shape[1] + c) * w.shape[2] + i) * w.shape[3] + j]);
      }
    }
  }
  return options.relu ? std::max(0.0, sum) : sum;
}

TEST(Conv2dTest, AgreesWithTheDefinitionInDouble) {
  for (const Case& c : Cases()) {
    for (const bool relu : {false, true}) {
      SCOPED_TRACE(c.image.ToString() + c.kernel.ToString());
      ops::Conv2dOptions options = c.options;
      options.relu = relu;
      const CheckedInput x = RandomInput(c.image, 1), w = RandomInput(c.kernel, 2),
                         b = RandomInput({c.kernel[0]}, 3);
      Tape tape;
      tape.Begin({});
      const Tensor y = ops::Conv2d(tape, tape.Input(x.shape, x.values.data()),
                                   tape.Input(w.shape, w.values.data()),
                                   tape.Input(b.shape, b.values.data()), options);
      std::size_t index = 0;
      for (std::size_t n = 0; n < y.shape()[0]; ++n) {
        for (std::size_t h = 0; h < y.shape()[1]; ++h) {
          for (std::size_t v = 0; v < y.shape()[2]; ++v) {
            for (std::size_t o = 0; o < y.shape()[3]; ++o, ++index) {
              ASSERT_NEAR(static_cast<double>(y.data()[index]),
                          Reference(x, w, b.values[o], options, {n, h, v, o}), 2e-5);
            }
          }
        }
      }
    }
  }
}

TEST(Conv2dTest, GradientsAgreeWithFiniteDifferences) {
  for (const Case& c : Cases()) {
    if (c.kernel.elements() > 1000) continue;  // Slow to difference; the next test has its shape.
    SCOPED_TRACE(c.image.ToString() + c.kernel.ToString());
    testing::CheckGradient(
        [&](Tape& tape, const std::vector<Tensor>& in) {
          return ops::Conv2d(tape, in[0], in[1], in[2], c.options);
        },
        {RandomInput(c.image, 1), RandomInput(c.kernel, 2, 0.5F), RandomInput({c.kernel[0]}, 3)});
  }
}

// Two blocks of samples, twice the same weights, and relu far from its kink.
TEST(Conv2dTest, GradientsOfSharedWeightsAndReluAgreeWithFiniteDifferences) {
  testing::CheckGradient(
      [](Tape& tape, const std::vector<Tensor>& in) {
        const ops::Conv2dOptions options{.padding = 1, .relu = true};
        const Tensor once = ops::Conv2d(tape, in[0], in[1], in[2], options);
        return ops::Add(tape, ops::Conv2d(tape, once, in[1], in[2], options),
                        ops::Conv2d(tape, in[0], in[1], in[2], options));
      },
      {RandomInput({9, 3, 3, 2}, 1, 0.3F), RandomInput({2, 2, 3, 3}, 2, 0.1F),
       CheckedInput{{2}, {9, -9}}});
}

// Tiling and with a rest, over two blocks of samples: the same bits as the two ops.
TEST(Conv2dTest, AFusedPoolEqualsAPoolAfterwards) {
  for (const std::size_t size : {4, 7}) {
    for (const bool relu : {false, true}) {
      SCOPED_TRACE(size);
      const CheckedInput x = RandomInput({11, size, size, 3}, 1), w = RandomInput({40, 3, 3, 3}, 2),
                         b = RandomInput({40}, 3);
      const auto run = [&](bool fused) {
        std::vector<float> dw(w.values.size()), db(b.values.size());
        Tape tape;
        tape.Begin(std::vector<LeafBinding>{{w.shape, w.values.data(), dw.data()},
                                            {b.shape, b.values.data(), db.data()}});
        const Tensor input = tape.InputWithGradient(x.shape, x.values.data());
        const std::size_t window = fused ? 2 : 1;
        Tensor y = ops::Conv2d(tape, input, tape.Parameter(0), tape.Parameter(1),
                               {.padding = 1, .relu = relu, .max_pool = window});
        if (!fused) y = ops::MaxPool2d(tape, y);
        tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, y)));
        std::vector<float> all(y.values().begin(), y.values().end());
        all.insert(all.end(), dw.begin(), dw.end());
        all.insert(all.end(), input.gradient(), input.gradient() + input.elements());
        return std::pair(all, db);
      };
      const auto [one, one_bias] = run(true);
      const auto [two, two_bias] = run(false);
      EXPECT_EQ(one, two);
      // The same terms, added in another order.
      for (std::size_t i = 0; i < one_bias.size(); ++i) {
        EXPECT_NEAR(one_bias[i], two_bias[i], 1e-5F * (1.0F + std::abs(two_bias[i])));
      }
    }
  }
}

TEST(Conv2dTest, RefusesMismatchedShapes) {
  const std::vector<float> values(200);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({1, 4, 4, 2}, values.data());
  EXPECT_THROW(ops::Conv2d(tape, x, tape.Input({1, 3, 3, 3}, values.data()), {}),
               ContractViolation);
  EXPECT_THROW(ops::Conv2d(tape, x, tape.Input({1, 2, 5, 5}, values.data()), {}),
               ContractViolation);
}

}  // namespace
}  // namespace muster
