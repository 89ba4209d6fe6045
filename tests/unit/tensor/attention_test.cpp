#include "tensor/kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/cpu.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using Values = std::vector<double>;
using Starts = std::vector<std::int32_t>;

Values AttentionInDouble(const Values& qkv, const Starts& starts, const AttentionShape& shape) {
  const std::size_t d = shape.head_dim, row = shape.packed_width();
  const double scale =
      shape.scale != 0 ? static_cast<double>(shape.scale) : 1 / std::sqrt(static_cast<double>(d));
  Values out(qkv.size() / row * shape.width());
  for (std::size_t s = 0; s + 1 < starts.size(); ++s) {
    const auto first = static_cast<std::size_t>(starts[s]);
    for (std::size_t t = first; t < static_cast<std::size_t>(starts[s + 1]); ++t) {
      for (std::size_t h = 0; h < shape.heads; ++h) {
        const std::size_t kv = h / (shape.heads / shape.kv_heads);
        const double* const q = &qkv[t * row + h * d];
        const std::size_t from =
            shape.window == 0 || t - first + 1 <= shape.window ? first : t + 1 - shape.window;
        Values weights;
        double sum = 0;
        for (std::size_t j = from; j <= t; ++j) {
          const double* const k = &qkv[j * row + (shape.heads + kv) * d];
          double score = 0;
          for (std::size_t i = 0; i < d; ++i) score += q[i] * k[i];
          weights.push_back(std::exp(score * scale));
          sum += weights.back();
        }
        for (std::size_t j = from; j <= t; ++j) {
          const double* const v = &qkv[j * row + (shape.heads + shape.kv_heads + kv) * d];
          for (std::size_t i = 0; i < d; ++i) {
            out[t * shape.width() + h * d + i] += weights[j - from] / sum * v[i];
          }
        }
      }
    }
  }
  return out;
}

// Sequences of length 0, 1 and beyond a tile; grouped queries; a window.
TEST(AttentionTest, AgreesWithDouble) {
  struct Case {
    AttentionShape shape;
    Starts starts;
  };
  ThreadPool pool(2);
  unsigned seed = 1;
  for (const Case& c :
       {Case{{1, 1, 3}, {0, 1}}, Case{{2, 2, 4}, {0, 0, 1, 6}}, Case{{4, 2, 5}, {0, 7, 9}},
        Case{{1, 1, 2}, {0, 67}}, Case{{2, 1, 2, 0.3F}, {0, 3, 70}},
        Case{{2, 1, 2, 0, 3}, {0, 5, 72}}, Case{{1, 1, 2, 0, 66}, {0, 131}}}) {
    const auto tokens = static_cast<std::size_t>(c.starts.back());
    SCOPED_TRACE(std::to_string(tokens) + " tokens, window " + std::to_string(c.shape.window));
    CheckOp([&](Tape& tape,
                const auto& t) { return ops::CausalAttention(tape, t[0], c.starts, c.shape); },
            [&](const auto& t) { return AttentionInDouble(t[0], c.starts, c.shape); },
            {Normal({tokens, c.shape.packed_width()}, ++seed)}, {.f32 = 5e-5, .bf16 = 4e-2}, &pool);
    if (HasFatalFailure()) return;
  }
}

template <class T>
std::vector<T> RandomTokens(std::size_t tokens, const AttentionShape& shape, unsigned seed) {
  std::vector<T> values;
  for (const double value : Normal({tokens, shape.packed_width()}, seed).values) {
    values.push_back(T(static_cast<float>(value)));
  }
  return values;
}

template <class T>
std::vector<T> Read(const std::vector<T>& qkv, const Starts& starts, const AttentionShape& shape,
                    ThreadPool* pool) {
  Tape tape({.inference = true, .pool = pool});
  tape.Begin({});
  const Tensor out = ops::CausalAttention(
      tape, tape.Input({qkv.size() / shape.packed_width(), shape.packed_width()}, qkv.data()),
      starts, shape);
  return {out.as<T>(), out.as<T>() + out.elements()};
}

template <class T>
bool SameBits(const T* a, const T* b, std::size_t count) {
  return std::memcmp(a, b, count * sizeof(T)) == 0;
}

// Read at once or token by token over pages, beside others or alone, on any number of threads; with
// a value `bad` at a late token.
template <class T>
void CheckBits(const AttentionShape& shape, float bad = 0) {
  constexpr std::size_t kTokens = 150;
  std::vector<T> qkv = RandomTokens<T>(kTokens + 40, shape, 5);
  if (bad != 0) qkv[(23 + 140) * shape.packed_width() - 1] = T(bad);
  const std::size_t row = shape.packed_width(), width = shape.width();
  ThreadPool pool(3);
  const std::vector<T> packed = Read(qkv, {0, 23, 23 + kTokens, kTokens + 40}, shape, &pool);
  const std::vector<T> mine(qkv.begin() + static_cast<std::ptrdiff_t>(23 * row),
                            qkv.begin() + static_cast<std::ptrdiff_t>((23 + kTokens) * row));
  const std::vector<T> alone = Read(mine, {0, kTokens}, shape, nullptr);
  ASSERT_TRUE(SameBits(packed.data() + 23 * width, alone.data(), kTokens * width));

  const std::size_t floats = kernels::PageFloats(shape, kDTypeOf<T>);
  Arena memory;
  std::vector<float*> pages;
  std::vector<T> out(width);
  for (std::size_t t = 0; t < kTokens; ++t) {
    if (t % kAttentionTile == 0) {
      pages.push_back(memory.Floats(floats));
      std::fill_n(pages.back(), floats, 0.0F);
    }
    kernels::AppendToPage(shape, kDTypeOf<T>, &mine[t * row], t % kAttentionTile, pages.back());
    const std::vector<const float*> seen(pages.begin(), pages.end());
    const kernels::DecodeArgs token{&mine[t * row], seen, t + 1, out.data()};
    kernels::DecodeAttention(shape, kDTypeOf<T>, {&token, 1}, t % 2 == 0 ? &pool : nullptr);
    ASSERT_TRUE(SameBits(out.data(), alone.data() + t * width, width)) << "token " << t;
  }
}

