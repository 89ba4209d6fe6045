// Muster's networks beside PyTorch's: outputs, gradients and ten optimiser steps, as
// tests/parity/record.py recorded them in goldens.json. Parameters and data are the same hash of
// their place on both sides.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nn/models/gpt2.h"
#include "nn/models/llama.h"
#include "nn/models/mlp.h"
#include "nn/models/nature_cnn.h"
#include "nn/optim/gradient_norm.h"
#include "nn/optim/optimizer.h"
#include "tensor/kernels/elementwise.h"

namespace muster::nn {
namespace {

using Json = nlohmann::json;
using Floats = std::vector<float>;
using Indices = std::vector<std::int32_t>;

double Uniform(std::uint64_t stream, std::uint64_t index) {
  auto bits = static_cast<std::uint32_t>(index * 2654435761U + stream * 40503U + 12345U);
  for (int round = 0; round < 2; ++round) bits = (bits ^ (bits >> 16U)) * 0x45d9f3bU;
  return (bits ^ (bits >> 16U)) / 4294967296.0;
}

Floats Data(std::uint64_t stream, std::size_t count) {
  Floats values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(2 * Uniform(1000 + stream, i) - 1));
  }
  return values;
}

Indices IndicesBelow(std::uint64_t stream, std::size_t count, double below) {
  Indices values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(static_cast<std::int32_t>(Uniform(2000 + stream, i) * below));
  }
  return values;
}

Floats StartingValues(const ParameterSet& parameters) {
  Floats values(parameters.flat_elements());
  for (std::size_t stream = 0; stream < parameters.size(); ++stream) {
    const ParameterSpec& spec = parameters[stream];
    const std::size_t count = spec.shape.elements();
    const bool gain = spec.name.ends_with("weight");
    const double scale =
        std::sqrt(3 * static_cast<double>(spec.shape[0]) / static_cast<double>(count));
    for (std::size_t i = 0; i < count; ++i) {
      const double sign = 2 * Uniform(stream, i) - 1;
      values[spec.offset + i] =
          static_cast<float>(spec.shape.rank() > 1 ? scale * sign : (gain ? 1 : 0) + 0.1 * sign);
    }
  }
  return values;
}

const Json& Goldens() {
  static const Json goldens = [] {
    std::ifstream file("tests/parity/goldens.json");
    return Json::parse(file)["cases"];
  }();
  return goldens;
}

// `tolerance` of the largest element.
void ExpectSummary(const float* values, std::size_t count, const Json& golden, double tolerance,
                   const std::string& what) {
  double squares = 0, sum = 0, largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(values[i]);
    squares += value * value;
    sum += value;
    largest = std::max(largest, std::abs(value));
  }
  const double limit = tolerance * largest + 1e-9;
  const auto root = std::sqrt(static_cast<double>(count));
  EXPECT_NEAR(std::sqrt(squares), golden["norm"].get<double>(), limit * root) << what;
  EXPECT_NEAR(sum, golden["sum"].get<double>(), limit * root * 4) << what;
  const auto elements = golden["elements"].get<std::vector<double>>();
  ASSERT_EQ(elements.size(), std::min<std::size_t>(24, count)) << what;
  for (std::size_t j = 0; j < elements.size(); ++j) {
    const std::size_t i = j * (count / elements.size());
    EXPECT_NEAR(static_cast<double>(values[i]), elements[j], limit) << what << " " << i;
  }
}

void ExpectAll(const ParameterSet& parameters, const Floats& flat, const Json& golden,
               double tolerance, const std::string& what) {
  ASSERT_EQ(golden.size(), parameters.size());
  for (const ParameterSpec& spec : parameters.specs()) {
    ASSERT_TRUE(golden.contains(spec.name)) << spec.name;
    ExpectSummary(&flat[spec.offset], spec.shape.elements(), golden[spec.name], tolerance,
                  what + " of " + spec.name);
  }
}

// Returns the loss; may put the output where it can be compared.
using Forward = std::function<Tensor(Tape&, Floats* output)>;

