#include <cmath>

#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

// A block of threads to a segment: update(i, gradient, decay) gives element i's new value.
template <class Update>
__global__ void StepSegment(OptimizerVectors v, Update update) {
  const OptimizerSegment segment = v.segments[blockIdx.x];
  for (std::size_t i = segment.begin + threadIdx.x; i < segment.end; i += kThreads) {
    const float value = update(i, v.gradients[i] * v.gradient_scale, segment.decay);
    v.values[i] = value;
    if (v.narrow_values != nullptr) v.narrow_values[i] = BFloat16(value);
  }
}

template <class Update>
void ForSegments(Stream& stream, const OptimizerVectors& vectors, const Update& update) {
  Launch(stream, BlocksOf(vectors.segments_count, 1), kThreads, StepSegment<Update>, vectors,
         update);
}

}  // namespace

void SgdStep(Stream& stream, const SgdStepArgs& args) {
  const SgdStepArgs a = args;
  ForSegments(stream, args.vectors, [=] __device__(std::size_t i, float gradient, float decay) {
    const float w = a.vectors.values[i], g = gradient + decay * w;
    if (a.momenta == nullptr) return w - a.vectors.learning_rate * g;
    const float v = a.momentum * a.momenta[i] + g;
    a.momenta[i] = v;
    const float own = a.nesterov ? 1.0F : 0.0F, from_v = a.nesterov ? a.momentum : 1.0F;
    return w - a.vectors.learning_rate * (own * g + from_v * v);
  });
}

void AdamStep(Stream& stream, const AdamStepArgs& args) {
  const AdamStepArgs a = args;
  ForSegments(stream, args.vectors, [=] __device__(std::size_t i, float gradient, float decay) {
    const float into_gradient = a.decoupled_decay ? 0.0F : decay;
    const float keep = a.decoupled_decay ? 1.0F - a.vectors.learning_rate * decay : 1.0F;
    const float w = a.vectors.values[i], g = gradient + into_gradient * w;
    const float m = a.beta1 * a.first[i] + (1.0F - a.beta1) * g;
    const float v = a.beta2 * a.second[i] + (1.0F - a.beta2) * g * g;
    a.first[i] = m;
    a.second[i] = v;
    const float denominator = std::sqrt(v) * a.root + a.epsilon;
    return w * keep - a.step * (m / denominator);
  });
}

void RmsPropStep(Stream& stream, const RmsPropStepArgs& args) {
  const RmsPropStepArgs a = args;
  ForSegments(stream, args.vectors, [=] __device__(std::size_t i, float gradient, float decay) {
    const float w = a.vectors.values[i], g = gradient + decay * w;
    const float v = a.alpha * a.squares[i] + (1.0F - a.alpha) * g * g;
    a.squares[i] = v;
    const float direction = g / (std::sqrt(v) + a.epsilon);
    if (a.momenta == nullptr) return w - a.vectors.learning_rate * direction;
    const float m = a.momentum * a.momenta[i] + direction;
    a.momenta[i] = m;
    return w - a.vectors.learning_rate * m;
  });
}

}  // namespace muster::cuda
