#include <cmath>

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/kernels/descending_key.h"
#include "tensor/kernels/sampling.h"

namespace muster::cuda {

namespace {

using Key = unsigned long long;

// One row, by a block of threads. What is kept is said by the last key (descending_key.h) that is:
// such a bound is found by halving the range of keys, so nothing is sorted.
template <class T>
struct Row {
  const T* logits;
  std::size_t width;
  SamplingOptions options;
  float largest;
  Key last;  // Tokens of larger keys are filtered out.

  __device__ float Logit(std::size_t i) const { return ToFloat(logits[i]); }
  __device__ Key KeyOf(std::size_t i) const { return kernels::DescendingKey(Logit(i), i); }
  __device__ float WeightOf(std::size_t i) const {
    return kernels::FastExp((Logit(i) - largest) / options.temperature);
  }
  // What the draw goes by: 0 for what the filters took.
  __device__ double Share(std::size_t i) const {
    const float weight = KeyOf(i) <= last ? WeightOf(i) : 0.0F;
    return weight < options.min_p ? 0.0 : static_cast<double>(weight);
  }

  // The smallest key for which enough(key) holds, which stays true from there on; `most` if none
  // smaller. All threads call it.
  template <class Enough>
  __device__ Key SmallestKey(Key most, const Enough& enough) const {
    Key low = 0, high = most;
    while (low < high) {
      const Key middle = low + (high - low) / 2;
      if (enough(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  __device__ Key LastOfTopK() const {
    const auto count = static_cast<double>(options.top_k);
    return SmallestKey(last, [&](Key key) {
      return BlockSumInDouble(width, [&](std::size_t i) { return KeyOf(i) <= key ? 1.0 : 0.0; }) >=
             count;
    });
  }

  // Of what is kept so far.
  __device__ Key LastOfNucleus() const {
    const auto weight_up_to = [&](Key key) {
      return BlockSumInDouble(width,
                              [&](std::size_t i) { return KeyOf(i) <= key ? WeightOf(i) : 0.0F; });
    };
    const double share = static_cast<double>(options.top_p) * weight_up_to(last);
    return SmallestKey(last, [&](Key key) { return weight_up_to(key) >= share; });
  }

  // ln softmax(logits)[token].
  __device__ float LogProb(std::size_t token) const {
    const double sum = BlockSumInDouble(
        width, [&](std::size_t i) { return kernels::FastExp(Logit(i) - largest); });
    return static_cast<float>(static_cast<double>(Logit(token)) - static_cast<double>(largest) -
                              std::log(sum));
  }
};

// Thread t has the t-th piece of the row; the pieces' sums are added in their order.
template <class T>
__device__ SampledToken Draw(const Row<T>& row, const RandomKey& key) {
  __shared__ double sums[kThreads];
  __shared__ double total_sum, drawn_share;
  __shared__ std::size_t drawn;
  const std::size_t piece = (row.width + kThreads - 1) / kThreads;
  const std::size_t begin = piece * threadIdx.x;
  const std::size_t end = begin + piece < row.width ? begin + piece : row.width;
  double sum = 0;
  for (std::size_t i = begin; i < end; ++i) sum += row.Share(i);
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0;
    for (unsigned t = 0; t < kThreads; ++t) total += sums[t];
    const PhiloxBlock random = RandomBlock(key);
    const double target = UnitDouble(random[0], random[1]) * total;
    // The first piece at whose end the sum is above the target, else the last that weighs anything.
    double before = 0, until = 0;
    unsigned chosen = 0;
    for (unsigned t = 0; t < kThreads && until <= target; ++t) {
      if (sums[t] == 0) continue;
      chosen = t;
      before = until;
      until = before + sums[t];
    }
    for (std::size_t i = piece * chosen; i < piece * (chosen + 1) && i < row.width; ++i) {
      const double share = row.Share(i);
      if (share == 0) continue;
      drawn = i;
      drawn_share = share;
      before += share;
      if (before > target) break;
    }
    total_sum = total;
  }
  __syncthreads();
  const double log_prob = std::log(drawn_share) - std::log(total_sum);
  return {static_cast<std::int32_t>(drawn), row.LogProb(drawn), static_cast<float>(log_prob)};
}

template <class T>
__global__ void SampleRow(SampleArgs args) {
  const SamplingRow& wanted = args.options[blockIdx.x];
  Row<T> row{As<T>(args.logits) + blockIdx.x * args.vocabulary, args.vocabulary, wanted.options, 0,
             ~Key{0}};
  row.largest = BlockMax(row.width, [&](std::size_t i) { return row.Logit(i); });
  SampledToken token;
  if (!std::isfinite(row.largest)) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    token = {-1, nan, nan};
  } else if (row.options.temperature == 0) {
    const Key first = BlockMin(row.width, [&](std::size_t i) { return row.KeyOf(i); });
    const std::size_t index = kernels::IndexOf(first);
    token = {static_cast<std::int32_t>(index), row.LogProb(index), 0.0F};
  } else {
    if (row.options.top_k > 0 && row.options.top_k < row.width) row.last = row.LastOfTopK();
    if (row.options.top_p < 1) row.last = row.LastOfNucleus();
    token = Draw(row, wanted.key);
  }
  if (threadIdx.x == 0) args.tokens[blockIdx.x] = token;
}

template <class T>
void SampleOf(Stream& stream, const SampleArgs& args) {
  Launch(stream, BlocksOf(args.rows, 1), kThreads, SampleRow<T>, args);
}

}  // namespace

void Sample(Stream& stream, const SampleArgs& args) {
  MUSTER_BY_TYPE(args.type, SampleOf, stream, args);
}

}  // namespace muster::cuda
