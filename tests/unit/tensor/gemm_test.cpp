#include "tensor/kernels/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/cpu.h"

namespace muster::kernels {
namespace {

// Products of random shapes, laid out in any of four ways, compared with the sums that gemm.h
// promises: to the last bit.
template <class T>
class Product {
 public:
  Product(std::mt19937& random, std::size_t rows, std::size_t columns, std::size_t inner)
      : rows_(rows),
        columns_(columns),
        inner_(inner),
        a_across_(random() % 2 == 0),
        b_across_(random() % 2 == 0),
        a_(rows * inner),
        b_(inner * columns),
        bias_(columns) {
    for (std::vector<T>* values : {&a_, &b_, &bias_}) {
      for (T& value : *values) value = T(static_cast<float>(random() % 2001) / 1000 - 1);
    }
  }

  GemmArgs Args() const {
    GemmArgs args;
    args.rows = rows_;
    args.columns = columns_;
    args.inner = inner_;
    args.type = kDTypeOf<T>;
    args.a = {a_.data(), a_across_ ? 1 : inner_, a_across_ ? rows_ : 1};
    args.b = {b_.data(), b_across_ ? 1 : columns_, b_across_ ? inner_ : 1};
    args.c_row_stride = columns_;
    return args;
  }
  const std::vector<T>& bias() const { return bias_; }

  // The sum for element (row, column) in the order of gemm.h, beginning with `start`.
  float Sum(std::size_t row, std::size_t column, float start = 0) const {
    const auto a = [&](std::size_t k) {
      return k < inner_ ? ToFloat(a_[a_across_ ? k * rows_ + row : row * inner_ + k]) : 0.0F;
    };
    const auto b = [&](std::size_t k) {
      return k < inner_ ? ToFloat(b_[b_across_ ? column * inner_ + k : k * columns_ + column])
                        : 0.0F;
    };
    float sum = start;
    if (kDTypeOf<T> == DType::kF32) {
      for (std::size_t k = 0; k < inner_; ++k) sum = std::fma(a(k), b(k), sum);
      return sum;
    }
    if (SumsOfBf16() == Bf16Sums::kBlocks) {
      for (std::size_t begin = 0; begin < inner_; begin += 32) {
        float even = 0, odd = 0;
        for (std::size_t k = begin; k < begin + 32; k += 2) {
          even = std::fma(a(k), b(k), even);
          odd = std::fma(a(k + 1), b(k + 1), odd);
        }
        sum += even + odd;
      }
      return sum;
    }
    for (std::size_t k = 0; k < inner_; k += 2) {
      sum = std::fma(a(k + 1), b(k + 1), sum);
      sum = std::fma(a(k), b(k), sum);
    }
    return sum;
  }

 private:
  std::size_t rows_, columns_, inner_;
  bool a_across_, b_across_;
  std::vector<T> a_, b_, bias_;
};

std::size_t AnySize(std::mt19937& random, std::size_t most) {
  constexpr std::size_t kSpecial[] = {0, 1, 2, 3, 7, 8, 12, 13, 16, 31, 32, 33, 64, 97, 128, 131};
  const std::size_t size =
      random() % 3 == 0 ? random() % (most + 1) : kSpecial[random() % std::size(kSpecial)];
  return std::min(size, most);
}

template <class T>
void CheckShapes(CpuLevel level) {
  LimitCpuLevel(level);
  std::mt19937 random(7);
  ThreadPool pool(2);
  for (int round = 0; round < 150; ++round) {
    const std::size_t rows = AnySize(random, 500), columns = AnySize(random, 300),
                      inner = AnySize(random, round % 10 == 0 ? 2500 : 80);
    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(inner) + " x " +
                 std::to_string(columns) + " " + NameOf(level));
    const Product<T> product(random, rows, columns, inner);
    GemmArgs args = product.Args();
    args.accumulate = round % 2 == 0;
    std::vector<float> c(rows * columns, 0.25F);
    args.c = c.data();
    if (round % 5 == 0) {
      Arena memory;
      float* const packed = memory.Floats(PackedFloats(inner, columns, args.type));
      GemmPacked(args, Pack(args.b, inner, columns, args.type, packed));
    } else {
      Gemm(args, round % 3 == 0 ? &pool : nullptr);
    }
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        ASSERT_EQ(c[row * columns + column],
                  product.Sum(row, column, args.accumulate ? 0.25F : 0.0F))
            << row << ", " << column;
      }
    }
  }
  LimitCpuLevel(std::nullopt);
}

class GemmTest : public ::testing::TestWithParam<CpuLevel> {
 protected:
  void SetUp() override {
    LimitCpuLevel(GetParam());
    const bool there = BestCpuLevel() == GetParam();
    LimitCpuLevel(std::nullopt);
    if (!there) GTEST_SKIP() << "this processor has no " << NameOf(GetParam());
  }
};

TEST_P(GemmTest, EverySumIsOneAscendingChainInF32) { CheckShapes<float>(GetParam()); }

TEST_P(GemmTest, EverySumIsOneChainOfPairsInBf16) {
  ForceBf16Sums(Bf16Sums::kChain);
  CheckShapes<BFloat16>(GetParam());
  ForceBf16Sums(std::nullopt);
}

