// Elements that are computed alone have the bits of the CPU's.
#include "tensor/kernels/activation.h"
#include "tensor/kernels/concatenate.h"
#include "tensor/kernels/dropout.h"
#include "tensor/kernels/recurrent.h"
#include "tensor/kernels/swiglu.h"
#include "tests/support/gpu.h"

namespace muster {
namespace {

using testing::BackwardFrom;
using testing::RandomValues;
class GpuPointwise : public testing::GpuTest {};

constexpr std::size_t kCount = 1027;

MUSTER_TEST_BOTH_TYPES(GpuPointwise, Elementwise) {
  constexpr DType kType = kDTypeOf<T>;
  const auto a = RandomValues<T>(kCount, 1), b = RandomValues<T>(kCount, 2),
             dy = RandomValues<T>(kCount, 3);
  T *const da = Upload(a), *const db = Upload(b), *const gy = Upload(dy);
  T* const y = Room<T>(kCount);
  Tape tape;
  tape.Begin({});
  const Tensor ta = tape.InputWithGradient({kCount}, a.data()),
               tb = tape.InputWithGradient({kCount}, b.data());
  Must(functions_->Add(stream_, {kType, kCount, da, db, y}));
  ExpectSameBits(y, ops::Add(tape, ta, tb).as<T>(), kCount, "a + b");
  // x = a b + a: its gradient by a is dy b, and dy is added to it.
  const Tensor product = ops::Multiply(tape, ta, tb);
  Must(functions_->Multiply(stream_, {kType, kCount, da, db, y, false}));
  ExpectSameBits(y, product.as<T>(), kCount, "a * b");
  Must(functions_->Scale(stream_, {kType, kCount, da, 0.3F, y, false}));
  ExpectSameBits(y, ops::Scale(tape, ta, 0.3F).as<T>(), kCount, "0.3 a");
  BackwardFrom(tape, ops::Add(tape, product, ta), dy);
  Must(functions_->Scale(stream_, {kType, kCount, gy, 1.0F, y, false}));
  Must(functions_->Multiply(stream_, {kType, kCount, gy, db, y, true}));
  ExpectSameBits(y, ta.gradient_as<T>(), kCount, "da");
}

MUSTER_TEST_BOTH_TYPES(GpuPointwise, CastAndSum) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kMany = 200'003;
  const auto x = RandomValues<T>(kMany, 4);
  T* const dx = Upload(x);
  Tape tape;
  tape.Begin({});
  const Tensor tx = tape.InputWithGradient({kMany}, x.data());
  BFloat16* const narrow = Room<BFloat16>(kMany);
  Must(functions_->Cast(stream_, {kType, DType::kBF16, kMany, dx, narrow, false}));
  ExpectSameBits(narrow, ops::Cast(tape, tx, DType::kBF16).as<BFloat16>(), kMany, "narrow");
  float* const wide = Room<float>(kMany);
  Must(functions_->Cast(stream_, {kType, DType::kF32, kMany, dx, wide, true}));  // Onto zeros.
  ExpectSameBits(wide, ops::Cast(tape, tx, DType::kF32).as<float>(), kMany, "wide");
  float* const sum = Room<float>(1);
  const Tensor mean = ops::Mean(tape, tx);
  const float share = 1.0F / static_cast<float>(kMany);
  Must(functions_->Sum(stream_, {kType, kMany, dx, share, sum}));
  ExpectNear(sum, mean.data(), 1, "mean", 1e-7F);
  Must(functions_->Sum(stream_, {kType, 0, dx, 1.0F, sum}));
  EXPECT_EQ(Download(sum, 1)[0], 0.0F);
  tape.Backward(mean);
  float* const dy = Upload(std::vector<float>{1.0F});
  Must(functions_->SumBackward(stream_, {kType, kMany, dy, share, dx, false}));
  ExpectSameBits(dx, tx.gradient_as<T>(), kMany, "dx");
}

MUSTER_TEST_BOTH_TYPES(GpuPointwise, Activations) {
  constexpr DType kType = kDTypeOf<T>;
  const auto x = RandomValues<T>(kCount, 5, 3), dy = RandomValues<T>(kCount, 6);
  T *const dx = Upload(x), *const gy = Upload(dy);
  T *const y = Room<T>(kCount), *const gx = Room<T>(kCount);
  for (int kind = 1; kind <= static_cast<int>(Activation::kSoftplus); ++kind) {
    SCOPED_TRACE(kind);
    const auto activation = static_cast<Activation>(kind);
    Tape tape;
    tape.Begin({});
    const Tensor tx = tape.InputWithGradient({kCount}, x.data());
    const Tensor ty = ops::Activate(tape, tx, activation);
    BackwardFrom(tape, ty, dy);
    Must(functions_->ActivationForward(stream_, {activation, kType, kCount, dx, y}));
    ExpectSameBits(y, ty.as<T>(), kCount, "y");
    const T* const saved = kernels::SlopeNeedsInput(activation) ? dx : y;
    Must(
        functions_->ActivationBackward(stream_, {activation, kType, kCount, saved, gy, gx, false}));
    ExpectSameBits(gx, tx.gradient_as<T>(), kCount, "dx");
  }
}

MUSTER_TEST_BOTH_TYPES(GpuPointwise, SwiGlu) {
  constexpr DType kType = kDTypeOf<T>;
  const auto gate = RandomValues<T>(kCount, 7), up = RandomValues<T>(kCount, 8),
             dy = RandomValues<T>(kCount, 9);
  Tape tape;
  tape.Begin({});
  const Tensor tg = tape.InputWithGradient({kCount}, gate.data()),
               tu = tape.InputWithGradient({kCount}, up.data());
  const Tensor ty = ops::SwiGlu(tape, tg, tu);
  BackwardFrom(tape, ty, dy);
  T *const dgate = Upload(gate), *const dup = Upload(up), *const gy = Upload(dy);
  T *const y = Room<T>(kCount), *const gg = Room<T>(kCount), *const gu = Room<T>(kCount);
  Must(functions_->SwiGluForward(stream_, {kType, kCount, dgate, dup, y}));
  ExpectSameBits(y, ty.as<T>(), kCount, "y");
  Must(functions_->SwiGluBackward(stream_, {kType, kCount, dgate, dup, gy, gg, gu, false, false}));
  ExpectSameBits(gg, tg.gradient_as<T>(), kCount, "dgate");
  ExpectSameBits(gu, tu.gradient_as<T>(), kCount, "dup");
}

MUSTER_TEST_BOTH_TYPES(GpuPointwise, Dropout) {
  const auto x = RandomValues<T>(kCount, 10);
  T *const dx = Upload(x), *const y = Room<T>(kCount);
  for (std::uint64_t index = 0; index < 5; ++index) {
    const RandomKey key{77, RandomPurpose::kDropout, 3, index};
    Tape tape;
    tape.Begin({});
    const Tensor ty = ops::Dropout(tape, tape.InputWithGradient({kCount}, x.data()), 0.25F, key);
    Must(functions_->Dropout(stream_, {kDTypeOf<T>, kCount, dx, key, 1U << 30U,
                                       static_cast<float>(1 / 0.75), y, false}));
    ExpectSameBits(y, ty.as<T>(), kCount, "y");
  }
}

// The middle of three parts of a dimension that is neither the first nor the last.
MUSTER_TEST_BOTH_TYPES(GpuPointwise, Slices) {
  const auto x = RandomValues<T>(4 * 7 * 3, 11);
  Tape tape;
  tape.Begin({});
  const Tensor part = ops::Slice(tape, tape.Input({4, 7, 3}, x.data()), 1, 2, 4);
  T *const from = Upload(x), *const to = Room<T>(4 * 4 * 3);
  Must(functions_->CopyRuns(stream_, {kDTypeOf<T>, 4, 12, 21, 12, from + 6, to, false}));
  ExpectSameBits(to, part.as<T>(), 48, "slice");
  // Put back onto zeros twice: what was there is added to.
  T* const whole = Room<T>(x.size());
  Must(functions_->CopyRuns(stream_, {kDTypeOf<T>, 4, 12, 12, 21, to, whole + 6, false}));
  Must(functions_->CopyRuns(stream_, {kDTypeOf<T>, 4, 12, 12, 21, to, whole + 6, true}));
  const auto back = Download(whole, x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t middle = i / 3 % 7;
    const float wanted = middle >= 2 && middle < 6 ? 2 * ToFloat(x[i]) : 0.0F;
    ASSERT_EQ(ToFloat(back[i]), wanted) << i;
  }
}

MUSTER_TEST_BOTH_TYPES(GpuPointwise, GruGates) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kRows = 5, kWidth = 19, kState = kRows * kWidth;
  const auto input = RandomValues<T>(3 * kState, 12), product = RandomValues<T>(3 * kState, 13),
             hidden = RandomValues<T>(kState, 14), dy = RandomValues<T>(kState, 15);
  Tape tape;
  tape.Begin({});
  const Tensor ti = tape.InputWithGradient({kRows, 3 * kWidth}, input.data()),
               tp = tape.InputWithGradient({kRows, 3 * kWidth}, product.data()),
               th = tape.InputWithGradient({kRows, kWidth}, hidden.data());
  const Tensor ty = ops::GruGates(tape, ti, tp, th);
  BackwardFrom(tape, ty, dy);
  T *const di = Upload(input), *const dp = Upload(product), *const dh = Upload(hidden),
           *const gy = Upload(dy), *const y = Room<T>(kState);
  Must(functions_->GruGatesForward(stream_, {kType, kRows, kWidth, di, dp, dh, y}));
  ExpectSameBits(y, ty.as<T>(), kState, "y");
  T *const gi = Room<T>(3 * kState), *const gp = Room<T>(3 * kState), *const gh = Room<T>(kState);
  Must(functions_->GruGatesBackward(
      stream_, {kType, kRows, kWidth, di, dp, dh, gy, gi, gp, gh, false, true, false}));
  ExpectSameBits(gi, ti.gradient_as<T>(), 3 * kState, "dinput");
  ExpectSameBits(gp, tp.gradient_as<T>(), 3 * kState, "dproduct");
  ExpectSameBits(gh, th.gradient_as<T>(), kState, "dhidden");
}

