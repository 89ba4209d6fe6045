#include "tensor/kernels/batched_matmul.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/linear.h"
#include "tests/support/gpu.h"

namespace muster {
namespace {

using testing::BackwardFrom;
using testing::RandomValues;
class GpuProduct : public testing::GpuTest {};

// All four layouts, with and without what is there already.
MUSTER_TEST_BOTH_TYPES(GpuProduct, Layouts) {
  constexpr std::size_t kRows = 24, kColumns = 40, kInner = 56;
  const auto a = RandomValues<T>(kRows * kInner, 1), b = RandomValues<T>(kInner * kColumns, 2);
  const auto before = RandomValues<float>(kRows * kColumns, 3);
  T *const da = Upload(a), *const db = Upload(b);
  for (int kind = 0; kind < 8; ++kind) {
    SCOPED_TRACE(kind);
    const bool a_turned = kind % 2 != 0, b_turned = kind / 2 % 2 != 0, accumulate = kind / 4 != 0;
    kernels::GemmArgs wanted;
    wanted.rows = kRows;
    wanted.columns = kColumns;
    wanted.inner = kInner;
    wanted.type = kDTypeOf<T>;
    wanted.a = {a.data(), a_turned ? 1 : kInner, a_turned ? kRows : 1};
    wanted.b = {b.data(), b_turned ? 1 : kColumns, b_turned ? kInner : 1};
    wanted.accumulate = accumulate;
    auto expected = before;
    wanted.c = expected.data();
    wanted.c_row_stride = kColumns;
    kernels::Gemm(wanted, nullptr);
    cuda::ProductArgs args;
    args.rows = kRows;
    args.columns = kColumns;
    args.inner = kInner;
    args.type = kDTypeOf<T>;
    args.a = {da, wanted.a.row_stride, wanted.a.column_stride};
    args.b = {db, wanted.b.row_stride, wanted.b.column_stride};
    args.accumulate = accumulate;
    float* const c = Upload(before);
    args.c = c;
    args.c_row_stride = kColumns;
    Must(functions_->Product(stream_, args));
    ExpectNear(c, expected.data(), expected.size(), "c", 1e-4F);
  }
}

// Odd sizes, and one row or column, of matrices whose rows are apart.
MUSTER_TEST_BOTH_TYPES(GpuProduct, OddSizes) {
  for (const std::size_t rows : {1, 3, 17}) {
    for (const std::size_t columns : {1, 5}) {
      for (const std::size_t inner : {0, 1, 7}) {
        SCOPED_TRACE(std::to_string(rows) + " " + std::to_string(columns) + " " +
                     std::to_string(inner));
        const auto a = RandomValues<T>(rows * 8, 4), b = RandomValues<T>(8 * 6, 5);
        std::vector<float> expected(rows * 9, 3.0F);
        kernels::GemmArgs wanted;
        wanted.rows = rows;
        wanted.columns = columns;
        wanted.inner = inner;
        wanted.type = kDTypeOf<T>;
        wanted.a = {a.data(), 8, 1};
        wanted.b = {b.data(), 6, 1};
        wanted.c = expected.data();
        wanted.c_row_stride = 9;
        kernels::Gemm(wanted, nullptr);
        float* const c = Upload(std::vector<float>(rows * 9, 3.0F));
        Must(functions_->Product(stream_, {rows,
                                           columns,
                                           inner,
                                           kDTypeOf<T>,
                                           {Upload(a), 8, 1},
                                           {Upload(b), 6, 1},
                                           nullptr,
                                           false,
                                           DType::kF32,
                                           c,
                                           9}));
        ExpectNear(c, expected.data(), expected.size(), "c", 1e-4F);
      }
    }
  }
}

MUSTER_TEST_BOTH_TYPES(GpuProduct, BatchesOfMatrices) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kBatch = 3, kRows = 8, kInner = 16, kColumns = 24;
  const auto a = RandomValues<T>(kBatch * kRows * kInner, 10),
             b = RandomValues<T>(kBatch * kColumns * kInner, 11);
  Tape tape;
  tape.Begin({});
  const Tensor wanted =
      ops::BatchedMatmul(tape, tape.Input({kBatch, kRows, kInner}, a.data()),
                         tape.Input({kBatch, kColumns, kInner}, b.data()), {.b_transposed = true});
  T* const c = Room<T>(wanted.elements());
  const cuda::ProductArgs first{
      kRows, kColumns, kInner, kType,   {Upload(a), kInner, 1}, {Upload(b), 1, kInner}, nullptr,
      false, kType,    c,      kColumns};
  Must(functions_->BatchedProduct(
      stream_, {first, kBatch, kRows * kInner, kColumns * kInner, kRows * kColumns}));
  ExpectNear(c, wanted.as<T>(), wanted.elements(), "c", 1e-4F);
}

MUSTER_TEST_BOTH_TYPES(GpuProduct, Linear) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kRows = 9, kIn = 48, kOut = 16;
  const auto x = RandomValues<T>(kRows * kIn, 6), weight = RandomValues<T>(kOut * kIn, 7),
             bias = RandomValues<T>(kOut, 8), dy = RandomValues<T>(kRows * kOut, 9);
  for (const Activation activation :
       {Activation::kNone, Activation::kRelu, Activation::kGeluTanh, Activation::kTanh}) {
    SCOPED_TRACE(static_cast<int>(activation));
    std::vector<float> dw(kOut * kIn), db(kOut);
    const std::vector<LeafBinding> leaves = {{{kOut, kIn}, weight.data(), dw.data(), kType},
                                             {{kOut}, bias.data(), db.data(), kType}};
    Tape tape;
    tape.Begin(leaves);
    const Tensor tx = tape.InputWithGradient({kRows, kIn}, x.data());
    const Tensor ty = ops::Linear(tape, tx, tape.Parameter(0), tape.Parameter(1), activation);
    BackwardFrom(tape, ty, dy);
    T *const from = Upload(x), *const w = Upload(weight), *const b = Upload(bias),
             *const gy = Upload(dy);
    T *const y = Room<T>(dy.size()), *const before = Room<T>(dy.size()),
             *const dx = Room<T>(x.size());
    float *const gw = Room<float>(dw.size()), *const gb = Room<float>(kOut);
    Must(functions_->LinearForward(stream_,
                                   {kType, kRows, kIn, kOut, from, w, b, activation, y, before}));
    ExpectNear(y, ty.as<T>(), dy.size(), "y", 1e-4F);
    const T* const saved = kernels::SlopeNeedsInput(activation) ? before : y;
    Must(functions_->LinearBackward(stream_, {kType, kRows, kIn, kOut, from, w, activation, saved,
                                              gy, dx, gw, gb, false, true, true}));
    ExpectNear(dx, tx.gradient_as<T>(), x.size(), "dx", 3e-4F);
    // In bf16 the slopes that are multiplied differ by a rounding here and there.
    const float loose = kType == DType::kBF16 ? 3e-2F : 3e-4F;
    ExpectNear(gw, dw.data(), dw.size(), "dweight", loose);
    ExpectNear(gb, db.data(), kOut, "dbias", loose);
  }
}

}  // namespace
}  // namespace muster
