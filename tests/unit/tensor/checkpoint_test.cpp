// What a tape does to save memory and work: checkpoints, accumulation, frozen parameters.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "tensor/autograd/tape.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/dropout.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/linear.h"
#include "tensor/kernels/row_norm.h"
#include "tests/support/limits.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

using testing::kNan;
using testing::Normal;

constexpr std::size_t kExamples = 33, kWidth = 24, kLayers = 4;

template <class T>
std::vector<T> Numbers(const Shape& shape, unsigned seed) {
  std::vector<T> values;
  for (const double v : Normal(shape, seed, 0.4).values) values.push_back(T(static_cast<float>(v)));
  return values;
}

// Residual blocks of norm, linear, gelu, dropout and linear; every block uses a shared scale too.
template <class T>
class Network {
 public:
  Network() {
    Add({kWidth}, 1);  // Parameter 0: shared.
    for (unsigned layer = 0; layer < kLayers; ++layer) {
      Add({kWidth}, 10 + layer);
      Add({2 * kWidth, kWidth}, 20 + layer);
      Add({kWidth, 2 * kWidth}, 30 + layer);
    }
    gradients_.resize(values_.size());
  }

  std::vector<LeafBinding> Leaves(const std::vector<bool>& frozen = {}) {
    std::vector<LeafBinding> leaves;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const bool still = !frozen.empty() && frozen[i];
      gradients_[i].resize(values_[i].size());
      leaves.push_back({shapes_[i], values_[i].data(), still ? nullptr : gradients_[i].data(),
                        kDTypeOf<T>, still});
    }
    return leaves;
  }

  static Tensor Block(Tape& tape, Tensor x, std::size_t layer, float dropout = 0.2F) {
    const std::size_t first = 1 + 3 * layer;
    Tensor y = ops::RmsNorm(tape, x, tape.Parameter(first));
    y = ops::RmsNorm(tape, y, tape.Parameter(0));
    y = ops::Linear(tape, y, tape.Parameter(first + 1), {}, Activation::kGelu);
    y = ops::Dropout(tape, y, dropout, {.seed = 5, .index = layer});
    return ops::Add(tape, x, ops::Linear(tape, y, tape.Parameter(first + 2), {}));
  }

  static Tensor Loss(Tape& tape, Tensor x, bool checkpoints) {
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      x = checkpoints ? tape.Checkpoint({x},
                                        [layer](Tape& inner, std::span<const Tensor> in) {
                                          return Block(inner, in[0], layer);
                                        })
                      : Block(tape, x, layer);
    }
    return ops::Sum(tape, ops::Multiply(tape, x, x));
  }

  const std::vector<std::vector<float>>& gradients() const { return gradients_; }

 private:
  void Add(const Shape& shape, unsigned seed) {
    shapes_.push_back(shape);
    values_.push_back(Numbers<T>(shape, seed));
  }

  std::vector<Shape> shapes_;
  std::vector<std::vector<T>> values_;
  std::vector<std::vector<float>> gradients_;
};

struct Outcome {
  float loss = 0;
  std::vector<std::vector<float>> gradients;
  std::vector<std::size_t> ready;
  std::vector<double> input_gradient;
  std::size_t peak_bytes = 0;
};

template <class T>
Outcome Run(bool checkpoints, std::size_t threads = 1) {
  Network<T> network;
  const std::vector<T> x = Numbers<T>({kExamples, kWidth}, 99);
  ThreadPool pool(threads);
  Tape tape({.pool = &pool});
  Outcome outcome;
  tape.OnGradientReady([&](std::size_t parameter) { outcome.ready.push_back(parameter); });
  for (int step = 0; step < 2; ++step) {
    outcome.ready.clear();
    tape.Begin(network.Leaves());
    const Tensor in = tape.InputWithGradient({kExamples, kWidth}, x.data());
    const Tensor loss = network.Loss(tape, in, checkpoints);
    outcome.loss = *loss.data();
    tape.Backward(loss);
    outcome.input_gradient = testing::GradientOf(in);
  }
  outcome.gradients = network.gradients();
  outcome.peak_bytes = tape.arena().peak_bytes();
  return outcome;
}

template <class T>
void ExpectCheckpointsChangeNothing() {
  const Outcome plain = Run<T>(false);
  for (const std::size_t threads : {1, 3}) {
    const Outcome saved = Run<T>(true, threads);
    EXPECT_EQ(saved.loss, plain.loss);
    EXPECT_EQ(saved.gradients, plain.gradients);
    EXPECT_EQ(saved.input_gradient, plain.input_gradient);
    EXPECT_EQ(saved.ready, plain.ready);
    EXPECT_LT(saved.peak_bytes, plain.peak_bytes / 2);
  }
  EXPECT_NE(plain.loss, 0);
}

