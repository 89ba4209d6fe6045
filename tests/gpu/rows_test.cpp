#include "tensor/kernels/add_rows.h"
#include "tensor/kernels/embedding.h"
#include "tensor/kernels/gather.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/row_norm.h"
#include "tensor/kernels/row_sum.h"
#include "tensor/kernels/sampling.h"
#include "tensor/kernels/softmax.h"
#include "tests/support/gpu.h"

namespace muster {
namespace {

using testing::BackwardFrom;
using testing::RandomValues;
class GpuRows : public testing::GpuTest {
 protected:
  template <class T>
  void CheckNorm(std::size_t rows, std::size_t width, bool centred);
  template <class T>
  void CheckSoftmax(std::size_t rows, std::size_t width, bool log);
};

template <class T>
void GpuRows::CheckNorm(std::size_t rows, std::size_t width, bool centred) {
  SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width));
  constexpr DType kType = kDTypeOf<T>;
  const std::size_t count = rows * width;
  const auto x = RandomValues<T>(count, 1, 2), residual = RandomValues<T>(count, 2),
             gain = RandomValues<T>(width, 3), bias = RandomValues<T>(width, 4),
             dy = RandomValues<T>(count, 5);
  const std::vector<float> zeros(width);
  Tape tape;
  std::vector<float> dgain(width), dbias(width);
  const std::vector<LeafBinding> leaves = {{{width}, gain.data(), dgain.data(), kType},
                                           {{width}, bias.data(), dbias.data(), kType}};
  tape.Begin(leaves);
  const Tensor tx = tape.InputWithGradient({rows, width}, x.data());
  const Tensor tr = tape.Input({rows, width}, residual.data());
  const ops::SumAndNorm both =
      centred ? ops::AddLayerNorm(tape, tx, tr, tape.Parameter(0), tape.Parameter(1))
              : ops::AddRmsNorm(tape, tx, tr, tape.Parameter(0));
  BackwardFrom(tape, both.y, dy);
  T *const sum = Room<T>(count), *const y = Room<T>(count), *const g = Upload(gain);
  const T* const b = centred ? Upload(bias) : nullptr;
  auto* const moments = reinterpret_cast<cuda::NormMoments*>(Room<float>(2 * rows));
  Must(functions_->RowNormForward(
      stream_, {kType, rows, width, Upload(x), Upload(residual), sum, g, b, 1e-5F, y, moments}));
  ExpectSameBits(sum, both.sum.as<T>(), count, "sum");
  ExpectNear(y, both.y.as<T>(), count, "y");
  T* const dx = Room<T>(count);
  float *const dg = Room<float>(width), *const db = Room<float>(width);
  Must(functions_->RowNormBackward(
      stream_, {kType, rows, width, sum, g, centred, moments, Upload(dy), dx, dg,
                centred ? db : nullptr, false, true, false}));
  ExpectNear(dx, tx.gradient_as<T>(), count, "dx", 1e-4F);
  ExpectNear(dg, dgain.data(), width, "dgain", 1e-4F);
  if (centred) ExpectNear(db, dbias.data(), width, "dbias", 1e-4F);
}

MUSTER_TEST_BOTH_TYPES(GpuRows, Norms) {
  for (const bool centred : {true, false}) {
    CheckNorm<T>(3, 17, centred);
    CheckNorm<T>(131, 300, centred);
  }
}

MUSTER_TEST_BOTH_TYPES(GpuRows, ColumnSumsHaveTheBitsOfTheCpu) {
  for (const std::size_t rows : {1, 128, 300}) {
    const auto x = RandomValues<T>(rows * 70, 6);
    std::vector<float> expected(70);
    kernels::SumRows(x.data(), rows, 70, expected.data());
    float* const sums = Room<float>(70);
    Must(functions_->SumRows(stream_, {kDTypeOf<T>, rows, 70, Upload(x), sums, false}));
    ExpectSameBits(sums, expected.data(), 70, "sums");
  }
}

