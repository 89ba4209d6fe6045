#include "tensor/kernels/dropout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/check.h"
#include "tensor/kernels/philox_words.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using Values = std::vector<double>;

constexpr RandomKey kKey = {.seed = 0x1234567890ULL, .lane = 3, .index = 5};

// By the definition, one element at a time.
bool Kept(const RandomKey& key, std::uint64_t i, double probability) {
  const std::uint64_t number = key.index + i;
  const PhiloxBlock block = RandomBlock(key.seed, key.purpose, key.lane, number / 4);
  return block[number % 4] >= probability * 4294967296.0;
}

TEST(PhiloxWordsTest, AreThoseOfTheBlocks) {
  std::uint32_t words[kernels::kPhiloxWords];
  for (const std::uint64_t first : {0ULL, 77ULL, (1ULL << 32U) - 20, ~0ULL - 10}) {
    kernels::FillPhilox(kKey, first, words);
    for (std::size_t i = 0; i < kernels::kPhiloxWords; ++i) {
      ASSERT_EQ(words[i], RandomBlock(kKey.seed, kKey.purpose, kKey.lane, first + i / 4)[i % 4]);
    }
  }
}

TEST(DropoutTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const float probability : {0.0F, 0.1F, 0.5F, 0.9F}) {
    for (const Shape& shape : {Shape{0, 3}, Shape{1}, Shape{7, 37}, Shape{2, 3, 101}}) {
      SCOPED_TRACE(shape.ToString() + " at " + std::to_string(probability));
      const auto dropped = [&](const Values& x) {
        Values y;
        const double p = static_cast<double>(probability);
        for (std::size_t i = 0; i < x.size(); ++i) {
          y.push_back(Kept(kKey, i, p) ? x[i] / (1 - p) : 0);
        }
        return y;
      };
      CheckOp(
          [&](Tape& tape, const auto& t) { return ops::Dropout(tape, t[0], probability, kKey); },
          [&](const auto& t) { return dropped(t[0]); }, {Normal(shape, ++seed)}, {}, &pool);
      CheckOp(
          [&](Tape& tape, const auto& t) {
            return ops::Add(tape, ops::Dropout(tape, t[0], probability, kKey), t[0]);
          },
          [&](const auto& t) {
            Values y = dropped(t[0]);
            for (std::size_t i = 0; i < y.size(); ++i) y[i] += t[0][i];
            return y;
          },
          {Normal(shape, ++seed)}, {}, &pool);
    }
  }
}

TEST(DropoutTest, DropsItsShareAndNothingPassesThere) {
  constexpr std::size_t kCount = 100'000;
  std::vector<float> x(kCount, std::numeric_limits<float>::infinity());
  Tape tape;
  tape.Begin({});
  const Tensor y = ops::Dropout(tape, tape.Input({kCount}, x.data()), 0.25F, kKey);
  std::size_t dropped = 0;
  for (const float value : y.values()) {
    ASSERT_FALSE(std::isnan(value));
    dropped += value == 0 ? 1 : 0;
  }
  // Four standard deviations.
  EXPECT_NEAR(static_cast<double>(dropped), 0.25 * kCount, 4 * std::sqrt(kCount * 0.1875));
}

// Many blocks on threads, then parts that begin at other numbers of the same stream.
TEST(DropoutTest, AnElementsFateDependsOnItsKeyAlone) {
  constexpr std::size_t kCount = 50'000;
  const std::vector<BFloat16> ones(kCount, BFloat16(1.0F));
  ThreadPool pool(3);
  Tape all({.pool = &pool}), some;
  all.Begin({});
  const Tensor y = ops::Dropout(all, all.Input({kCount}, ones.data()), 0.3F, kKey);
  for (std::size_t begin = 0; begin < kCount; begin += 977) {
    some.Begin({});
    const std::size_t count = std::min<std::size_t>(977, kCount - begin);
    RandomKey key = kKey;
    key.index += begin;
    const Tensor part = ops::Dropout(some, some.Input({count}, ones.data()), 0.3F, key);
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_EQ(part.as<BFloat16>()[i].bits, y.as<BFloat16>()[begin + i].bits) << begin + i;
    }
  }
}

TEST(DropoutTest, IsNothingInInference) {
  const std::vector<float> values(8, 1);
  Tape tape({.inference = true});
  tape.Begin({});
  const Tensor x = tape.Input({8}, values.data());
  EXPECT_EQ(ops::Dropout(tape, x, 0.5F, kKey).record(), x.record());
}

TEST(DropoutTest, RefusesProbabilitiesOutOfRange) {
  const std::vector<float> values(8, 1);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({8}, values.data());
  for (const float bad : {-0.1F, 1.0F, std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_THROW(ops::Dropout(tape, x, bad, kKey), ContractViolation) << bad;
  }
}

}  // namespace
}  // namespace muster