TEST(CheckpointTest, HasTheSameBitsInLessMemory) {
  ExpectCheckpointsChangeNothing<float>();
  ExpectCheckpointsChangeNothing<BFloat16>();
}

// y = p x with x unused beside it, and z, whose gradient has a contribution already.
TEST(CheckpointTest, InputsWithoutAndWithGradientsOfOtherUses) {
  const std::vector<float> p = {2, 3}, values = {5, 7};
  std::vector<float> gradient(2, kNan);
  Tape tape;
  tape.Begin(std::vector<LeafBinding>{{{2}, p.data(), gradient.data()}});
  const Tensor unused = tape.InputWithGradient({2}, values.data());
  const Tensor twice = tape.InputWithGradient({2}, values.data());
  const Tensor constant = tape.Input({2}, values.data());
  const Tensor y =
      tape.Checkpoint({unused, twice, constant}, [](Tape& inner, std::span<const Tensor> in) {
        return ops::Multiply(inner, ops::Multiply(inner, inner.Parameter(0), in[1]), in[2]);
      });
  tape.Backward(ops::Sum(tape, ops::Add(tape, y, twice)));
  EXPECT_EQ(gradient, (std::vector<float>{25, 49}));
  EXPECT_EQ(testing::GradientOf(twice), (std::vector<double>{11, 22}));
  EXPECT_EQ(testing::GradientOf(unused), (std::vector<double>{0, 0}));
  EXPECT_EQ(constant.gradient(), nullptr);
}

TEST(CheckpointTest, InferenceRunsTheBody) {
  const std::vector<float> values = {5, 7};
  Tape tape({.inference = true});
  tape.Begin({});
  const Tensor y = tape.Checkpoint(
      {tape.Input({2}, values.data())},
      [](Tape& inner, std::span<const Tensor> in) { return ops::Scale(inner, in[0], 2); });
  EXPECT_EQ(y.data()[1], 14);
}

TEST(CheckpointTest, RefusesNestingParametersAndEmptyBodies) {
  const std::vector<float> values = {5, 7};
  std::vector<float> gradient(2);
  Tape tape;
  const auto begin = [&] {
    tape.Begin(std::vector<LeafBinding>{{{2}, values.data(), gradient.data()}});
    return tape.InputWithGradient({2}, values.data());
  };
  const auto same = [](Tape&, std::span<const Tensor> in) { return in[0]; };
  EXPECT_THROW(tape.Checkpoint({begin()}, same), ContractViolation);
  begin();
  EXPECT_THROW(tape.Checkpoint({tape.Parameter(0)}, same), ContractViolation);
  EXPECT_THROW(tape.Checkpoint({begin()},
                               [same](Tape& inner, std::span<const Tensor> in) {
                                 return inner.Checkpoint({in[0]}, same);
                               }),
               ContractViolation);
  // And the tape can go on.
  const Tensor x = begin();
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, x, tape.Parameter(0))));
  EXPECT_EQ(gradient, values);
}

// Four micro-batches of one sample, added up, are the gradient of the four at once.
TEST(AccumulationTest, AddsMicroBatches) {
  const std::vector<float> w = {1, -2};
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<float> gradient(2, kNan), unused(1, kNan);
  const std::vector<LeafBinding> leaves = {{{1, 2}, w.data(), gradient.data()},
                                           {{1}, w.data(), unused.data()}};
  Tape tape;
  for (std::size_t i = 0; i < 4; ++i) {
    tape.Begin(leaves, i == 0 ? Gradients::kReplace : Gradients::kAddTo);
    const Tensor in = tape.Input({1, 2}, &x[2 * i]);
    tape.Backward(ops::Sum(tape, ops::Linear(tape, in, tape.Parameter(0), {})));
    EXPECT_THROW(tape.Backward(ops::Sum(tape, in)), ContractViolation);
  }
  EXPECT_EQ(gradient, (std::vector<float>{16, 20}));
  EXPECT_EQ(unused, (std::vector<float>{0}));
}

