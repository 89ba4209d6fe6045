// Every level of vector instructions gives the bits of the lowest one, whether results are stored
// or streamed: values and gradients, for odd sizes, and for numbers at and beyond the ends of the
// range.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/linear.h"
#include "tensor/kernels/linear_cross_entropy.h"
#include "tensor/kernels/row_norm.h"
#include "tensor/kernels/row_sum.h"
#include "tensor/kernels/softmax.h"
#include "tensor/kernels/stream.h"
#include "tensor/kernels/swiglu.h"
#include "tests/support/limits.h"

namespace muster {
namespace {

using testing::kInfinity;
using testing::kNan;

using Op = std::function<Tensor(Tape&, const std::vector<Tensor>&)>;

constexpr float kSmallest = std::numeric_limits<float>::denorm_min();
constexpr float kLargest = std::numeric_limits<float>::max();

// What an input has among its ordinary numbers.
enum class With { kNothing, kNotFinite, kAll };

template <class T>
std::vector<T> Numbers(std::size_t count, unsigned seed, With with) {
  std::vector<float> rare = {kInfinity, -kInfinity, kNan, kLargest, -kLargest, 1e30F, -100, 89};
  if (with == With::kAll) {
    rare.insert(rare.end(), {kSmallest, -kSmallest, 1e-39F, -3e-40F, 0.0F, -0.0F});
  }
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 2);
  std::vector<T> numbers(count);
  for (T& number : numbers) {
    const bool special = with != With::kNothing && random() % 29 == 0;
    number = T(special ? rare[random() % rare.size()] : normal(random));
  }
  return numbers;
}

// A NaN's own bits tell which operand of a commutative operation the compiler put first: all are
// taken for one.
template <class T>
void Append(std::vector<std::uint32_t>& bits, const T* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const float value = ToFloat(values[i]);
    bits.push_back(std::bit_cast<std::uint32_t>(value == value ? value : kNan));
  }
}

// The memory that the next tape is likely to get holds nothing of the last one's results.
void Scribble() {
  Tape tape;
  tape.Begin({});
  constexpr std::size_t kFloats = 1024;
  for (int i = 0; i < 256; ++i) std::fill_n(tape.Scratch<float>({kFloats}), kFloats, -1234.5F);
}

template <class T>
std::vector<std::uint32_t> BitsOf(const Op& op, const std::vector<Shape>& shapes, With with) {
  Scribble();
  Tape tape;
  tape.Begin({});
  std::vector<Tensor> inputs;
  std::vector<std::vector<T>> values;
  for (const Shape& shape : shapes) {
    values.push_back(Numbers<T>(shape.elements(), static_cast<unsigned>(values.size()) + 1,
                                values.empty() ? with : With::kNothing));
    inputs.push_back(tape.InputWithGradient(shape, values.back().data()));
  }
  const Tensor y = op(tape, inputs);
  std::vector<std::uint32_t> bits;
  Dispatch(y.type(), [&](auto element) {
    using Y = decltype(element);
    Append(bits, y.as<Y>(), y.elements());
    const std::vector<Y> weights = Numbers<Y>(y.elements(), 99, With::kNothing);
    tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, tape.Input(y.shape(), weights.data()))));
  });
  for (const Tensor& input : inputs) {
    Dispatch(input.record()->gradient_type, [&](auto element) {
      Append(bits, input.gradient_as<decltype(element)>(), input.elements());
    });
  }
  return bits;
}

template <class Make>
void ExpectOnEveryLevel(const std::string& what, const Make& make) {
  ForceBf16Sums(Bf16Sums::kChain);
  LimitCpuLevel(CpuLevel::kAvx2);
  const std::vector<std::uint32_t> wanted = make();
  for (const CpuLevel level : {CpuLevel::kAvx512, CpuLevel::kAvx512Bf16, CpuLevel::kAmx}) {
    LimitCpuLevel(level);
    for (const std::size_t streamed : {kernels::kStreamedBytes, std::size_t{0}}) {
      kernels::streamed_bytes = streamed;
      const std::vector<std::uint32_t> got = make();
      std::size_t differ = 0;
      for (std::size_t i = 0; i < wanted.size(); ++i) differ += got[i] == wanted[i] ? 0 : 1;
      EXPECT_EQ(differ, 0U) << what << " on " << NameOf(level) << ", of " << wanted.size()
                            << (streamed == 0 ? ", streamed" : "");
    }
  }
  kernels::streamed_bytes = kernels::kStreamedBytes;
  LimitCpuLevel(std::nullopt);
  ForceBf16Sums(std::nullopt);
}

void ExpectOneResult(const std::string& what, const Op& op, const std::vector<Shape>& shapes,
                     With with = With::kAll) {
  const std::string name = what + " of " + shapes[0].ToString();
  ExpectOnEveryLevel(name + " in f32", [&] { return BitsOf<float>(op, shapes, with); });
  ExpectOnEveryLevel(name + " in bf16", [&] { return BitsOf<BFloat16>(op, shapes, with); });
}

constexpr std::size_t kWidths[] = {1, 7, 16, 33, 64, 255, 1029};