template <class T>
void GpuRows::CheckSoftmax(std::size_t rows, std::size_t width, bool log) {
  SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width));
  constexpr DType kType = kDTypeOf<T>;
  const std::size_t count = rows * width;
  auto x = RandomValues<T>(count, 7, 4);
  const auto dy = RandomValues<T>(count, 8);
  if (width > 1) x[1] = T(-std::numeric_limits<float>::infinity());
  if (rows > 2) x[2 * width] = T(std::nanf(""));
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({rows, width}, x.data());
  const Tensor ty = log ? ops::LogSoftmax(tape, tx) : ops::Softmax(tape, tx);
  BackwardFrom(tape, ty, dy);
  T *const from = Upload(x), *const y = Room<T>(count), *const dx = Room<T>(count);
  auto* const scales = reinterpret_cast<cuda::RowScale*>(Room<float>(2 * rows));
  Must(functions_->SoftmaxForward(stream_, {log, kType, rows, width, from, y, scales}));
  const T* const expected = ty.as<T>();
  for (std::size_t row = 0; row < rows; ++row) {
    if (log && row == 0) continue;  // Of -infinity no difference can be taken.
    ExpectNear(y + row * width, expected + row * width, width, "y");
  }
  Must(functions_->SoftmaxBackward(stream_,
                                   {log, kType, rows, width, from, scales, Upload(dy), dx, false}));
  ExpectNear(dx, tx.gradient_as<T>(), count, "dx");
}

MUSTER_TEST_BOTH_TYPES(GpuRows, Softmax) {
  for (const bool log : {false, true}) {
    CheckSoftmax<T>(1, 1, log);
    CheckSoftmax<T>(5, 37, log);
    CheckSoftmax<T>(2, 5000, log);
  }
}

MUSTER_TEST_BOTH_TYPES(GpuRows, EmbeddingsAndGathers) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kRows = 11, kWidth = 33;
  const std::vector<std::int32_t> ids = {3, 0, 3, 10, 3, 7, 0};
  const auto table = RandomValues<T>(kRows * kWidth, 9),
             dy = RandomValues<T>(ids.size() * kWidth, 10);
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({kRows, kWidth}, table.data());
  const Tensor ty = ops::GatherRows(tape, tx, ids);
  BackwardFrom(tape, ty, dy);
  const std::int32_t* const indices = Upload(ids);
  T* const y = Room<T>(dy.size());
  Must(
      functions_->CopyRows(stream_, {kType, ids.size(), kWidth, indices, Upload(table), y, false}));
  ExpectSameBits(y, ty.as<T>(), dy.size(), "y");
  const kernels::RowPositions sorted = kernels::SortByRow(tape, ids, kRows);
  const auto* const begins =
      Upload(std::vector<std::uint32_t>(sorted.begins, sorted.begins + kRows + 1));
  const auto* const positions =
      Upload(std::vector<std::uint32_t>(sorted.positions, sorted.positions + ids.size()));
  T *const gy = Upload(dy), *const dx = Room<T>(table.size());
  Must(functions_->AddRows(stream_,
                           {kType, kType, kRows, kWidth, begins, positions, gy, dx, false}));
  ExpectSameBits(dx, tx.gradient_as<T>(), table.size(), "dx");
  // An embedding's gradient is f32, and rows that no id names stay as they are.
  std::vector<float> expected(table.size());
  const std::vector<LeafBinding> leaves = {{{kRows, kWidth}, table.data(), expected.data(), kType}};
  tape.Begin(leaves);
  BackwardFrom(tape, ops::Embedding(tape, tape.Parameter(0), ids), dy);
  float* const dtable = Room<float>(table.size());
  Must(functions_->AddRows(
      stream_, {kType, DType::kF32, kRows, kWidth, begins, positions, gy, dtable, true}));
  ExpectSameBits(dtable, expected.data(), table.size(), "dtable");
}

