#include "tensor/kernels/conv2d.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/check.h"
#include "base/cpu.h"
#include "tensor/kernels/pool2d.h"
#include "tests/support/gradient_check.h"
#include "tests/support/op_check.h"

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

// One output element by the definition.
double ReferenceAt(const std::vector<double>& x, const std::vector<double>& w, double bias,
                   const Case& c, std::array<std::size_t, 4> at) {
  const auto [sample, row, column, out] = at;
  const Shape &image = c.image, &kernel = c.kernel;
  double sum = bias;
  for (std::size_t channel = 0; channel < kernel[1]; ++channel) {
    for (std::size_t i = 0; i < kernel[2]; ++i) {
      for (std::size_t j = 0; j < kernel[3]; ++j) {
        const std::size_t h = row * c.options.stride + i - c.options.padding;  // Wraps below 0.
        const std::size_t v = column * c.options.stride + j - c.options.padding;
        if (h >= image[1] || v >= image[2]) continue;
        sum += x[((sample * image[1] + h) * image[2] + v) * image[3] + channel] *
               w[((out * kernel[1] + channel) * kernel[2] + i) * kernel[3] + j];
      }
    }
  }
  return c.options.relu ? std::max(0.0, sum) : sum;
}

TEST(Conv2dTest, AgreesWithTheDefinitionInDouble) {
  for (const Case& c : Cases()) {
    for (const bool relu : {false, true}) {
      SCOPED_TRACE(c.image.ToString() + c.kernel.ToString());
      Case with = c;
      with.options.relu = relu;
      const CheckedInput x = RandomInput(c.image, 1), w = RandomInput(c.kernel, 2),
                         b = RandomInput({c.kernel[0]}, 3);
      Tape tape;
      tape.Begin({});
      const Tensor y = ops::Conv2d(tape, tape.Input(x.shape, x.values.data()),
                                   tape.Input(w.shape, w.values.data()),
                                   tape.Input(b.shape, b.values.data()), with.options);
      const auto wide = [](const CheckedInput& input) {
        return std::vector<double>(input.values.begin(), input.values.end());
      };
      const std::vector<double> images = wide(x), kernels = wide(w);
      std::size_t index = 0;
      for (std::size_t n = 0; n < y.shape()[0]; ++n) {
        for (std::size_t h = 0; h < y.shape()[1]; ++h) {
          for (std::size_t v = 0; v < y.shape()[2]; ++v) {
            for (std::size_t o = 0; o < y.shape()[3]; ++o, ++index) {
              ASSERT_NEAR(static_cast<double>(y.data()[index]),
                          ReferenceAt(images, kernels, static_cast<double>(b.values[o]), with,
                                      {n, h, v, o}),
                          2e-5);
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

template <class T>
std::vector<T> Rounded(const CheckedInput& input) {
  std::vector<T> values;
  for (const float value : input.values) values.push_back(T(value));
  return values;
}

std::vector<double> InDouble(const std::vector<std::vector<double>>& in, const Case& c) {
  const Shape &image = c.image, &kernel = c.kernel;
  const auto size = [&](std::size_t dimension) {
    return (image[dimension] + 2 * c.options.padding - kernel[dimension + 1]) / c.options.stride +
           1;
  };
  std::vector<double> y;
  for (std::size_t n = 0; n < image[0]; ++n) {
    for (std::size_t h = 0; h < size(1); ++h) {
      for (std::size_t v = 0; v < size(2); ++v) {
        for (std::size_t o = 0; o < kernel[0]; ++o) {
          y.push_back(ReferenceAt(in[0], in[1], in[2][o], c, {n, h, v, o}));
        }
      }
    }
  }
  return y;
}

// Both types, the processor's own bf16 and none: one sample, two blocks of them, padding, strides.
TEST(Conv2dTest, BothTypesAgreeWithDouble) {
  ThreadPool pool(2);
  unsigned seed = 1;
  for (const CpuLevel level : {CpuLevel::kAvx512Bf16, CpuLevel::kAvx2}) {
    LimitCpuLevel(level);
    for (const Case& c :
         {Case{{1, 1, 1, 1}, {1, 1, 1, 1}, {}}, Case{{9, 3, 4, 3}, {5, 3, 3, 3}, {.padding = 1}},
          Case{{2, 11, 8, 4}, {3, 4, 8, 8}, {.stride = 3}},
          Case{{3, 7, 6, 2}, {7, 2, 4, 4}, {.stride = 2, .padding = 2}}}) {
      SCOPED_TRACE(c.image.ToString() + c.kernel.ToString() + NameOf(level));
      testing::CheckOp(
          [&](Tape& tape, const auto& in) {
            return ops::Conv2d(tape, in[0], in[1], in[2], c.options);
          },
          [&](const auto& in) { return InDouble(in, c); },
          {testing::Normal(c.image, ++seed), testing::Normal(c.kernel, ++seed, 0.3),
           testing::Normal({c.kernel[0]}, ++seed)},
          {.f32 = 1e-4, .bf16 = 8e-2}, &pool);
    }
  }
  LimitCpuLevel({});
}

// The same input and weights twice: the second contribution to each gradient is added.
TEST(Conv2dTest, GradientsOfTwoUsesAddInBothTypes) {
  const Case c{{9, 3, 3, 2}, {3, 2, 2, 2}, {}};
  testing::CheckOp(
      [&](Tape& tape, const auto& in) {
        return ops::Add(tape, ops::Conv2d(tape, in[0], in[1], in[2]),
                        ops::Conv2d(tape, in[0], in[1], in[2]));
      },
      [&](const auto& in) {
        std::vector<double> y = InDouble(in, c);
        for (double& value : y) value *= 2;
        return y;
      },
      {testing::Normal(c.image, 1), testing::Normal(c.kernel, 2, 0.3), testing::Normal({3}, 3)},
      {.f32 = 1e-4, .bf16 = 8e-2});
}

// 64 x 3 x 3 ones: 576, which sums in bf16 would never reach; 9 samples of 9 ones: 81 x 5 = 405.
TEST(Conv2dTest, SumsOfBf16AreMadeInF32) {
  const std::vector<BFloat16> ones(9 * 25 * 64, BFloat16(1.0F));
  std::vector<float> dw(64 * 9);
  Tape tape;
  tape.Begin(std::vector<LeafBinding>{{{1, 64, 3, 3}, ones.data(), dw.data(), DType::kBF16}});
  const Tensor y = ops::Conv2d(tape, tape.Input({9, 5, 5, 64}, ones.data()), tape.Parameter(0), {});
  for (std::size_t i = 0; i < y.elements(); ++i) ASSERT_EQ(ToFloat(y.as<BFloat16>()[i]), 576.0F);
  tape.Backward(ops::Sum(tape, y), 5.0F);
  for (const float value : dw) ASSERT_EQ(value, 405.0F);
}

// Values and input gradients sample by sample, then the gradients of weight and bias.
template <class T>
std::vector<char> Bits(const Case& c, const std::vector<T>& x, std::size_t sample,
                       std::size_t samples, bool with_weights, ThreadPool* pool) {
  const std::vector<T> w = Rounded<T>(RandomInput(c.kernel, 2, 0.1F)),
                       b = Rounded<T>(RandomInput({c.kernel[0]}, 3));
  std::vector<float> dw(w.size()), db(b.size());
  Tape tape({.pool = pool});
  tape.Begin(std::vector<LeafBinding>{{c.kernel, w.data(), dw.data(), kDTypeOf<T>},
                                      {{c.kernel[0]}, b.data(), db.data(), kDTypeOf<T>}});
  const std::size_t size = c.image.elements() / c.image[0];
  const Tensor in = tape.InputWithGradient({samples, c.image[1], c.image[2], c.image[3]},
                                           x.data() + sample * size);
  const Tensor y = ops::Conv2d(tape, in, tape.Parameter(0), tape.Parameter(1), c.options);
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, y)));
  std::vector<char> bits;
  const auto append = [&](const auto* from, std::size_t count) {
    const auto* const bytes = reinterpret_cast<const char*>(from);
    bits.insert(bits.end(), bytes, bytes + count * sizeof(*from));
  };
  const std::size_t out = y.elements() / samples;
  for (std::size_t i = 0; i < samples; ++i) {
    append(y.as<T>() + i * out, out);
    append(in.gradient_as<T>() + i * size, size);
  }
  if (with_weights) {
    append(dw.data(), dw.size());
    append(db.data(), db.size());
  }
  return bits;
}

template <class T>
void ExpectSameBits(const Case& c) {
  SCOPED_TRACE(c.image.ToString() + c.kernel.ToString() + NameOf(kDTypeOf<T>));
  const std::vector<T> x = Rounded<T>(RandomInput(c.image, 1));
  const std::size_t samples = c.image[0];
  const std::vector<char> whole = Bits(c, x, 0, samples, false, nullptr);
  const std::size_t size = whole.size() / samples;
  // Alone, and as the first, a middle and the last of 2, 5 and 9.
  for (const std::size_t count : {1, 2, 5, 9}) {
    for (std::size_t first = 0; first + count <= samples; first += 3) {
      const std::vector<char> some = Bits(c, x, first, count, false, nullptr);
      ASSERT_EQ(std::memcmp(whole.data() + first * size, some.data(), count * size), 0)
          << count << " from " << first;
    }
  }
  const std::vector<char> one = Bits(c, x, 0, samples, true, nullptr);
  for (const std::size_t threads : {2, 3}) {
    ThreadPool pool(threads);
    ASSERT_EQ(one, Bits(c, x, 0, samples, true, &pool)) << threads << " threads";
  }
}

// The layers of the Nature CNN and of IMPALA's network, and one with everything fused.
TEST(Conv2dTest, ASamplesBitsDependOnNoOtherAndNothingOnThreads) {
  for (const Case& c :
       {Case{{11, 84, 84, 4}, {32, 4, 8, 8}, {.stride = 4, .relu = true}},
        Case{{11, 20, 20, 32}, {64, 32, 4, 4}, {.stride = 2, .relu = true}},
        Case{{11, 9, 9, 64}, {64, 64, 3, 3}, {.relu = true}},
        Case{{11, 84, 84, 4}, {16, 4, 3, 3}, {.padding = 1}},
        Case{{11, 21, 21, 32}, {32, 32, 3, 3}, {.padding = 1}},
        Case{{11, 9, 7, 5}, {13, 5, 3, 3}, {.padding = 1, .relu = true, .max_pool = 2}}}) {
    ExpectSameBits<float>(c);
    ExpectSameBits<BFloat16>(c);
  }
}

// Values, weight and input gradients of a convolution and a pool, and the bias gradient.
template <class T>
std::pair<std::vector<float>, std::vector<float>> ConvolvedAndPooled(std::size_t size, bool relu,
                                                                     bool fused) {
  const CheckedInput x = RandomInput({11, size, size, 3}, 1), w = RandomInput({40, 3, 3, 3}, 2),
                     b = RandomInput({40}, 3);
  const std::vector<T> images = Rounded<T>(x), weights = Rounded<T>(w), biases = Rounded<T>(b);
  std::vector<float> dw(weights.size()), db(biases.size());
  Tape tape;
  tape.Begin(std::vector<LeafBinding>{{w.shape, weights.data(), dw.data(), kDTypeOf<T>},
                                      {b.shape, biases.data(), db.data(), kDTypeOf<T>}});
  const Tensor input = tape.InputWithGradient(x.shape, images.data());
  const std::size_t window = fused ? 2 : 1;
  Tensor y = ops::Conv2d(tape, input, tape.Parameter(0), tape.Parameter(1),
                         {.padding = 1, .relu = relu, .max_pool = window});
  if (!fused) y = ops::MaxPool2d(tape, y);
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, y)));
  std::vector<float> all = dw;
  for (std::size_t i = 0; i < y.elements(); ++i) all.push_back(ToFloat(y.as<T>()[i]));
  for (std::size_t i = 0; i < input.elements(); ++i) {
    all.push_back(ToFloat(input.gradient_as<T>()[i]));
  }
  return {all, db};
}

// Tiling and with a rest, over two blocks of samples: the same bits as the two ops.
template <class T>
void ExpectFusedPoolEqualsPool() {
  for (const std::size_t size : {4, 7}) {
    for (const bool relu : {false, true}) {
      SCOPED_TRACE(size);
      const auto [one, one_bias] = ConvolvedAndPooled<T>(size, relu, true);
      const auto [two, two_bias] = ConvolvedAndPooled<T>(size, relu, false);
      EXPECT_EQ(one, two);
      // The same terms, added in another order.
      for (std::size_t i = 0; i < one_bias.size(); ++i) {
        EXPECT_NEAR(one_bias[i], two_bias[i], 1e-5F * (1.0F + std::abs(two_bias[i])));
      }
    }
  }
}

TEST(Conv2dTest, AFusedPoolEqualsAPoolAfterwards) {
  ExpectFusedPoolEqualsPool<float>();
  ExpectFusedPoolEqualsPool<BFloat16>();
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
  const std::vector<BFloat16> narrow(200);
  EXPECT_THROW(ops::Conv2d(tape, x, tape.Input({1, 2, 3, 3}, narrow.data()), {}),
               ContractViolation);
}

}  // namespace
}  // namespace muster
