#include "nn/optim/optimizer.h"

#include <cmath>

#include "nn/optim/gradient_norm.h"
#include "tests/support/gpu.h"

namespace muster {
namespace {

using nn::OptimizerKind;
using testing::RandomValues;

class GpuOptimizer : public testing::GpuTest {
 protected:
  // Three steps of each, which have the same bits; values, copies and state.
  void Check(const nn::OptimizerOptions& options);
};

// Two parameters, of which one decays and is longer than a block.
nn::ParameterSet Parameters() {
  nn::ParameterSet set;
  set.Add({.name = "bias", .shape = {17}, .decay = false});
  set.Add({.name = "weight", .shape = {70'000}, .decay = true});
  return set;
}

std::vector<cuda::OptimizerSegment> SegmentsOf(const nn::ParameterSet& set, float decay) {
  std::vector<cuda::OptimizerSegment> segments;
  for (const nn::ParameterSpec& spec : set.specs()) {
    const std::size_t end = spec.offset + spec.shape.elements();
    for (std::size_t begin = spec.offset; begin < end; begin += 65536) {
      segments.push_back({begin, std::min(end, begin + 65536), spec.decay ? decay : 0.0F});
    }
  }
  return segments;
}

void GpuOptimizer::Check(const nn::OptimizerOptions& options) {
  SCOPED_TRACE(static_cast<int>(options.kind));
  const nn::ParameterSet set = Parameters();
  const std::size_t count = set.flat_elements();
  std::vector<float> values = RandomValues<float>(count, 1);
  std::vector<BFloat16> narrow(count);
  const auto segments = SegmentsOf(set, options.weight_decay);
  cuda::OptimizerVectors vectors{
      Upload(segments), segments.size(), Upload(values), nullptr, Upload(narrow), 0.01F, 0.5F};
  float *const first = Room<float>(count), *const second = Room<float>(count);
  const auto optimizer = nn::MakeOptimizer(options, set);
  for (unsigned step = 1; step <= 3; ++step) {
    const auto gradients = RandomValues<float>(count, 10 + step);
    optimizer->Step({0.01F, 0.5F, narrow}, values, gradients, nullptr);
    vectors.gradients = Upload(gradients);
    if (options.kind == OptimizerKind::kSgd) {
      Must(functions_->SgdStep(stream_, {vectors, options.momentum != 0 ? first : nullptr,
                                         options.momentum, options.nesterov}));
    } else if (options.kind == OptimizerKind::kRmsProp) {
      Must(functions_->RmsPropStep(
          stream_, {vectors, first, options.momentum != 0 ? second : nullptr, options.alpha,
                    options.epsilon, options.momentum}));
    } else {
      const double correction1 = 1 - std::pow(static_cast<double>(options.beta1), step);
      const double correction2 = 1 - std::pow(static_cast<double>(options.beta2), step);
      Must(functions_->AdamStep(
          stream_,
          {vectors, first, second, options.beta1, options.beta2, options.epsilon,
           static_cast<float>(static_cast<double>(0.01F) / correction1),
           static_cast<float>(1 / std::sqrt(correction2)), options.kind == OptimizerKind::kAdamW}));
    }
    ExpectSameBits(vectors.values, values.data(), count, "values");
    ExpectSameBits(vectors.narrow_values, narrow.data(), count, "narrow values");
  }
  const auto state = optimizer->State();
  if (!state.empty()) ExpectSameBits(first, state[0].values.data(), count, "first state");
  if (state.size() > 1) ExpectSameBits(second, state[1].values.data(), count, "second state");
}

TEST_F(GpuOptimizer, StepsHaveTheBitsOfTheCpu) {
  Check({.kind = OptimizerKind::kSgd, .momentum = 0, .weight_decay = 0.1F});
  Check({.kind = OptimizerKind::kSgd, .nesterov = true});
  Check({.kind = OptimizerKind::kAdam, .weight_decay = 0.1F});
  Check({.kind = OptimizerKind::kAdamW, .weight_decay = 0.1F});
  Check({.kind = OptimizerKind::kRmsProp, .momentum = 0});
  Check({.kind = OptimizerKind::kRmsProp, .weight_decay = 0.1F});
}

TEST_F(GpuOptimizer, GradientNorm) {
  double* const norm = Room<double>(1);
  for (const std::size_t count : {0, 1, 65536, 300'001}) {
    const auto gradients = RandomValues<float>(count, 2);
    Must(functions_->GradientNorm(stream_, {count, Upload(gradients), norm}));
    EXPECT_NEAR(Download(norm, 1)[0], nn::GradientNorm(gradients, nullptr), 1e-9);
  }
}

}  // namespace
}  // namespace muster
