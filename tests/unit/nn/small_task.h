// A task that an image network learns in a few steps: which quarter of the image is the brightest.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/philox.h"
#include "nn/models/model.h"
#include "nn/optim/optimizer.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/softmax_cross_entropy.h"

namespace muster::nn::testing {

// Whole pixels in [0, 255], as a camera or a game gives them, and the quarter of each image.
struct Quarters {
  Quarters(std::size_t count, const Shape& image) : labels(count) {
    const std::size_t size = image.elements(), row = image[1] * image[2];
    images.resize(count * size);
    for (std::size_t n = 0; n < count; ++n) {
      labels[n] = static_cast<std::int32_t>(n % 4);
      for (std::size_t i = 0; i < size; ++i) {
        const std::size_t below = i / row * 2 / image[0], right = i % row * 2 / row;
        const bool bright = static_cast<std::int32_t>(2 * below + right) == labels[n];
        const PhiloxBlock bits = RandomBlock(9, RandomPurpose::kAugmentation, 1, n * size + i);
        images[n * size + i] = static_cast<float>(bits[0] % 128 + (bright ? 128 : 0));
      }
    }
  }
  std::vector<float> images;
  std::vector<std::int32_t> labels;
};

struct Training {
  double accuracy = 0.0;               // Of the last step.
  std::vector<float> first_gradients;  // Flat, of the first step.
};

// Full-batch Adam steps computed in T, with f32 values as masters.
template <class T>
Training Train(const Model& model, std::size_t count, int steps, float learning_rate) {
  const Quarters data(count, model.input_shape());
  const std::vector<T> images = [&] {
    std::vector<T> made;
    for (const float pixel : data.images) made.push_back(T(pixel));
    return made;
  }();
  const ParameterSet& parameters = model.parameters();
  std::vector<float> values(parameters.flat_elements()), gradients(values.size());
  std::vector<T> computed(values.size());
  parameters.Initialize(1, values);
  const auto optimizer = MakeOptimizer({}, parameters);
  Shape batch{count};
  for (std::size_t i = 0; i < 3; ++i) batch.Append(model.input_shape()[i]);
  Tape tape;
  Training result;
  for (int step = 0; step < steps; ++step) {
    for (std::size_t i = 0; i < values.size(); ++i) computed[i] = T(values[i]);
    tape.Begin(parameters.Bind(std::span<const T>(computed), gradients));
    const Tensor logits =
        ops::Cast(tape, model.Forward(tape, tape.Input(batch, images.data())), DType::kF32);
    const auto loss =
        ops::SoftmaxCrossEntropy(tape, logits, data.labels, 1.0F / static_cast<float>(count));
    tape.Backward(loss.loss);
    if (step == 0) result.first_gradients = gradients;
    optimizer->Step({.learning_rate = learning_rate}, values, gradients, nullptr);
    result.accuracy = static_cast<double>(loss.score.correct) / static_cast<double>(count);
  }
  return result;
}

// Every parameter's gradient is finite and not all zeros.
inline void ExpectGradientsEverywhere(const ParameterSet& parameters,
                                      const std::vector<float>& gradients) {
  for (const ParameterSpec& spec : parameters.specs()) {
    double squares = 0.0;
    for (std::size_t i = 0; i < spec.shape.elements(); ++i) {
      const auto value = static_cast<double>(gradients[spec.offset + i]);
      squares += value * value;
    }
    EXPECT_TRUE(std::isfinite(squares)) << spec.name;
    EXPECT_GT(squares, 0.0) << spec.name;
  }
}

}  // namespace muster::nn::testing