MUSTER_TEST_BOTH_TYPES(GpuRows, Reductions) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kRows = 4, kWidth = 777;
  auto x = RandomValues<T>(kRows * kWidth, 11);
  x[5] = x[9] = T(9.0F);             // The first of equal ones.
  x[kWidth + 4] = T(std::nanf(""));  // NaN is larger than every number.
  x[2 * kWidth + 3] = T(-0.0F);
  const auto dy = RandomValues<T>(kRows, 12);
  T *const from = Upload(x), *const gy = Upload(dy);
  T *const y = Room<T>(kRows), *const dx = Room<T>(x.size());
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({kRows, kWidth}, x.data());
  const Tensor mean = ops::MeanLast(tape, tx);
  BackwardFrom(tape, mean, dy);
  Must(functions_->SumLast(stream_, {kType, kRows, kWidth, from, y, kWidth}));
  ExpectNear(y, mean.as<T>(), kRows, "mean");
  Must(functions_->SumLastBackward(
      stream_, {kType, kRows, kWidth, gy, static_cast<float>(1.0 / kWidth), dx, false}));
  ExpectSameBits(dx, tx.gradient_as<T>(), x.size(), "dx of mean");
  tape.Begin({});
  const Tensor tz = tape.InputWithGradient({kRows, kWidth}, x.data());
  const ops::ValuesAndIndices largest = ops::MaxLast(tape, tz);
  BackwardFrom(tape, largest.values, dy);
  auto* const indices = Room<std::int32_t>(kRows * 5);
  Must(functions_->MaxLast(stream_, {kType, kRows, kWidth, from, y, indices}));
  ExpectSameBits(y, largest.values.as<T>(), kRows, "largest");
  EXPECT_EQ(Download(indices, kRows),
            std::vector<std::int32_t>(largest.indices.begin(), largest.indices.end()));
  Must(functions_->MaxLastBackward(stream_, {kType, kRows, kWidth, gy, indices, dx, false}));
  ExpectSameBits(dx, tz.gradient_as<T>(), x.size(), "dx of largest");
  const ops::ValuesAndIndices five = ops::TopK(tape, tz, 5);
  T* const top = Room<T>(kRows * 5);
  Must(functions_->TopK(stream_, {kType, kRows, kWidth, 5, from, top, indices}));
  ExpectSameBits(top, five.values.as<T>(), kRows * 5, "top 5");
  EXPECT_EQ(Download(indices, kRows * 5),
            std::vector<std::int32_t>(five.indices.begin(), five.indices.end()));
}

// The same tokens as on the CPU: the keys are the same, and sums in double differ in their last
// digits only.
MUSTER_TEST_BOTH_TYPES(GpuRows, Sampling) {
  constexpr std::size_t kWidth = 1000;
  const std::vector<SamplingOptions> options = {{},
                                                {.temperature = 0},
                                                {.temperature = 0.5F, .top_k = 7},
                                                {.top_p = 0.6F},
                                                {.temperature = 2, .top_k = 50, .top_p = 0.9F},
                                                {.top_p = 1e-6F},
                                                {.min_p = 0.05F},
                                                {.top_k = 5000, .min_p = 1}};
  std::vector<SamplingRow> rows;
  for (std::uint64_t i = 0; i < 64; ++i) {
    rows.push_back({options[i % options.size()], {5, RandomPurpose::kSampling, 1, i}});
  }
  auto logits = RandomValues<T>(rows.size() * kWidth, 13, 3);
  for (std::size_t i = 0; i < logits.size(); i += 3) {
    logits[i] = T(-std::numeric_limits<float>::infinity());
  }
  std::vector<SampledToken> expected(rows.size());
  Tape tape({.inference = true});
  tape.Begin({});
  Sample(nullptr, tape.Input({rows.size(), kWidth}, logits.data()), rows, expected);
  auto* const tokens = Room<SampledToken>(rows.size());
  Must(functions_->Sample(
      stream_, {kDTypeOf<T>, rows.size(), kWidth, Upload(logits), Upload(rows), tokens}));
  const auto drawn = Download(tokens, rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(drawn[i].token, expected[i].token);
    EXPECT_NEAR(drawn[i].log_prob, expected[i].log_prob, 1e-5);
    EXPECT_NEAR(drawn[i].sampled_log_prob, expected[i].sampled_log_prob, 1e-5);
  }
}

TEST_F(GpuRows, ARowWithoutAFiniteLogitGivesNoToken) {
  std::vector<float> logits(8, -std::numeric_limits<float>::infinity());
  auto* const tokens = Room<SampledToken>(1);
  Must(functions_->Sample(
      stream_, {DType::kF32, 1, 8, Upload(logits), Upload(std::vector<SamplingRow>(1)), tokens}));
  EXPECT_EQ(Download(tokens, 1)[0].token, -1);
}

}  // namespace
}  // namespace muster
