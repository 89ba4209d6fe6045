#include <limits>

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

using kernels::FastExp;
using kernels::FastLog;

// A warp to a row, which goes through its categoricals one after the other.
__device__ std::size_t RowOfWarp() {
  return (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
}
__device__ bool FirstLane() { return threadIdx.x % kWarp == 0; }

// With z = x - largest: entropy = ln sum e^z - sum z e^z / sum e^z. The whole warp calls it. NaN is
// left to the sum of exponentials to tell.
template <class T>
__device__ CategoricalMoments MomentsOf(const T* x, std::size_t size) {
  const float largest = WarpMax(size, [=](std::size_t i) { return ToFloat(x[i]); });
  const float sum = WarpSum(size, [=](std::size_t i) { return FastExp(ToFloat(x[i]) - largest); });
  const float weighted = WarpSum(size, [=](std::size_t i) {
    const float z = ToFloat(x[i]) - largest, e = FastExp(z);
    return e == 0.0F ? 0.0F : e * z;  // z may be -infinity.
  });
  const float log_sum = FastLog(sum);
  return {largest, log_sum, log_sum - weighted / sum};
}

template <class T>
__device__ float LogProb(const T* x, const CategoricalMoments& m, std::int32_t action) {
  return (ToFloat(x[action]) - m.largest) - m.log_sum;
}

template <class T>
__global__ void ForwardRow(CategoricalForwardArgs args) {
  const CategoricalSizes& sizes = args.sizes;
  const std::size_t row = RowOfWarp();
  if (row >= sizes.rows) return;  // The whole warp.
  float log_prob = 0, entropy = 0;
  for (std::size_t s = 0; s < sizes.segments; ++s) {
    const std::int32_t begin = sizes.begins[s], end = sizes.begins[s + 1];
    const T* const x = As<T>(args.logits) + row * sizes.width + begin;
    const CategoricalMoments m = MomentsOf(x, static_cast<std::size_t>(end - begin));
    const std::size_t number = row * sizes.segments + s;
    log_prob += LogProb(x, m, args.actions[number]);
    entropy += m.entropy;
    if (FirstLane() && args.moments != nullptr) args.moments[number] = m;
  }
  if (!FirstLane()) return;
  args.log_probs[row] = log_prob;
  args.entropy[row] = entropy;
}

// d log-prob / d logit = [c is the action] - p; d entropy / d logit = -p (ln p + entropy).
template <class T>
__global__ void BackwardRow(CategoricalBackwardArgs args) {
  const CategoricalSizes& sizes = args.sizes;
  const std::size_t row = RowOfWarp();
  if (row >= sizes.rows) return;
  const float g = args.dlog_probs != nullptr ? args.dlog_probs[row] : 0.0F;
  const float h = args.dentropy != nullptr ? args.dentropy[row] : 0.0F;
  const bool masked = g == 0.0F && h == 0.0F;
  for (std::size_t s = 0; s < sizes.segments; ++s) {
    const auto begin = static_cast<std::size_t>(sizes.begins[s]),
               end = static_cast<std::size_t>(sizes.begins[s + 1]);
    const T* const x = As<T>(args.logits) + row * sizes.width;
    T* const dx = As<T>(args.dlogits) + row * sizes.width;
    const std::size_t number = row * sizes.segments + s;
    const CategoricalMoments m = args.moments[number];
    const std::size_t action = begin + static_cast<std::size_t>(args.actions[number]);
    for (std::size_t i = begin + threadIdx.x % kWarp; i < end; i += kWarp) {
      float slope = 0;
      if (!masked) {
        const float log_p = (ToFloat(x[i]) - m.largest) - m.log_sum;
        const float p = FastExp(log_p);
        const float information = p == 0.0F ? 0.0F : p * (log_p + m.entropy);
        slope = -g * p - h * information;
        if (i == action) slope += g;
      } else if (args.accumulate) {
        continue;
      }
      Put(dx[i], slope, args.accumulate);
    }
  }
}

// The first class up to which the exponentials add to more than `part` of their sum, part < 1; one
// with probability 0 never is. By one lane: rows of actions are short.
template <class T>
__device__ std::int32_t Invert(const T* x, std::size_t size, float largest, double part) {
  double total = 0;
  for (std::size_t c = 0; c < size; ++c) {
    total += static_cast<double>(FastExp(ToFloat(x[c]) - largest));
  }
  const double wanted = part * total;
  double sum = 0;
  for (std::size_t c = 0; c < size; ++c) {
    sum += static_cast<double>(FastExp(ToFloat(x[c]) - largest));
    if (sum > wanted) return static_cast<std::int32_t>(c);
  }
  return 0;  // NaN compares false. Otherwise the last sum is `total`, which is above `wanted`.
}

template <class T>
__global__ void SampleRow(SampleCategoricalArgs args) {
  const CategoricalSizes& sizes = args.sizes;
  const std::size_t row = RowOfWarp();
  if (row >= sizes.rows) return;
  const std::size_t blocks = (sizes.segments + 1) / 2;
  PhiloxBlock random{};
  float log_prob = 0;
  for (std::size_t s = 0; s < sizes.segments; ++s) {
    if (s % 2 == 0) random = DrawBlock(args.keys[row], blocks, s / 2);
    const double part = UnitDouble(random[s % 2 * 2], random[s % 2 * 2 + 1]);
    const std::int32_t begin = sizes.begins[s], end = sizes.begins[s + 1];
    const T* const x = As<T>(args.logits) + row * sizes.width + begin;
    const auto size = static_cast<std::size_t>(end - begin);
    const CategoricalMoments m = MomentsOf(x, size);
    if (!FirstLane()) continue;
    const std::int32_t action = Invert(x, size, m.largest, part);
    args.actions[row * sizes.segments + s] = action;
    log_prob += LogProb(x, m, action);
  }
  if (FirstLane() && args.log_probs != nullptr) args.log_probs[row] = log_prob;
}

template <class T>
void ForwardOf(Stream& stream, const CategoricalForwardArgs& args) {
  Launch(stream, BlocksOf(args.sizes.rows, kWarps), kThreads, ForwardRow<T>, args);
}

template <class T>
void BackwardOf(Stream& stream, const CategoricalBackwardArgs& args) {
  Launch(stream, BlocksOf(args.sizes.rows, kWarps), kThreads, BackwardRow<T>, args);
}

template <class T>
void SampleOf(Stream& stream, const SampleCategoricalArgs& args) {
  Launch(stream, BlocksOf(args.sizes.rows, kWarps), kThreads, SampleRow<T>, args);
}

// What std::max_element finds: the first that no later one is larger than.
template <class T>
void ModeOf(Stream& stream, const CategoricalModeArgs& args) {
  const CategoricalModeArgs a = args;
  const T* const logits = As<T>(args.logits);
  ForEach(stream, args.sizes.rows * args.sizes.segments, [=] __device__(std::size_t i) {
    const std::size_t row = i / a.sizes.segments, s = i % a.sizes.segments;
    const std::int32_t begin = a.sizes.begins[s], size = a.sizes.begins[s + 1] - begin;
    const T* const x = logits + row * a.sizes.width + begin;
    std::int32_t best = 0;
    for (std::int32_t c = 1; c < size; ++c) {
      if (ToFloat(x[best]) < ToFloat(x[c])) best = c;
    }
    a.actions[i] = best;
  });
}

}  // namespace

void CategoricalForward(Stream& stream, const CategoricalForwardArgs& args) {
  MUSTER_BY_TYPE(args.sizes.type, ForwardOf, stream, args);
}

void CategoricalBackward(Stream& stream, const CategoricalBackwardArgs& args) {
  MUSTER_BY_TYPE(args.sizes.type, BackwardOf, stream, args);
}

void SampleCategorical(Stream& stream, const SampleCategoricalArgs& args) {
  MUSTER_BY_TYPE(args.sizes.type, SampleOf, stream, args);
}

void CategoricalMode(Stream& stream, const CategoricalModeArgs& args) {
  MUSTER_BY_TYPE(args.sizes.type, ModeOf, stream, args);
}

}  // namespace muster::cuda
