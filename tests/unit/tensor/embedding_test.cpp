#include "tensor/kernels/embedding.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/check.h"
#include "tensor/kernels/linear.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using testing::RandomIndices;
using testing::RowsOf;
using Values = std::vector<double>;
using Ids = std::vector<std::int32_t>;

// Ids 2, 0, 2: row 2 has the gradients of positions 0 and 2, row 1 none.
TEST(EmbeddingTest, MatchesHandWorkedExample) {
  const std::vector<float> table = {1, 2, 3, 4, 5, 6}, weights = {1, 10, 2, 20, 3, 30};
  std::vector<float> gradient(6, 99);
  const LeafBinding leaf{{3, 2}, table.data(), gradient.data()};
  Tape tape;
  tape.Begin({&leaf, 1});
  const Tensor y = ops::Embedding(tape, tape.Parameter(0), Ids{2, 0, 2});
  EXPECT_EQ(y.shape(), (Shape{3, 2}));
  EXPECT_EQ(std::vector<float>(y.values().begin(), y.values().end()),
            (std::vector<float>{5, 6, 1, 2, 5, 6}));
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, tape.Input({3, 2}, weights.data()))));
  EXPECT_EQ(gradient, (std::vector<float>{2, 20, 0, 0, 4, 40}));
}

TEST(EmbeddingTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const std::size_t count : {0, 1, 3, 31}) {
    for (const std::size_t vocabulary : {1, 7}) {
      for (const std::size_t width : {1, 8, 37, 64}) {
        SCOPED_TRACE(std::to_string(count) + " of " + std::to_string(vocabulary) + " x " +
                     std::to_string(width));
        const Ids ids = RandomIndices(count, vocabulary, ++seed);
        CheckOp([&](Tape& tape, const auto& t) { return ops::Embedding(tape, t[0], ids); },
                [&](const auto& t) { return RowsOf(t[0], width, ids); },
                {Normal({vocabulary, width}, ++seed)}, {}, &pool);
      }
    }
  }
}

// A table that is also the output layer's weight: x = table[ids], logits = x table^T.
TEST(EmbeddingTest, ATiedTableHasTheGradientsOfBothUses) {
  const Ids ids = {3, 1, 1, 4, 0};
  CheckOp(
      [&](Tape& tape, const auto& t) {
        return ops::Linear(tape, ops::Embedding(tape, t[0], ids), t[0], Tensor());
      },
      [&](const auto& t) {
        const Values x = RowsOf(t[0], 5, ids);
        Values y;
        for (std::size_t row = 0; row < ids.size(); ++row) {
          for (std::size_t v = 0; v < 6; ++v) {
            double sum = 0;
            for (std::size_t i = 0; i < 5; ++i) sum += x[row * 5 + i] * t[0][v * 5 + i];
            y.push_back(sum);
          }
        }
        return y;
      },
      {Normal({6, 5}, 1)}, {.f32 = 2e-5, .bf16 = 6e-2});
}

// A vocabulary of many blocks; some ids come often, most never.
std::vector<float> TableGradient(std::size_t threads, const std::vector<BFloat16>& table,
                                 const Ids& ids, std::size_t vocabulary, std::size_t width) {
  std::vector<BFloat16> weights;
  for (const double v : Normal({ids.size(), width}, 5).values) {
    weights.emplace_back(static_cast<float>(v));
  }
  std::vector<float> gradient(table.size());
  const LeafBinding leaf{{vocabulary, width}, table.data(), gradient.data(), DType::kBF16};
  ThreadPool pool(threads);
  Tape tape({.pool = &pool});
  tape.Begin({&leaf, 1});
  const Tensor y = ops::Embedding(tape, tape.Parameter(0), ids);
  const Tensor w = tape.Input({ids.size(), width}, weights.data());
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, w)));
  return gradient;
}

TEST(EmbeddingTest, TheGradientIsTheSumInOrderOfPositionOnAnyNumberOfThreads) {
  constexpr std::size_t kVocabulary = 50'257, kWidth = 12, kCount = 3000;
  const std::vector<BFloat16> table(kVocabulary * kWidth, BFloat16(1.0F));
  Ids ids = RandomIndices(kCount, kVocabulary, 1);
  for (std::size_t i = 0; i < kCount; i += 3) ids[i] = static_cast<std::int32_t>(i % 5);
  std::vector<float> expected(kVocabulary * kWidth);
  const auto weights = Normal({kCount, kWidth}, 5).values;
  for (std::size_t i = 0; i < kCount; ++i) {
    for (std::size_t j = 0; j < kWidth; ++j) {
      expected[static_cast<std::size_t>(ids[i]) * kWidth + j] +=
          ToFloat(BFloat16(static_cast<float>(weights[i * kWidth + j])));
    }
  }
  for (const std::size_t threads : {1, 2, 3}) {
    const auto gradient = TableGradient(threads, table, ids, kVocabulary, kWidth);
    EXPECT_EQ(std::memcmp(gradient.data(), expected.data(), expected.size() * sizeof(float)), 0)
        << threads;
  }
}

TEST(EmbeddingTest, RefusesIdsOutOfRangeAndFlatTables) {
  const std::vector<float> values(12);
  Tape tape;
  tape.Begin({});
  const Tensor table = tape.Input({4, 3}, values.data());
  for (const std::int32_t bad : {-1, 4}) {
    try {
      ops::Embedding(tape, table, Ids{0, bad});
      FAIL() << bad;
    } catch (const ContractViolation& violation) {
      const std::string wanted = "token id " + std::to_string(bad) + " at position 1 of 4 rows";
      EXPECT_NE(std::string(violation.what()).find(wanted), std::string::npos) << violation.what();
    }
  }
  EXPECT_THROW(ops::Embedding(tape, tape.Input({12}, values.data()), Ids{0}), ContractViolation);
}

}  // namespace
}  // namespace muster
