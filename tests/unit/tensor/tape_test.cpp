#include "tensor/autograd/tape.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/linear.h"
#include "tests/support/limits.h"

namespace muster {
namespace {

using testing::kNan;

// loss = sum(w * w * 3) by way of two uses of w: d loss / d w = 6 w.
TEST(TapeTest, WritesTheFirstContributionAndAddsTheSecond) {
  const std::vector<float> w = {1, -2, 3};
  std::vector<float> gradient(3, kNan);  // Whatever was there must not matter.
  const std::vector<LeafBinding> leaves = {{{3}, w.data(), gradient.data()}};
  Tape tape;
  for (int step = 0; step < 3; ++step) {
    tape.Begin(leaves);
    const Tensor p = tape.Parameter(0);
    tape.Backward(ops::Sum(tape, ops::Scale(tape, ops::Multiply(tape, p, p), 3.0F)));
    EXPECT_EQ(gradient, (std::vector<float>{6, -12, 18}));
  }
}

TEST(TapeTest, ParametersWithoutUseGetZeros) {
  const std::vector<float> w = {1, 2};
  std::vector<float> used(2, kNan), unused(2, kNan), dead_end(2, kNan);
  const std::vector<LeafBinding> leaves = {{{2}, w.data(), used.data()},
                                           {{2}, w.data(), unused.data()},
                                           {{2}, w.data(), dead_end.data()}};
  Tape tape;
  tape.Begin(leaves);
  ops::Scale(tape, tape.Parameter(2), 2.0F);  // The loss does not depend on this.
  tape.Backward(ops::Sum(tape, tape.Parameter(0)));
  EXPECT_EQ(used, (std::vector<float>{1, 1}));
  EXPECT_EQ(unused, (std::vector<float>{0, 0}));
  EXPECT_EQ(dead_end, (std::vector<float>{0, 0}));
}

TEST(TapeTest, TellsWhenEachGradientIsFinalLastUsedFirst) {
  const std::vector<float> w = {2};
  std::vector<std::vector<float>> gradients(4, {kNan});
  std::vector<LeafBinding> leaves;
  for (auto& gradient : gradients) leaves.push_back({{1}, w.data(), gradient.data()});
  Tape tape;
  std::vector<std::size_t> order;
  std::vector<float> seen;
  tape.OnGradientReady([&](std::size_t parameter) {
    order.push_back(parameter);
    seen.push_back(gradients[parameter][0]);
  });
  tape.Begin(leaves);
  // loss = p0 * p1 * p2 * p0; p3 is not used. p0 is final only after its first use.
  Tensor x = ops::Multiply(tape, tape.Parameter(0), tape.Parameter(1));
  x = ops::Multiply(tape, x, tape.Parameter(2));
  tape.Backward(ops::Multiply(tape, x, tape.Parameter(0)));
  EXPECT_EQ(order, (std::vector<std::size_t>{3, 2, 1, 0}));
  EXPECT_EQ(seen, (std::vector<float>{0, 8, 8, 16}));
}

TEST(TapeTest, InferenceGivesTheSameValuesAndSavesNothing) {
  const std::vector<float> w = {1, -1, 2, 0.5F};
  std::vector<float> gradient(4);
  const std::vector<float> x = {3, 4};
  Tape training, inference({.inference = true});
  training.Begin(std::vector<LeafBinding>{{{2, 2}, w.data(), gradient.data()}});
  inference.Begin(std::vector<LeafBinding>{{{2, 2}, w.data(), nullptr}});
  const auto run = [&](Tape& tape) {
    return ops::Linear(tape, tape.Input({1, 2}, x.data()), tape.Parameter(0), {},
                       Activation::kGelu);
  };
  const Tensor a = run(training), b = run(inference);
  EXPECT_EQ(std::vector<float>(a.values().begin(), a.values().end()),
            std::vector<float>(b.values().begin(), b.values().end()));
  EXPECT_LT(inference.arena().used_bytes(), training.arena().used_bytes());
  EXPECT_THROW(inference.Backward(b), ContractViolation);
}

TEST(TapeTest, RefusesASecondBackwardAndALossOfManyElements) {
  const std::vector<float> w = {1, 2};
  std::vector<float> gradient(2);
  Tape tape;
  tape.Begin(std::vector<LeafBinding>{{{2}, w.data(), gradient.data()}});
  EXPECT_THROW(tape.Backward(tape.Parameter(0)), ContractViolation);
  const Tensor loss = ops::Sum(tape, tape.Parameter(0));
  tape.Backward(loss);
  EXPECT_THROW(tape.Backward(loss), ContractViolation);
  EXPECT_THROW(tape.Parameter(1), ContractViolation);
}

TEST(TapeTest, OutOfMemoryNamesTheTensorAndWhatHoldsTheMemory) {
  MemoryBudget memory(std::size_t{1} << 20U);
  Tape tape({.memory = &memory});
  const std::vector<float> x(64 * 1024, 1.0F);
  const auto grow = [&](std::size_t layers) {
    tape.Begin({});
    Tensor y = tape.InputWithGradient({64, 1024}, x.data());
    const std::vector<std::string> names = {"first", "second", "third", "fourth"};
    for (std::size_t i = 0; i < layers; ++i) {
      const Tape::Scope scope(tape, names[i]);
      y = ops::Scale(tape, y, 2.0F);
    }
    y = ops::Scale(tape, y, 2.0F);
    tape.Backward(ops::Sum(tape, y));
  };
  const auto error = [&](std::size_t layers) -> std::string {
    try {
      grow(layers);
    } catch (const OutOfMemory& out) {
      return out.what();
    }
    return "";
  };
  EXPECT_EQ(error(4),
            "out of memory for a tensor [64, 1024] of f32 (256.0 KiB) in fourth: no room for 256.0 "
            "KiB: 1.0 MiB of the 1.0 MiB allowed for steps are taken; this step holds 769.1 KiB, "
            "most of it in first (256.3 KiB), second (256.3 KiB), third (256.3 KiB); a smaller "
            "batch, shorter sequences or activation checkpoints need less");
  EXPECT_NE(error(2).find("out of memory in the backward pass, for the gradient of a tensor"),
            std::string::npos);
  EXPECT_EQ(error(0), "");  // And the tape goes on.
}

TEST(TapeTest, TapesOnSeveralThreadsShareParameterValues) {
  const std::vector<float> w(64 * 64, 0.01F);
  std::vector<std::vector<float>> gradients(4, std::vector<float>(w.size(), kNan));
  std::vector<std::thread> threads;
  for (auto& gradient : gradients) {
    threads.emplace_back([&w, &gradient] {
      const std::vector<float> x(16 * 64, 0.5F);
      Tape tape;
      for (int step = 0; step < 20; ++step) {
        tape.Begin(std::vector<LeafBinding>{{{64, 64}, w.data(), gradient.data()}});
        const Tensor y = ops::Linear(tape, tape.Input({16, 64}, x.data()), tape.Parameter(0), {},
                                     Activation::kTanh);
        tape.Backward(ops::Mean(tape, y));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& gradient : gradients) EXPECT_EQ(gradient, gradients[0]);
  EXPECT_GT(gradients[0][0], 0.0F);
}

}  // namespace
}  // namespace muster
