// How fast one thread (or, with an argument, several) trains the CNN of the main job.
// Prints images/s of forward + backward, the GFLOP/s of its products, and the optimiser's share.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/philox.h"
#include "bench/median.h"
#include "nn/models/cnn.h"
#include "nn/optim/gradient_norm.h"
#include "nn/optim/optimizer.h"
#include "tensor/kernels/softmax_cross_entropy.h"

namespace {

using Clock = std::chrono::steady_clock;

double MillisSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::size_t kBatch = 32;
  constexpr int kSteps = 300;
  // Multiply-adds of a sample: forward, and the two gradients but the first layer's input's.
  constexpr double kConv1 = 28 * 28 * 32 * 9, kConv2 = 14 * 14 * 64 * 288;
  constexpr double kHead = 3136 * 128 + 128 * 10;
  constexpr double kFlops = 2 * (2 * kConv1 + 3 * kConv2 + 3 * kHead);
  const std::size_t threads = argc > 1 ? static_cast<std::size_t>(std::atoi(argv[1])) : 1;

  auto model = muster::nn::MakeCnn({});
  const muster::nn::ParameterSet& parameters = (*model)->parameters();
  std::vector<float> values(parameters.flat_elements()), gradients(values.size());
  parameters.Initialize(1, values);
  const auto leaves = parameters.Bind(values, gradients);
  auto optimizer = muster::nn::MakeOptimizer({.weight_decay = 0.01F}, parameters);
  std::vector<float> images(kBatch * 28 * 28);
  std::vector<std::int32_t> labels(kBatch);
  for (std::size_t i = 0; i < images.size(); ++i) {
    images[i] =
        muster::UnitFloat(muster::RandomBlock(2, muster::RandomPurpose::kAugmentation, 0, i)[0]);
  }
  for (std::size_t i = 0; i < kBatch; ++i) labels[i] = static_cast<std::int32_t>(i % 10);

  muster::ThreadPool pool(threads);
  muster::Tape tape({.pool = threads > 1 ? &pool : nullptr});
  std::vector<double> compute_ms, update_ms;
  float loss = 0.0F;
  for (int step = 0; step < kSteps; ++step) {
    const auto start = Clock::now();
    tape.Begin(leaves);
    const muster::Tensor logits =
        (*model)->Forward(tape, tape.Input({kBatch, 28, 28, 1}, images.data()));
    const auto result = muster::ops::SoftmaxCrossEntropy(tape, logits, labels, 1.0F / kBatch);
    tape.Backward(result.loss);
    loss = *result.loss.data();
    compute_ms.push_back(MillisSince(start));
    const auto update = Clock::now();
    const double norm = muster::nn::GradientNorm(gradients, &pool);
    optimizer->Step({1e-3F, muster::nn::ClipScale(norm, 1.0)}, values, gradients, &pool);
    update_ms.push_back(MillisSince(update));
  }
  const double ms = muster::Median(compute_ms);
  std::printf(
      "%zu thread(s), batch %zu: %.0f images/s, %.3f ms a step, %.0f GFLOP/s, update %.3f "
      "ms, last loss %.4f, arena %.1f MiB\n",
      threads, kBatch, kBatch / ms * 1e3, ms, kBatch * kFlops / ms * 1e-6,
      muster::Median(update_ms), static_cast<double>(loss),
      static_cast<double>(tape.arena().peak_bytes()) / 1048576.0);
  return 0;
}