void ExpectParity(const std::string& name, const ParameterSet& parameters,
                  const OptimizerOptions& options, float rate, double clip,
                  const Forward& forward) {
  const Json& golden = Goldens()[name];
  Floats values = StartingValues(parameters), gradients(parameters.trainable_elements());
  const auto optimizer = MakeOptimizer(options, parameters);
  Tape tape;
  for (std::size_t step = 0; step < 10; ++step) {
    tape.Begin(parameters.Bind(values, gradients));
    Floats output;
    const Tensor loss = forward(tape, &output);
    EXPECT_NEAR(static_cast<double>(*loss.data()), golden["losses"][step].get<double>(), 2e-5)
        << "loss of step " << step;
    tape.Backward(loss);
    if (step == 0) {
      if (!output.empty()) {
        ExpectSummary(output.data(), output.size(), golden["output"], 2e-5, "output");
      }
      ExpectAll(parameters, gradients, golden["gradients"], 5e-5, "gradient");
    }
    const float scale = ClipScale(GradientNorm(gradients, nullptr), clip);
    optimizer->Step({.learning_rate = rate, .gradient_scale = scale}, values, gradients, nullptr);
  }
  ExpectAll(parameters, values, golden["after"], 5e-5, "value after ten steps");
}

Tensor MeanSquare(Tape& tape, Tensor y, const Floats& negative_target, Floats* output) {
  output->assign(y.values().begin(), y.values().end());
  const Tensor off = ops::Add(tape, y, tape.Input(y.shape(), negative_target.data()));
  return ops::Mean(tape, ops::Multiply(tape, off, off));
}

Floats Negative(Floats values) {
  for (float& value : values) value = -value;
  return values;
}

TEST(ParityTest, MlpWithSgd) {
  const auto model =
      MakeMlp({.inputs = 10, .hidden = {16, 8}, .outputs = 3, .activation = Activation::kTanh});
  const Floats x = Data(0, 50), target = Negative(Data(1, 15));
  ExpectParity("mlp", (*model)->parameters(),
               {.kind = OptimizerKind::kSgd, .nesterov = true, .weight_decay = 0.01F}, 0.05F, 0,
               [&](Tape& tape, Floats* output) {
                 const Tensor y = (*model)->Forward(tape, tape.Input({5, 10}, x.data()));
                 return MeanSquare(tape, y, target, output);
               });
}

TEST(ParityTest, NatureCnnWithRmsProp) {
  const auto model = MakeNatureCnn({.hidden = 24, .outputs = 6});
  Floats pixels;
  for (std::size_t i = 0; i < 2 * 84 * 84 * 4; ++i) {
    pixels.push_back(std::floor(static_cast<float>(Uniform(1000, i) * 256)));
  }
  const Floats target = Negative(Data(1, 12));
  ExpectParity(
      "nature_cnn", (*model)->parameters(),
      {.kind = OptimizerKind::kRmsProp, .momentum = 0, .epsilon = 1e-3F}, 1e-4F, 0,
      [&](Tape& tape, Floats* output) {
        const Tensor y = (*model)->Forward(tape, tape.Input({2, 84, 84, 4}, pixels.data()));
        return MeanSquare(tape, y, target, output);
      });
}

// Two sequences, packed without padding.
struct Tokens {
  Indices tokens = IndicesBelow(0, 18, 61), targets = IndicesBelow(1, 18, 61);
  Indices starts = {0, 11, 18}, positions = PositionsOf(starts);

  template <class Model>
  Tensor Loss(Tape& tape, const Model& model) const {
    const Tensor hidden = model.Hidden(tape, {tokens, positions, starts});
    return model.Loss(tape, hidden, targets, {}, 1.0F / 18).loss;
  }
};

TEST(ParityTest, Gpt2BlockWithAdamWAndClipping) {
  const auto model =
      Gpt2::Make({.layers = 1, .heads = 4, .width = 32, .vocabulary = 61, .context = 24});
  const Tokens tokens;
  ExpectParity("gpt2", (*model)->parameters(),
               {.kind = OptimizerKind::kAdamW, .epsilon = 1e-4F, .weight_decay = 0.1F}, 1e-3F, 0.5,
               [&](Tape& tape, Floats*) { return tokens.Loss(tape, **model); });
}

TEST(ParityTest, LlamaBlockWithAdam) {
  const auto model = Llama::Make({.layers = 1,
                                  .heads = 4,
                                  .kv_heads = 2,
                                  .width = 32,
                                  .inner = 48,
                                  .vocabulary = 61,
                                  .context = 24});
  const Tokens tokens;
  ExpectParity("llama", (*model)->parameters(), {.kind = OptimizerKind::kAdam, .epsilon = 1e-4F},
               1e-3F, 0, [&](Tape& tape, Floats*) { return tokens.Loss(tape, **model); });
}

}  // namespace
}  // namespace muster::nn
