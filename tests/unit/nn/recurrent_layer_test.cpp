#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/check.h"
#include "nn/layers/recurrent.h"
#include "tensor/kernels/elementwise.h"

namespace muster::nn {
namespace {

constexpr std::size_t kIn = 3, kWidth = 4, kSequences = 2, kSteps = 5;
using Floats = std::vector<float>;
using Values = std::vector<double>;

Floats Sample(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.7F);
  Floats values(count);
  for (float& value : values) value = normal(random);
  return values;
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Layer {
  explicit Layer(RecurrentKind kind)
      : layer(parameters, "memory", {.kind = kind, .in = kIn, .width = kWidth}),
        values(parameters.flat_elements()),
        gradients(values.size()),
        x(Sample(kSteps * kSequences * kIn, 2)),
        state(Sample(kSequences * layer.state_elements(), 3)) {
    // All of them, biases too; gaps between parameters stay zero.
    for (const ParameterSpec& spec : parameters.specs()) {
      const Floats some = Sample(spec.shape.elements(), static_cast<unsigned>(spec.offset));
      std::copy(some.begin(), some.end(),
                values.begin() + static_cast<std::ptrdiff_t>(spec.offset));
    }
  }

  const float* Of(std::size_t parameter) const {
    return values.data() + parameters[parameter].offset;
  }

  // The sum of all hidden states, step by step and number by number, from the formulas of PyTorch's
  // documentation.
  double SumInDouble() const {
    double sum = 0;
    for (std::size_t s = 0; s < kSequences; ++s) {
      const float* const own = state.data() + s * layer.state_elements();
      Values hidden(own, own + kWidth),
          cell(own + layer.state_elements() - kWidth, own + layer.state_elements());
      for (std::size_t t = 0; t < kSteps; ++t) {
        const std::size_t row = t * kSequences + s;
        if (starts[row] != 0) hidden.assign(kWidth, 0), cell.assign(kWidth, 0);
        const Values before = hidden;
        for (std::size_t j = 0; j < kWidth; ++j) {
          const auto made = [&](std::size_t gate, std::size_t weight, const auto* from,
                                std::size_t count) {
            const std::size_t unit = gate * kWidth + j;
            double product = static_cast<double>(Of(weight + 2)[unit]);
            for (std::size_t i = 0; i < count; ++i) {
              product +=
                  static_cast<double>(Of(weight)[unit * count + i]) * static_cast<double>(from[i]);
            }
            return product;
          };
          const auto in = [&](std::size_t gate) { return made(gate, 0, &x[row * kIn], kIn); };
          const auto back = [&](std::size_t gate) { return made(gate, 1, before.data(), kWidth); };
          if (layer.state_elements() == kWidth) {
            const double fresh = std::tanh(in(2) + Sigmoid(in(0) + back(0)) * back(2));
            const double update = Sigmoid(in(1) + back(1));
            hidden[j] = (1 - update) * fresh + update * before[j];
          } else {
            cell[j] = Sigmoid(in(1) + back(1)) * cell[j] +
                      Sigmoid(in(0) + back(0)) * std::tanh(in(2) + back(2));
            hidden[j] = Sigmoid(in(3) + back(3)) * std::tanh(cell[j]);
          }
          sum += hidden[j];
        }
      }
    }
    return sum;
  }

  ParameterSet parameters;
  Recurrent layer;
  Floats values, gradients, x, state;
  std::vector<std::uint8_t> starts = {0, 0, 0, 1, 0, 0, 1, 0, 0, 0};
};

TEST(RecurrentLayerTest, ValuesAndGradientsAgreeWithDoubleAcrossStarts) {
  for (const auto kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    Layer net(kind);
    Tape tape;
    const auto leaves = net.parameters.Bind(net.values, net.gradients);
    tape.Begin(leaves);
    const Tensor x = tape.Input({kSteps * kSequences, kIn}, net.x.data());
    const Tensor sum = ops::Sum(tape, net.layer.Forward(tape, x, net.state, net.starts).hidden);
    EXPECT_NEAR(sum.data()[0], net.SumInDouble(), 1e-5);
    tape.Backward(sum);
    for (const ParameterSpec& spec : net.parameters.specs()) {
      for (std::size_t i = spec.offset; i < spec.offset + spec.shape.elements(); ++i) {
        const float value = net.values[i];
        net.values[i] = value + 0.0078125F;
        const double above = net.SumInDouble();
        net.values[i] = value - 0.0078125F;
        const double below = net.SumInDouble();
        net.values[i] = value;
        EXPECT_NEAR(net.gradients[i], (above - below) / 0.015625, 2e-3) << spec.name;
      }
    }
  }
}

// What promise 3 stands on: acting goes step by step, training over all steps at once.
TEST(RecurrentLayerTest, StepsOneByOneHaveTheBitsOfAllAtOnce) {
  for (const auto kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    Layer net(kind);
    const auto leaves = net.parameters.Bind(net.values, {});
    Tape tape({.inference = true}), other({.inference = true});
    tape.Begin(leaves);
    const Tensor x = tape.Input({kSteps * kSequences, kIn}, net.x.data());
    const Recurrent::Outputs all = net.layer.Forward(tape, x, net.state, net.starts);
    const std::size_t each = net.layer.state_elements();
    for (std::size_t s = 0; s < kSequences; ++s) {  // And alone.
      Floats state(net.state.begin() + static_cast<std::ptrdiff_t>(s * each),
                   net.state.begin() + static_cast<std::ptrdiff_t>((s + 1) * each));
      for (std::size_t t = 0; t < kSteps; ++t) {
        const std::size_t row = t * kSequences + s;
        if (net.starts[row] != 0) state.assign(each, 0);
        other.Begin(leaves);
        const auto one =
            net.layer.Forward(other, other.Input({1, kIn}, &net.x[row * kIn]), state, {});
        for (std::size_t j = 0; j < kWidth; ++j) {
          EXPECT_EQ(one.hidden.data()[j], all.hidden.data()[row * kWidth + j]);
          state[j] = one.hidden.data()[j];
          if (!one.cell) continue;
          EXPECT_EQ(one.cell.data()[j], all.cell.data()[row * kWidth + j]);
          state[kWidth + j] = one.cell.data()[j];
        }
      }
    }
  }
}

TEST(RecurrentLayerTest, BearsPyTorchsNamesAndRefusesWhatDoesNotFit) {
  Layer net(RecurrentKind::kLstm);
  EXPECT_EQ(net.parameters[0].name, "memory.weight_ih");
  EXPECT_EQ(net.parameters[1].name, "memory.weight_hh");
  EXPECT_EQ(net.parameters[2].name, "memory.bias_ih");
  EXPECT_EQ(net.parameters[3].name, "memory.bias_hh");
  EXPECT_EQ(net.parameters[0].shape, (Shape{4 * kWidth, kIn}));
  Tape tape({.inference = true});
  const auto leaves = net.parameters.Bind(net.values, {});
  tape.Begin(leaves);
  const Tensor x = tape.Input({3, kIn}, net.x.data());  // Not whole steps of two sequences.
  EXPECT_THROW(net.layer.Forward(tape, x, net.state, {}), ContractViolation);
  EXPECT_THROW(net.layer.Forward(tape, x, {}, {}), ContractViolation);
}

}  // namespace
}  // namespace muster::nn