TEST(LevelsTest, ActivationsHaveTheSameBits) {
  for (const Activation activation :
       {Activation::kRelu, Activation::kTanh, Activation::kGelu, Activation::kGeluTanh,
        Activation::kSilu, Activation::kSigmoid, Activation::kSoftplus}) {
    for (const std::size_t width : kWidths) {
      ExpectOneResult(
          "activation " + std::to_string(static_cast<int>(activation)),
          [&](Tape& tape, const auto& in) { return ops::Activate(tape, in[0], activation); },
          {{3, width}});
    }
  }
}

TEST(LevelsTest, ElementsHaveTheSameBits) {
  for (const std::size_t width : kWidths) {
    const Shape shape = {3, width};
    ExpectOneResult("a sum",
                    [](Tape& tape, const auto& in) { return ops::Add(tape, in[0], in[1]); },
                    {shape, shape});
    // x twice: its gradient is added to.
    ExpectOneResult("a product",
                    [](Tape& tape, const auto& in) { return ops::Multiply(tape, in[0], in[0]); },
                    {shape});
    ExpectOneResult("swiglu",
                    [](Tape& tape, const auto& in) { return ops::SwiGlu(tape, in[0], in[1]); },
                    {shape, shape});
    ExpectOneResult("swiglu with itself",
                    [](Tape& tape, const auto& in) { return ops::SwiGlu(tape, in[0], in[0]); },
                    {shape});
    ExpectOneResult("a cast",
                    [](Tape& tape, const auto& in) {
                      const bool wide = in[0].type() == DType::kF32;
                      return ops::Cast(tape, in[0], wide ? DType::kBF16 : DType::kF32);
                    },
                    {shape});
  }
}

TEST(LevelsTest, RowsHaveTheSameBits) {
  for (const std::size_t width : kWidths) {
    const Shape shape = {131, width};
    for (const With with : {With::kNothing, With::kAll}) {
      ExpectOneResult(
          "softmax", [](Tape& tape, const auto& in) { return ops::Softmax(tape, in[0]); }, {shape},
          with);
      ExpectOneResult(
          "its logarithm", [](Tape& tape, const auto& in) { return ops::LogSoftmax(tape, in[0]); },
          {shape}, with);
      ExpectOneResult(
          "layer norm",
          [](Tape& tape, const auto& in) {
            return ops::LayerNorm(tape, in[0], in[1], in[2], 1e-5F);
          },
          {shape, {width}, {width}}, with);
      ExpectOneResult(
          "RMS norm of a sum",
          [](Tape& tape, const auto& in) {
            const auto [sum, y] = ops::AddRmsNorm(tape, in[0], in[1], in[2], 1e-5F);
            return ops::Add(tape, sum, y);
          },
          {shape, shape, {width}}, with);
    }
  }
}

TEST(LevelsTest, ProductsWithTheirFinishHaveTheSameBits) {
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGeluTanh,
                                      Activation::kSilu, Activation::kTanh}) {
    for (const std::size_t out : {1, 31, 32, 200, 300}) {
      ExpectOneResult(
          "linear, activation " + std::to_string(static_cast<int>(activation)) + ", " +
              std::to_string(out) + " columns",
          [&](Tape& tape, const auto& in) {
            return ops::Linear(tape, in[0], in[1], in[2], activation);
          },
          {{150, 40}, {out, 40}, {out}}, With::kNotFinite);
    }
  }
}

TEST(LevelsTest, AttentionHasTheSameBits) {
  const std::vector<std::int32_t> starts = {0, 90, 91, 200};
  for (const With with : {With::kNothing, With::kNotFinite}) {
    for (const AttentionShape& shape :
         {AttentionShape{2, 2, 32}, AttentionShape{6, 2, 7}, AttentionShape{2, 1, 8, 0, 70}}) {
      ExpectOneResult(
          "attention",
          [&](Tape& tape, const auto& in) {
            return ops::CausalAttention(tape, in[0], starts, shape);
          },
          {{200, shape.packed_width()}}, with);
    }
  }
}

TEST(LevelsTest, TheHeadHasTheSameBits) {
  const std::vector<std::int32_t> targets = {0, 4, 2047, 3000, -1, 17, 2048};
  for (const With with : {With::kNothing, With::kNotFinite}) {
    ExpectOneResult(
        "the head",
        [&](Tape& tape, const auto& in) {
          return ops::LinearCrossEntropy(tape, in[0], in[1], targets).loss;
        },
        {{targets.size(), 24}, {3001, 24}}, with);
  }
}

TEST(LevelsTest, SumsOfRowsHaveTheSameBits) {
  for (const std::size_t width : {1, 33, 1029}) {
    for (const std::size_t rows : {0, 3, 131, 300}) {
      const std::vector<BFloat16> x = Numbers<BFloat16>(rows * width, 5, With::kAll);
      ExpectOnEveryLevel("the sum of " + std::to_string(rows) + " rows", [&] {
        std::vector<float> sums(width);
        kernels::SumRows(x.data(), rows, width, sums.data());
        std::vector<std::uint32_t> bits;
        Append(bits, sums.data(), width);
        return bits;
      });
    }
  }
}

}  // namespace
}  // namespace muster