// Memory is asked for once per parameter, never after it was reported ready, and the gradients are
// those of memory that was there from the start.
TEST(LentGradientTest, IsAskedForWhenBackwardNeedsIt) {
  Network<float> network, reference;
  const std::vector<float> x = Numbers<float>({kExamples, kWidth}, 99);
  Tape tape;
  tape.Begin(reference.Leaves());
  tape.Backward(reference.Loss(tape, tape.Input({kExamples, kWidth}, x.data()), false));
  for (const bool checkpoints : {false, true}) {
    std::vector<LeafBinding> leaves = network.Leaves();
    std::vector<float*> memory;
    for (LeafBinding& leaf : leaves) {
      std::fill_n(leaf.gradient, leaf.shape.elements(), kNan);
      memory.push_back(std::exchange(leaf.gradient, nullptr));
    }
    std::vector<int> asked(leaves.size()), ready(leaves.size());
    std::size_t held = 0, held_most = 0;
    tape.OnGradientNeeded([&](std::size_t parameter) {
      EXPECT_EQ(++asked[parameter], 1);
      EXPECT_EQ(ready[parameter], 0);
      held_most = std::max(held_most, ++held);
      return memory[parameter];
    });
    tape.OnGradientReady([&](std::size_t parameter) {
      EXPECT_EQ(asked[parameter], 1);
      ++ready[parameter];
      --held;
    });
    tape.Begin(leaves);
    tape.Backward(network.Loss(tape, tape.Input({kExamples, kWidth}, x.data()), checkpoints));
    EXPECT_EQ(ready, std::vector<int>(leaves.size(), 1));
    EXPECT_EQ(network.gradients(), reference.gradients());
    EXPECT_LE(held_most, 3U);  // The shared scale's, and a norm's two or a product's one.
    EXPECT_THROW(tape.Begin(leaves, Gradients::kAddTo), ContractViolation);
  }
}

// Unused parameters have zeros; a reshaped one has its gradient where it was lent, not in the view.
TEST(LentGradientTest, IsWrittenForUnusedAndReshapedParameters) {
  const std::vector<float> w = {1, -2}, x = {3, 4};
  std::vector<float> gradient(2, kNan), unused(2, kNan);
  const std::vector<LeafBinding> leaves = {{{1, 2}, w.data()}, {{2}, w.data()}};
  Tape tape;
  EXPECT_THROW(tape.Begin(leaves), ContractViolation);
  tape.OnGradientNeeded([&](std::size_t i) { return i == 0 ? gradient.data() : unused.data(); });
  tape.Begin(leaves);
  const Tensor flat = ops::Reshape(tape, tape.Parameter(0), {2});
  tape.Backward(ops::Sum(tape, ops::Multiply(tape, flat, tape.Input({2}, x.data()))));
  EXPECT_EQ(gradient, x);
  EXPECT_EQ(unused, (std::vector<float>{0, 0}));
}

TEST(FrozenTest, GetsNoGradientAndChangesNoOther) {
  Network<float> network, reference;
  const std::vector<float> x = Numbers<float>({kExamples, kWidth}, 99);
  std::vector<bool> frozen(1 + 3 * kLayers, false);
  for (const std::size_t i : {1, 2, 3, 5, 8}) frozen[i] = true;
  Tape tape;
  for (const bool checkpoints : {false, true}) {
    std::vector<std::size_t> ready;
    tape.OnGradientReady([&](std::size_t parameter) { ready.push_back(parameter); });
    tape.Begin(network.Leaves(frozen));
    tape.Backward(network.Loss(tape, tape.Input({kExamples, kWidth}, x.data()), checkpoints));
    tape.OnGradientReady({});
    tape.Begin(reference.Leaves());
    tape.Backward(reference.Loss(tape, tape.Input({kExamples, kWidth}, x.data()), false));
    for (std::size_t i = 0; i < frozen.size(); ++i) {
      if (frozen[i]) continue;
      EXPECT_EQ(network.gradients()[i], reference.gradients()[i]) << i;
    }
    EXPECT_EQ(ready, (std::vector<std::size_t>{12, 11, 10, 9, 7, 6, 4, 0}));
  }
}

// Nothing is recorded where only frozen parameters are used: no node, nothing saved.
TEST(FrozenTest, CostsNothingWhereNothingIsTrained) {
  Network<float> network;
  const std::vector<float> x = Numbers<float>({kExamples, kWidth}, 99);
  Tape frozen, inference({.inference = true});
  frozen.Begin(network.Leaves(std::vector<bool>(1 + 3 * kLayers, true)));
  inference.Begin(network.Leaves());
  const Tensor a = network.Block(frozen, frozen.Input({kExamples, kWidth}, x.data()), 0, 0);
  network.Block(inference, inference.Input({kExamples, kWidth}, x.data()), 0, 0);
  EXPECT_FALSE(a.requires_gradient());
  EXPECT_EQ(frozen.arena().used_bytes(), inference.arena().used_bytes());
}

}  // namespace
}  // namespace muster
