#include "tensor/kernels/sampling.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>

#include "base/check.h"
#include "tensor/kernels/largest.h"
#include "tests/support/limits.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::kInfinity;
using testing::kNan;
using testing::Normal;
using Values = std::vector<double>;

// logits[c] = ln(weights[c]).
std::vector<float> Logs(const std::vector<float>& weights) {
  std::vector<float> logits;
  for (const float weight : weights) logits.push_back(std::log(weight));
  return logits;
}

template <class T>
std::vector<SampledToken> SampleAll(const std::vector<T>& logits, std::size_t vocabulary,
                                    const std::vector<SamplingRow>& rows,
                                    ThreadPool* pool = nullptr) {
  Tape tape({.inference = true});
  tape.Begin({});
  std::vector<SampledToken> tokens(rows.size());
  Sample(pool, tape.Input({rows.size(), vocabulary}, logits.data()), rows, tokens);
  return tokens;
}

SampledToken SampleOne(const std::vector<float>& logits, const SamplingOptions& options,
                       std::uint64_t index) {
  return SampleAll(logits, logits.size(), {{options, {.seed = 7, .index = index}}})[0];
}

// How often each token comes in `draws` draws.
std::map<std::int32_t, double> Shares(const std::vector<float>& logits,
                                      const SamplingOptions& options, std::size_t draws = 2000) {
  std::vector<float> tiled;
  std::vector<SamplingRow> rows;
  for (std::size_t i = 0; i < draws; ++i) {
    tiled.insert(tiled.end(), logits.begin(), logits.end());
    rows.push_back({options, {.seed = 7, .index = i}});
  }
  std::map<std::int32_t, double> shares;
  for (const SampledToken& drawn : SampleAll(tiled, logits.size(), rows)) {
    shares[drawn.token] += 1.0 / static_cast<double>(draws);
  }
  return shares;
}

TEST(LargestTest, OrdersByValueThenByIndex) {
  const std::vector<float> values = {-1, -0.0F, 0, 2, -kNan, 2, -kInfinity, kInfinity};
  std::vector<std::uint64_t> keys;
  kernels::SelectLargest(values.data(), values.size(), 8, keys);
  std::vector<std::size_t> order;
  for (const std::uint64_t key : keys) order.push_back(kernels::IndexOf(key));
  EXPECT_EQ(order, (std::vector<std::size_t>{4, 7, 3, 5, 1, 2, 0, 6}));
}

// Many equal values, so that the limit of what is kept is often a tie.
TEST(LargestTest, AgreesWithSortingTheWholeRow) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const std::size_t width = 1 + random() % 3000, k = 1 + random() % (seed % 2 ? 20 : width);
    const std::size_t distinct = 1 + random() % 2000;
    std::vector<float> values(width);
    std::vector<std::pair<float, std::size_t>> sorted;
    for (std::size_t i = 0; i < width; ++i) {
      values[i] = static_cast<float>(random() % distinct) - 100;
      sorted.emplace_back(-values[i], i);
    }
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::uint64_t> keys;
    kernels::SelectLargest(values.data(), width, k, keys);
    ASSERT_EQ(keys.size(), std::min(k, width));
    for (std::size_t i = 0; i < keys.size(); ++i) {
      ASSERT_EQ(kernels::IndexOf(keys[i]), sorted[i].second);
    }
  }
}

TEST(SamplingTest, TemperatureZeroTakesTheFirstLargest) {
  const SampledToken got = SampleOne(Logs({1, 3, 3, 1}), {.temperature = 0}, 0);
  EXPECT_EQ(got.token, 1);
  EXPECT_NEAR(got.log_prob, std::log(3.0 / 8), 1e-6);
  EXPECT_EQ(got.sampled_log_prob, 0.0F);
}

// Of a uniform number u: token 0 below 1/8, token 2 (1 has no probability) below 4/8, then 3.
TEST(SamplingTest, PicksWhereTheSumPassesTheUniformNumber) {
  for (std::uint64_t index = 0; index < 500; ++index) {
    const SampledToken got = SampleOne(Logs({1, 0, 3, 4}), {}, index);
    const PhiloxBlock random = RandomBlock({.seed = 7, .index = index});
    const double u = UnitDouble(random[0], random[1]);
    ASSERT_EQ(got.token, u < 0.125 ? 0 : u < 0.5 ? 2 : 3) << u;
    const double weight = got.token == 0 ? 1 : got.token + 1;
    ASSERT_NEAR(got.log_prob, std::log(weight / 8), 1e-6);
    ASSERT_NEAR(got.sampled_log_prob, std::log(weight / 8), 1e-6);
  }
}

