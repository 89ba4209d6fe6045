#include "tensor/kernels/swiglu.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::CheckOp;
using testing::Normal;
using Values = std::vector<double>;

Values SwiGluInDouble(const Values& gate, const Values& up) {
  Values y;
  for (std::size_t i = 0; i < gate.size(); ++i) {
    y.push_back(gate[i] / (1 + std::exp(-gate[i])) * up[i]);
  }
  return y;
}

// silu(ln 3) = ln 3 * 3/4 and silu(-ln 3) = -ln 3 * 1/4.
TEST(SwiGluTest, MatchesHandWorkedExample) {
  const float ln3 = std::log(3.0F);
  const std::vector<float> gate = {ln3, -ln3, 0}, up = {4, 8, 5};
  Tape tape;
  tape.Begin({});
  const Tensor g = tape.InputWithGradient({3}, gate.data());
  const Tensor u = tape.InputWithGradient({3}, up.data());
  const Tensor y = ops::SwiGlu(tape, g, u);
  EXPECT_FLOAT_EQ(y.data()[0], 3 * ln3);
  EXPECT_FLOAT_EQ(y.data()[1], -2 * ln3);
  EXPECT_EQ(y.data()[2], 0.0F);
  tape.Backward(ops::Sum(tape, y));
  EXPECT_FLOAT_EQ(u.gradient()[0], 0.75F * ln3);
  EXPECT_FLOAT_EQ(g.gradient()[0], 4 * 0.75F * (1 + ln3 * 0.25F));
  EXPECT_FLOAT_EQ(g.gradient()[2], 2.5F);
}

TEST(SwiGluTest, AgreesWithDoubleInAnyShape) {
  unsigned seed = 1;
  ThreadPool pool(2);
  for (const Shape& shape : {Shape{0, 3}, Shape{1}, Shape{7, 37}, Shape{3, 1, 97}}) {
    SCOPED_TRACE(shape.ToString());
    CheckOp([](Tape& tape, const auto& t) { return ops::SwiGlu(tape, t[0], t[1]); },
            [](const auto& t) { return SwiGluInDouble(t[0], t[1]); },
            {Normal(shape, ++seed, 3), Normal(shape, ++seed)}, {}, &pool);
  }
}

TEST(SwiGluTest, GradientsOfTwoUsesAdd) {
  CheckOp(
      [](Tape& tape, const auto& t) {
        return ops::Add(tape, ops::SwiGlu(tape, t[0], t[1]), ops::SwiGlu(tape, t[1], t[0]));
      },
      [](const auto& t) {
        Values sum = SwiGluInDouble(t[0], t[1]);
        const Values second = SwiGluInDouble(t[1], t[0]);
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += second[i];
        return sum;
      },
      {Normal({5, 61}, 1), Normal({5, 61}, 2)});
}

// Of several blocks, on three threads and on one, whole and element by element.
TEST(SwiGluTest, AnElementsBitsDependOnNoOther) {
  constexpr std::size_t kCount = 40'000;
  const auto gate = Normal({kCount}, 1, 4), up = Normal({kCount}, 2);
  std::vector<BFloat16> gates, ups;
  for (const double v : gate.values) gates.emplace_back(static_cast<float>(v));
  for (const double v : up.values) ups.emplace_back(static_cast<float>(v));
  ThreadPool pool(3);
  Tape all({.inference = true, .pool = &pool}), one({.inference = true});
  all.Begin({});
  const Tensor y =
      ops::SwiGlu(all, all.Input({kCount}, gates.data()), all.Input({kCount}, ups.data()));
  for (std::size_t i = 0; i < kCount; i += 13) {
    one.Begin({});
    const Tensor alone =
        ops::SwiGlu(one, one.Input({1}, gates.data() + i), one.Input({1}, ups.data() + i));
    ASSERT_EQ(y.as<BFloat16>()[i].bits, alone.as<BFloat16>()->bits) << i;
  }
}

TEST(SwiGluTest, RefusesUnequalShapesAndTypes) {
  const std::vector<float> wide(4);
  const std::vector<BFloat16> narrow(4);
  Tape tape;
  tape.Begin({});
  const Tensor gate = tape.Input({2, 2}, wide.data());
  EXPECT_THROW(ops::SwiGlu(tape, gate, tape.Input({4}, wide.data())), ContractViolation);
  EXPECT_THROW(ops::SwiGlu(tape, gate, tape.Input({2, 2}, narrow.data())), ContractViolation);
}

}  // namespace
}  // namespace muster
