#include "tensor/kernels/elementwise.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "tensor/device.h"
#include "tests/support/gradient_check.h"

namespace muster {
namespace {

using testing::RandomInput;

TEST(ElementwiseTest, MatchesHandWorkedExample) {
  const std::vector<float> a = {1, 2, 3}, b = {4, 5, 6};
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({3}, a.data()), y = tape.Input({3}, b.data());
  EXPECT_EQ(*ops::Sum(tape, ops::Multiply(tape, x, y)).data(), 32.0F);
  EXPECT_EQ(*ops::Mean(tape, ops::Add(tape, x, y)).data(), 7.0F);
  EXPECT_EQ(ops::Scale(tape, x, -2.0F).data()[1], -4.0F);
}

TEST(ElementwiseTest, GradientsAgreeWithFiniteDifferences) {
  testing::CheckGradient(
      [](Tape& tape, const std::vector<Tensor>& in) {
        const Tensor product = ops::Multiply(tape, ops::Add(tape, in[0], in[1]), in[0]);
        return ops::Scale(tape, product, 0.5F);
      },
      {RandomInput({4, 3}, 1), RandomInput({4, 3}, 2)});
  testing::CheckGradient(
      [](Tape& tape, const std::vector<Tensor>& in) {
        // The flattened view and the tensor itself are both used.
        const Tensor flat = ops::Flatten(tape, in[0]);
        const Tensor square = ops::Multiply(tape, flat, flat);
        return ops::Add(tape, ops::Mean(tape, square), ops::Sum(tape, in[0]));
      },
      {RandomInput({2, 3, 2}, 3)});
}

TEST(ElementwiseTest, SummandsHaveGradientsOfTheirOwn) {
  testing::CheckGradient(
      [](Tape& tape, const std::vector<Tensor>& in) {
        // Both summands get their first contribution from their sum; one of them a second after it.
        const Tensor a = ops::Scale(tape, in[0], 2.0F), b = ops::Scale(tape, in[1], 3.0F);
        const Tensor square = ops::Multiply(tape, a, a);
        return ops::Add(tape, ops::Add(tape, a, b), square);
      },
      {RandomInput({4, 3}, 4), RandomInput({4, 3}, 5)});
}

TEST(ElementwiseTest, ReshapeSharesMemory) {
  const std::vector<float> a(24);
  Tape tape;
  tape.Begin({});
  const Tensor x = tape.Input({2, 3, 4}, a.data());
  EXPECT_EQ(ops::Flatten(tape, x).shape(), (Shape{2, 12}));
  EXPECT_EQ(ops::Reshape(tape, x, {6, 4}).data(), x.data());
  EXPECT_THROW(ops::Reshape(tape, x, {5, 5}), ContractViolation);
  EXPECT_THROW(ops::Add(tape, x, ops::Flatten(tape, x)), ContractViolation);
}

TEST(DeviceTest, ThereIsNoCudaInACpuBuild) {
  EXPECT_FALSE(Device::Cpu().is_cuda());
  EXPECT_EQ(Device::Cuda(0).status().code(), StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace muster