// By AMX where the level has it, otherwise in its order.
TEST_P(GemmTest, EverySumIsOneChainOfBlocksInBf16) {
  ForceBf16Sums(Bf16Sums::kBlocks);
  CheckShapes<BFloat16>(GetParam());
  ForceBf16Sums(std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Levels, GemmTest,
                         ::testing::Values(CpuLevel::kAvx2, CpuLevel::kAvx512,
                                           CpuLevel::kAvx512Bf16, CpuLevel::kAmx),
                         [](const auto& level) { return std::string(NameOf(level.param)); });

TEST(GemmEndTest, AddsTheBiasAndKeepsWhatTheActivationWasGiven) {
  std::mt19937 random(3);
  constexpr std::size_t kRows = 29, kColumns = 150, kInner = 70;
  const Product<BFloat16> product(random, kRows, kColumns, kInner);
  GemmArgs args = product.Args();
  std::vector<BFloat16> c(kRows * kColumns), before(kRows * kColumns);
  args.bias = product.bias().data();
  args.activation = Activation::kGeluTanh;
  args.c_type = DType::kBF16;
  args.c = c.data();
  args.before_activation = before.data();
  Gemm(args, nullptr);
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t column = 0; column < kColumns; ++column) {
      const std::size_t at = row * kColumns + column;
      const BFloat16 input(product.Sum(row, column) + ToFloat(product.bias()[column]));
      ASSERT_EQ(before[at].bits, input.bits);
      float value = ToFloat(input);
      ActivationForward(Activation::kGeluTanh, &value, &value, 1);
      ASSERT_EQ(c[at].bits, BFloat16(value).bits);
    }
  }
}

// Long enough for tiles to meet panels with parts of a strip, wide enough for rows of `a` that lie
// apart to be turned once for several blocks: as a layer has it, and as its weights' gradient.
TEST(GemmEndTest, LargeProductsAreTheSameSums) {
  std::mt19937 random(5);
  ThreadPool pool(2);
  struct Shape {
    std::size_t rows, columns, inner;
  };
  for (const Shape& shape : {Shape{70, 136, 768}, Shape{33, 40, 1024}, Shape{97, 1100, 64},
                             Shape{40, 1100, 416}, Shape{64, 600, 1312}}) {
    for (int round = 0; round < 6; ++round) {
      SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.inner) + " x " +
                   std::to_string(shape.columns) + ", round " + std::to_string(round));
      const Product<BFloat16> product(random, shape.rows, shape.columns, shape.inner);
      const bool wide = round % 2 == 0;
      GemmArgs args = product.Args();
      std::vector<float> sums(wide ? shape.rows * shape.columns : 0, 0.5F);
      std::vector<BFloat16> c(wide ? 0 : shape.rows * shape.columns);
      args.c = wide ? static_cast<void*>(sums.data()) : c.data();
      args.c_type = wide ? DType::kF32 : DType::kBF16;
      args.accumulate = wide;
      args.bias = wide ? nullptr : product.bias().data();
      args.activation = wide ? Activation::kNone : Activation::kRelu;
      Gemm(args, round % 3 == 0 ? nullptr : &pool);
      for (std::size_t row = 0; row < shape.rows; row += 3) {
        for (std::size_t column = row % 11; column < shape.columns; column += 11) {
          const std::size_t at = row * shape.columns + column;
          if (wide) {
            ASSERT_EQ(sums[at], product.Sum(row, column, 0.5F)) << row << ", " << column;
          } else {
            const float sum = product.Sum(row, column) + ToFloat(product.bias()[column]);
            ASSERT_EQ(c[at].bits, BFloat16(std::max(sum, 0.0F)).bits) << row << ", " << column;
          }
        }
      }
    }
  }
}

TEST(GemmEndTest, AProductOverNothingIsTheBias) {
  const float bias[] = {1, -2};
  float c[4] = {9, 9, 9, 9};
  GemmArgs args;
  args.rows = args.columns = 2;
  args.bias = bias;
  args.activation = Activation::kRelu;
  args.c = c;
  args.c_row_stride = 2;
  Gemm(args, nullptr);
  EXPECT_EQ(std::vector<float>(c, c + 4), (std::vector<float>{1, 0, 1, 0}));
}

TEST(BFloat16Test, RoundsToNearestTiesToEvenAndKeepsNaN) {
  EXPECT_EQ(BFloat16(1.0F).bits, 0x3F80);
  EXPECT_EQ(BFloat16(1.00390625F).bits, 0x3F80);  // Halfway: to the even one.
  EXPECT_EQ(BFloat16(1.01171875F).bits, 0x3F82);  // Halfway: up to the even one.
  EXPECT_EQ(BFloat16(1.00390637F).bits, 0x3F81);  // Just above halfway.
  EXPECT_EQ(BFloat16(3.4e38F).bits, 0x7F80);      // Beyond the largest: infinity.
  EXPECT_TRUE(std::isnan(ToFloat(BFloat16(std::numeric_limits<float>::quiet_NaN()))));
  for (std::uint32_t bits = 0; bits < 0x7F80; ++bits) {
    BFloat16 value;
    value.bits = static_cast<std::uint16_t>(bits);
    ASSERT_EQ(BFloat16(ToFloat(value)).bits, bits);
  }
}

}  // namespace
}  // namespace muster::kernels