TEST(SamplingTest, SharesOfDrawsAreTheProbabilities) {
  const auto shares = Shares(Logs({4, 1, 2, 9}), {.temperature = 0.5F}, 20'000);
  const Values expected = {16, 1, 4, 81};
  for (std::int32_t token = 0; token < 4; ++token) {
    const double p = expected[static_cast<std::size_t>(token)] / 102;
    // Four standard deviations.
    EXPECT_NEAR(shares.at(token), p, 4 * std::sqrt(p * (1 - p) / 20'000)) << token;
  }
}

struct Filter {
  SamplingOptions options;
  std::vector<std::int32_t> kept;
};

// Weights 1 4 2 4 5 of 16.
TEST(SamplingTest, EachFilterKeepsTheMostProbable) {
  const std::vector<float> weights = {1, 4, 2, 4, 5};
  const std::vector<Filter> filters = {
      {{.top_k = 1}, {4}},
      {{.top_k = 2}, {1, 4}},  // 1 and 3 tie: the lower index.
      {{.top_k = 9}, {0, 1, 2, 3, 4}},
      {{.top_p = 0.3F}, {4}},
      {{.top_p = 0.32F}, {1, 4}},
      {{.top_p = 0.55F}, {1, 4}},
      {{.top_p = 0.57F}, {1, 3, 4}},
      {{.top_p = 1e-30F}, {4}},
      {{.min_p = 0.41F}, {1, 3, 4}},
      {{.min_p = 0.39F}, {1, 2, 3, 4}},
      {{.min_p = 1}, {4}},
      {{.top_k = 3, .top_p = 0.67F}, {1, 4}},  // 9 of 13 = 0.69, but of 16 it were 0.56.
      {{.top_p = 0.99F, .min_p = 0.5F}, {1, 3, 4}},
      {{.temperature = 0.5F, .min_p = 0.5F}, {1, 3, 4}},  // 16 of 25.
      {{.temperature = 0.5F, .min_p = 0.7F}, {4}},
  };
  for (std::size_t i = 0; i < filters.size(); ++i) {
    SCOPED_TRACE(i);
    std::vector<std::int32_t> tokens;
    for (const auto& [token, share] : Shares(Logs(weights), filters[i].options)) {
      tokens.push_back(token);
    }
    EXPECT_EQ(tokens, filters[i].kept);
    double total = 0;
    const double power = 1 / static_cast<double>(filters[i].options.temperature);
    for (const std::int32_t token : filters[i].kept) {
      total += std::pow(weights[static_cast<std::size_t>(token)], power);
    }
    const SampledToken got = SampleOne(Logs(weights), filters[i].options, 3);
    const double weight = weights[static_cast<std::size_t>(got.token)];
    EXPECT_NEAR(got.log_prob, std::log(weight / 16), 1e-6);
    EXPECT_NEAR(got.sampled_log_prob, std::log(std::pow(weight, power) / total), 2e-6);
  }
}

TEST(SamplingTest, NeverDrawsWhatHasNoProbability) {
  const std::vector<float> logits = {-kInfinity, 0, -kInfinity, -200, 1, -kInfinity};
  for (const SamplingOptions& options :
       {SamplingOptions{}, {.top_k = 5}, {.top_p = 0.999F}, {.temperature = 1e-40F}}) {
    for (const auto& [token, share] : Shares(logits, options, 300)) {
      EXPECT_TRUE(token == 1 || token == 4) << token;
    }
  }
}

// Of thousands of tokens.
TEST(SamplingTest, WideNucleusAgreesWithDouble) {
  constexpr std::size_t kVocabulary = 50'257;
  const auto x = Normal({kVocabulary}, 1);
  std::vector<float> logits(x.values.begin(), x.values.end());
  std::vector<std::pair<double, std::size_t>> order;
  double all = 0;
  for (std::size_t i = 0; i < kVocabulary; ++i) {
    order.emplace_back(-std::exp(static_cast<double>(logits[i])), i);
    all -= order.back().first;
  }
  std::sort(order.begin(), order.end());
  double kept = 0;
  std::size_t count = 0;
  while (kept < 0.5 * all) kept -= order[count++].first;
  EXPECT_GT(count, 2048U);
  std::vector<bool> inside(kVocabulary);
  for (std::size_t i = 0; i < count; ++i) inside[order[i].second] = true;
  for (std::uint64_t index = 0; index < 50; ++index) {
    const SampledToken got = SampleOne(logits, {.top_p = 0.5F}, index);
    const auto token = static_cast<std::size_t>(got.token);
    EXPECT_TRUE(inside[token]);
    const auto logit = static_cast<double>(logits[token]);
    EXPECT_NEAR(got.log_prob, logit - std::log(all), 5e-6);
    EXPECT_NEAR(got.sampled_log_prob, logit - std::log(kept), 5e-6);
  }
}

// In a batch on threads or alone, from f32 or from bf16.
TEST(SamplingTest, ATokenDependsOnItsRowAndKeyAlone) {
  constexpr std::size_t kRows = 40, kVocabulary = 513;
  std::vector<BFloat16> narrow;
  std::vector<float> wide;
  for (const double value : Normal({kRows, kVocabulary}, 1).values) {
    narrow.emplace_back(static_cast<float>(value));
    wide.push_back(ToFloat(narrow.back()));
  }
  std::vector<SamplingRow> rows(kRows);
  for (std::size_t i = 0; i < kRows; ++i) {
    rows[i].key = {.seed = 1, .lane = static_cast<std::uint32_t>(i), .index = 5};
    rows[i].options.top_k = i % 3 * 200;
    rows[i].options.top_p = i % 2 == 0 ? 1.0F : 0.8F;
    rows[i].options.temperature = static_cast<float>(i % 4) * 0.4F;
  }
  ThreadPool pool(3);
  const auto whole = SampleAll(wide, kVocabulary, rows, &pool);
  const auto from_narrow = SampleAll(narrow, kVocabulary, rows);
  for (std::size_t i = 0; i < kRows; ++i) {
    const auto begin = wide.begin() + static_cast<std::ptrdiff_t>(i * kVocabulary);
    const std::vector<float> row(begin, begin + kVocabulary);
    const SampledToken alone = SampleAll(row, kVocabulary, {rows[i]})[0];
    for (const SampledToken& other : {whole[i], from_narrow[i]}) {
      ASSERT_EQ(alone.token, other.token);
      ASSERT_EQ(alone.log_prob, other.log_prob);
      ASSERT_EQ(alone.sampled_log_prob, other.sampled_log_prob);
    }
  }
}

// Filters that leave out only a token without probability, of rows of 513: top-k by its list, top-p
// by its buckets.
TEST(SamplingTest, AFilterThatKeepsAllChangesNothing) {
  constexpr std::size_t kVocabulary = 513;
  for (unsigned seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    const auto x = Normal({kVocabulary}, seed);
    std::vector<float> logits(x.values.begin(), x.values.end());
    logits[seed] = -kInfinity;
    const SampledToken plain = SampleOne(logits, {}, seed);
    for (const SamplingOptions& options :
         {SamplingOptions{.top_k = kVocabulary - 1}, {.top_p = 0.9999999F}, {.min_p = 1e-30F}}) {
      const SampledToken filtered = SampleOne(logits, options, seed);
      EXPECT_EQ(plain.token, filtered.token);
      EXPECT_EQ(plain.log_prob, filtered.log_prob);
      EXPECT_EQ(plain.sampled_log_prob, filtered.sampled_log_prob);
    }
  }
}

// Two equal halves: the first is all that a share of 1/2 needs; so is 1/2 before two quarters.
TEST(SamplingTest, AnExactShareIsEnough) {
  for (const SamplingOptions& options :
       {SamplingOptions{.top_p = 0.5F}, {.top_k = 2, .top_p = 0.5F}}) {
    EXPECT_EQ(Shares({-kInfinity, 2, 2}, options, 100).size(), 1U);
    EXPECT_EQ(SampleOne({-kInfinity, 2, 2}, options, 0).token, 1);
  }
  for (const SamplingOptions& options :
       {SamplingOptions{.top_p = 0.5F}, {.top_k = 3, .top_p = 0.5F}}) {
    EXPECT_EQ(Shares(Logs({1, 2, 1, 0}), options, 100).size(), 1U);
  }
}

TEST(SamplingTest, RefusesWhatIsNoDistribution) {
  for (const float bad : {kNan, kInfinity}) {
    EXPECT_THROW(SampleOne({0, bad, 1}, {}, 0), ContractViolation);
    EXPECT_THROW(SampleOne({0, bad, 1}, {.temperature = 0}, 0), ContractViolation);
  }
  EXPECT_THROW(SampleOne({-kInfinity, -kInfinity}, {}, 0), ContractViolation);
  const std::vector<SamplingOptions> options = {
      {.temperature = -1}, {.temperature = kNan}, {.temperature = kInfinity}, {.top_p = 0},
      {.top_p = 1.5F},     {.top_p = kNan},       {.min_p = -0.1F},           {.min_p = 1.1F}};
  for (std::size_t i = 0; i < options.size(); ++i) {
    EXPECT_THROW(SampleOne({0, 1}, options[i], 0), ContractViolation) << i;
  }
  EXPECT_THROW(SampleAll(std::vector<float>{}, 0, {{}}), ContractViolation);
  Tape tape;
  tape.Begin({});
  const std::vector<float> logits(4);
  const Tensor two = tape.Input({2, 2}, logits.data());
  std::vector<SampledToken> tokens(2);
  EXPECT_THROW(Sample(nullptr, two, std::vector<SamplingRow>(1), tokens), ContractViolation);
}

}  // namespace
}  // namespace muster
