// CheckGradient: compares an op's backward pass with central finite differences.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <random>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/kernels/elementwise.h"

namespace muster::testing {

struct CheckedInput {
  Shape shape;
  std::vector<float> values;
};

// A normal sample of the shape, scaled by `scale`.
inline CheckedInput RandomInput(const Shape& shape, unsigned seed, float scale = 1.0F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  CheckedInput input{shape, std::vector<float>(shape.elements())};
  for (float& value : input.values) value = normal(random);
  return input;
}

struct GradientCheckOptions {
  // An f32 forward pass rounds the loss by about 2^-24 of the sum of its terms' sizes; divided by
  // 2 step that is ~1e-5, beside a truncation error of order step^2.
  float step = 1.0F / 128.0F;
  float tolerance = 3e-3F;  // |analytic - numeric| <= tolerance * (1 + |numeric|).
};

using CheckedOp = std::function<Tensor(Tape&, const std::vector<Tensor>&)>;

// For loss = sum_i r_i op(inputs)_i with fixed random r, every element of every input: d loss by
// Backward against (loss(x + h) - loss(x - h)) / 2h. The inner product is formed in double, so the
// only f32 roundings are the op's own.
inline void CheckGradient(const CheckedOp& op, std::vector<CheckedInput> inputs,
                          const GradientCheckOptions& options = {}) {
  std::vector<float> weights;
  const auto loss_of = [&] {
    Tape tape({.inference = true});
    tape.Begin({});
    std::vector<Tensor> tensors;
    for (const CheckedInput& input : inputs) {
      tensors.push_back(tape.Input(input.shape, input.values.data()));
    }
    const Tensor output = op(tape, tensors);
    double loss = 0.0;
    for (std::size_t i = 0; i < output.elements(); ++i) {
      loss += static_cast<double>(output.data()[i]) * static_cast<double>(weights[i]);
    }
    return loss;
  };

  Tape tape;
  tape.Begin({});
  std::vector<Tensor> tensors;
  for (const CheckedInput& input : inputs) {
    tensors.push_back(tape.InputWithGradient(input.shape, input.values.data()));
  }
  const Tensor output = op(tape, tensors);
  weights = RandomInput(output.shape(), 12345).values;
  const Tensor weighted = ops::Multiply(tape, output, tape.Input(output.shape(), weights.data()));
  tape.Backward(ops::Sum(tape, weighted));

  for (std::size_t which = 0; which < inputs.size(); ++which) {
    ASSERT_NE(tensors[which].gradient(), nullptr) << "no gradient for input " << which;
    for (std::size_t i = 0; i < inputs[which].values.size(); ++i) {
      float& value = inputs[which].values[i];
      const float kept = value;
      value = kept + options.step;
      const double above = loss_of();
      const auto upper = static_cast<double>(value);
      value = kept - options.step;
      const double below = loss_of();
      const double numeric = (above - below) / (upper - static_cast<double>(value));
      value = kept;
      ASSERT_NEAR(static_cast<double>(tensors[which].gradient()[i]), numeric,
                  static_cast<double>(options.tolerance) * (1.0 + std::abs(numeric)))
          << "input " << which << ", element " << i;
    }
  }
}

}  // namespace muster::testing