TEST(AttentionTest, TokenByTokenGivesTheBitsOfOneCausalPass) {
  for (const CpuLevel level : {CpuLevel::kAvx2, CpuLevel::kAvx512, CpuLevel::kAvx512Bf16}) {
    LimitCpuLevel(level);
    for (const AttentionShape& shape :
         {AttentionShape{2, 2, 16}, AttentionShape{6, 2, 7}, AttentionShape{2, 1, 8, 0, 70}}) {
      SCOPED_TRACE(std::string(NameOf(level)) + ", head_dim " + std::to_string(shape.head_dim));
      CheckBits<float>(shape);
      CheckBits<BFloat16>(shape);
    }
  }
  LimitCpuLevel(std::nullopt);
}

// A token does not see what comes later, be it what it may.
TEST(AttentionTest, TokenByTokenGivesTheBitsAlsoBeforeAValueThatIsNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 3e38F}) {
    for (const AttentionShape& shape :
         {AttentionShape{2, 2, 16}, AttentionShape{6, 2, 7}, AttentionShape{2, 1, 8, 0, 70}}) {
      SCOPED_TRACE(bad);
      CheckBits<float>(shape, bad);
      CheckBits<BFloat16>(shape, bad);
    }
  }
}

TEST(AttentionTest, GradientsHaveTheSameBitsOnAnyNumberOfThreads) {
  const AttentionShape shape{4, 2, 8};
  const auto qkv = RandomTokens<BFloat16>(200, shape, 9);
  const auto weights = RandomTokens<BFloat16>(200, {4, 0, 8}, 10);
  const Starts starts = {0, 90, 91, 200};
  std::vector<BFloat16> first;
  for (const std::size_t threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    Tape tape({.pool = &pool});
    tape.Begin({});
    const Tensor in = tape.InputWithGradient({200, shape.packed_width()}, qkv.data());
    const Tensor out = ops::CausalAttention(tape, in, starts, shape);
    tape.Backward(
        ops::Sum(tape, ops::Multiply(tape, out, tape.Input(out.shape(), weights.data()))));
    const BFloat16* const gradient = in.gradient_as<BFloat16>();
    if (first.empty()) first.assign(gradient, gradient + in.elements());
    EXPECT_TRUE(SameBits(first.data(), gradient, in.elements())) << threads;
  }
}

TEST(AttentionTest, PassesNaNOnWithinItsSequenceOnly) {
  const AttentionShape shape{1, 1, 4};
  std::vector<float> qkv = RandomTokens<float>(6, shape, 3);
  qkv[2 * shape.packed_width() + 5] = std::numeric_limits<float>::quiet_NaN();  // A key.
  const std::vector<float> out = Read(qkv, {0, 4, 6}, shape, nullptr);
  EXPECT_FALSE(std::isnan(out[1 * 4]));
  EXPECT_TRUE(std::isnan(out[2 * 4]));
  EXPECT_TRUE(std::isnan(out[3 * 4]));
  EXPECT_FALSE(std::isnan(out[4 * 4]));
}

TEST(AttentionTest, KeysWhoseScoresAreInfinitelyLowWeighNothing) {
  constexpr std::size_t kTokens = kAttentionTile + 6;
  std::vector<float> qkv;  // One head of width 1: q, k, v of each token.
  for (std::size_t t = 0; t < kTokens; ++t) {
    const float key = t < kAttentionTile ? -std::numeric_limits<float>::infinity() : 0.5F;
    qkv.insert(qkv.end(), {1.0F, key, static_cast<float>(t)});
  }
  Tape tape(TapeOptions{.inference = true});
  tape.Begin({});
  const Tensor out = ops::CausalAttention(tape, tape.Input({kTokens, 3}, qkv.data()),
                                          Starts{0, kTokens}, AttentionShape{1, 1, 1});
  EXPECT_TRUE(std::isnan(out.data()[0]));  // All that it sees are.
  for (std::size_t t = kAttentionTile; t < kTokens; ++t) {
    // The mean of the values of those before it whose keys are finite, and of its own.
    EXPECT_FLOAT_EQ(out.data()[t], 0.5F * static_cast<float>(kAttentionTile + t)) << t;
  }
}

TEST(AttentionTest, RefusesStartsThatAreNone) {
  const std::vector<float> values(60);
  Tape tape;
  tape.Begin({});
  const Tensor qkv = tape.Input({5, 12}, values.data());
  const AttentionShape shape{2, 1, 3};
  EXPECT_NO_THROW(ops::CausalAttention(tape, qkv, Starts{0, 2, 5}, shape));
  EXPECT_THROW(ops::CausalAttention(tape, qkv, Starts{}, shape), ContractViolation);
  EXPECT_THROW(ops::CausalAttention(tape, qkv, Starts{0, 4}, shape), ContractViolation);
  EXPECT_THROW(ops::CausalAttention(tape, qkv, Starts{0, 3, 2, 5}, shape), ContractViolation);
  EXPECT_THROW(ops::CausalAttention(tape, qkv, Starts{0, 5}, {3, 2, 3}), ContractViolation);
}

}  // namespace
}  // namespace muster
