#include <cmath>
#include <limits>

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

using kernels::FastExp;

constexpr std::size_t kSlice = 2048;    // Of the vocabulary.
constexpr std::int32_t kNoTarget = -1;  // linear_cross_entropy.h

// ln of the sum of e^logit and the sum of e^logit logit, so far, and the target's logit.
struct Running {
  float most, sum, weighted, target;
};

std::size_t SliceOf(std::size_t vocabulary, std::size_t first) {
  return vocabulary - first < kSlice ? vocabulary - first : kSlice;
}

// f32 logits [rows, columns] of the slice from `first` on.
template <class T, class Args>
void Logits(Stream& stream, const Args& args, std::size_t first, std::size_t columns, float* to) {
  ProductArgs product;
  product.rows = args.rows;
  product.columns = columns;
  product.inner = args.width;
  product.type = args.type;
  product.a = {args.x, args.width, 1};
  product.b = {As<T>(args.weight) + first * args.width, 1, args.width};
  product.c = to;
  product.c_row_stride = columns;
  Product(stream, product);
}

// A block of threads to a row.
__global__ void TakeSlice(const float* slice, std::size_t columns, std::size_t first,
                          const std::int32_t* targets, Running* states) {
  const float* const logits = slice + blockIdx.x * columns;
  Running state = states[blockIdx.x];
  if (first == 0) state = {-std::numeric_limits<float>::infinity(), 0, 0, 0};
  const float here = BlockMax(columns, [=](std::size_t i) { return logits[i]; });
  const float most = state.most > here ? state.most : here;  // Also NaN.
  const float shrink = FastExp(state.most - most);
  const float sum = BlockSum(columns, [=](std::size_t i) { return FastExp(logits[i] - most); });
  const float weighted =
      BlockSum(columns, [=](std::size_t i) { return FastExp(logits[i] - most) * logits[i]; });
  if (threadIdx.x != 0) return;
  const std::int32_t target = targets[blockIdx.x];
  const auto at = static_cast<std::size_t>(target);
  if (target >= 0 && at >= first && at < first + columns) state.target = logits[at - first];
  states[blockIdx.x] = {most, state.sum * shrink + sum, state.weighted * shrink + weighted,
                        state.target};
}

void FinishRows(Stream& stream, const LinearCrossEntropyArgs& args, const Running* states) {
  const LinearCrossEntropyArgs a = args;
  ForEach(stream, args.rows, [=] __device__(std::size_t row) {
    const Running state = states[row];
    const float log_sum = state.most + std::log(state.sum);
    const bool asked = a.targets[row] != kNoTarget;
    a.log_sums[row] = log_sum;
    a.log_probs[row] = asked ? state.target - log_sum : 0.0F;
    a.entropies[row] = asked ? log_sum - state.weighted / state.sum : 0.0F;
  });
}

__global__ void AddLosses(LinearCrossEntropyArgs args) {
  const double loss = BlockSumInDouble(args.rows, [=](std::size_t row) {
    if (args.targets[row] == kNoTarget) return 0.0;
    return -static_cast<double>(args.weights[row]) * static_cast<double>(args.log_probs[row]);
  });
  if (threadIdx.x == 0) args.loss[0] = static_cast<float>(loss);
}

template <class T>
void ForwardOf(Stream& stream, const LinearCrossEntropyArgs& args) {
  auto* const logits = stream.Scratch<float>(args.rows * SliceOf(args.vocabulary, 0));
  auto* const states = stream.Scratch<Running>(args.rows);
  for (std::size_t first = 0; first < args.vocabulary; first += kSlice) {
    const std::size_t columns = SliceOf(args.vocabulary, first);
    Logits<T>(stream, args, first, columns, logits);
    Launch(stream, BlocksOf(args.rows, 1), kThreads, TakeSlice, logits, columns, first,
           args.targets, states);
  }
  FinishRows(stream, args, states);
  Launch(stream, 1, kThreads, AddLosses, args);
}

// d loss / d logit = weight (p - [is the target]).
template <class T>
void Slopes(Stream& stream, const LinearCrossEntropyBackwardArgs& args, std::size_t first,
            std::size_t columns, const float* logits, T* slopes) {
  const LinearCrossEntropyBackwardArgs a = args;
  ForEach(stream, args.rows * columns, [=] __device__(std::size_t i) {
    const std::size_t row = i / columns, token = first + i % columns;
    const std::int32_t target = a.targets[row];
    const float weight = a.weights[row] * a.dy[0];
    const float p = FastExp(logits[i] - a.log_sums[row]);
    const bool is_target = target >= 0 && static_cast<std::size_t>(target) == token;
    const float slope = is_target ? weight * (p - 1.0F) : p * weight;
    slopes[i] = T(target == kNoTarget ? 0.0F : slope);
  });
}

// sums (+)= slopes W: slice after slice.
template <class T>
void InputGradient(Stream& stream, const LinearCrossEntropyBackwardArgs& args, const T* slopes,
                   std::size_t first, std::size_t columns, float* sums) {
  ProductArgs product;
  product.rows = args.rows;
  product.columns = args.width;
  product.inner = columns;
  product.type = args.type;
  product.a = {slopes, columns, 1};
  product.b = {As<T>(args.weight) + first * args.width, args.width, 1};
  product.accumulate = first > 0;
  product.c = sums;
  product.c_row_stride = args.width;
  Product(stream, product);
}

// dW of the slice (+)= slopes^T x.
template <class T>
void WeightGradient(Stream& stream, const LinearCrossEntropyBackwardArgs& args, const T* slopes,
                    std::size_t first, std::size_t columns) {
  ProductArgs product;
  product.rows = columns;
  product.columns = args.width;
  product.inner = args.rows;
  product.type = args.type;
  product.a = {slopes, 1, columns};
  product.b = {args.x, args.width, 1};
  product.accumulate = args.accumulate_weight;
  product.c = args.dweight + first * args.width;
  product.c_row_stride = args.width;
  Product(stream, product);
}

template <class T>
void BackwardOf(Stream& stream, const LinearCrossEntropyBackwardArgs& args) {
  const std::size_t slice = SliceOf(args.vocabulary, 0), inputs = args.rows * args.width;
  auto* const logits = stream.Scratch<float>(args.rows * slice);
  auto* const slopes = stream.Scratch<T>(args.rows * slice);
  auto* const sums = args.dx != nullptr ? stream.Scratch<float>(inputs) : nullptr;
  for (std::size_t first = 0; first < args.vocabulary; first += kSlice) {
    const std::size_t columns = SliceOf(args.vocabulary, first);
    Logits<T>(stream, args, first, columns, logits);
    Slopes(stream, args, first, columns, logits, slopes);
    if (sums != nullptr) InputGradient(stream, args, slopes, first, columns, sums);
    if (args.dweight != nullptr) WeightGradient(stream, args, slopes, first, columns);
  }
  if (sums == nullptr) return;
  T* const dx = As<T>(args.dx);
  const bool accumulate = args.accumulate_x;
  ForEach(stream, inputs, [=] __device__(std::size_t i) { Put(dx[i], sums[i], accumulate); });
}

}  // namespace

void LinearCrossEntropy(Stream& stream, const LinearCrossEntropyArgs& args) {
  MUSTER_BY_TYPE(args.type, ForwardOf, stream, args);
}

void LinearCrossEntropyBackward(Stream& stream, const LinearCrossEntropyBackwardArgs& args) {
  MUSTER_BY_TYPE(args.type, BackwardOf, stream, args);
}

}  // namespace muster::cuda