MUSTER_TEST_BOTH_TYPES(GpuPointwise, LstmGates) {
  constexpr DType kType = kDTypeOf<T>;
  constexpr std::size_t kRows = 4, kWidth = 21, kState = kRows * kWidth;
  const auto input = RandomValues<T>(4 * kState, 16), product = RandomValues<T>(4 * kState, 17),
             old = RandomValues<T>(kState, 18), dy = RandomValues<T>(kState, 19);
  Tape tape;
  tape.Begin({});
  const Tensor ti = tape.InputWithGradient({kRows, 4 * kWidth}, input.data()),
               tp = tape.InputWithGradient({kRows, 4 * kWidth}, product.data()),
               to = tape.InputWithGradient({kRows, kWidth}, old.data());
  const ops::LstmState next = ops::LstmGates(tape, ti, tp, to);
  BackwardFrom(tape, next.hidden, dy);
  T *const di = Upload(input), *const dp = Upload(product), *const d_old = Upload(old),
           *const gy = Upload(dy), *const hidden = Room<T>(kState), *const cell = Room<T>(kState);
  Must(functions_->LstmGatesForward(stream_, {kType, kRows, kWidth, di, dp, d_old, hidden, cell}));
  ExpectSameBits(hidden, next.hidden.as<T>(), kState, "hidden");
  ExpectSameBits(cell, next.cell.as<T>(), kState, "cell");
  T *const gi = Room<T>(4 * kState), *const gp = Room<T>(4 * kState), *const go = Room<T>(kState),
           *const gc = Room<T>(kState);
  Must(
      functions_->LstmHiddenBackward(stream_, {kType, kRows, kWidth, di, dp, cell, gy, gc, false}));
  Must(functions_->LstmCellBackward(stream_, {kType, kRows, kWidth, di, dp, d_old, cell, gc, gy, gi,
                                              gp, go, false, false, true}));
  ExpectSameBits(gi, ti.gradient_as<T>(), 4 * kState, "dinput");
  ExpectSameBits(gp, tp.gradient_as<T>(), 4 * kState, "dproduct");
  ExpectSameBits(go, to.gradient_as<T>(), kState, "dold");
}

MUSTER_TEST_BOTH_TYPES(GpuPointwise, ResetRows) {
  const auto x = RandomValues<T>(4 * 5, 20);
  const std::vector<std::uint8_t> done = {0, 1, 1, 0};
  Tape tape;
  tape.Begin({});
  const Tensor ty = ops::ResetRows(tape, tape.Input({4, 5}, x.data()), done);
  T* const y = Room<T>(20);
  Must(functions_->ResetRows(stream_, {kDTypeOf<T>, 4, 5, Upload(x), Upload(done), y, false}));
  ExpectSameBits(y, ty.as<T>(), 20, "y");
}

}  // namespace
}  // namespace muster
