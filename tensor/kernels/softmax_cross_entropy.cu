#include <cmath>

#include "tensor/cuda/block.cuh"
#include "tensor/cuda/op_functions.cuh"
#include "tensor/kernels/descending_key.h"

namespace muster::cuda {

namespace {

using kernels::FastExp;

// A block of threads to a row: its loss in nats, and 1 if its first largest logit is the target's.
__global__ void ScoreRow(SoftmaxCrossEntropyArgs args, double* losses, double* correct) {
  const std::size_t at = blockIdx.x * args.classes;
  const float* const logits = args.logits + at;
  const unsigned long long key = BlockMin(args.classes, [=](std::size_t c) -> unsigned long long {
    return kernels::DescendingKey(logits[c], c);
  });
  const std::size_t first = kernels::IndexOf(key);
  const float largest = logits[first];
  const double total =
      BlockSumInDouble(args.classes, [=](std::size_t c) { return FastExp(logits[c] - largest); });
  const auto sum = static_cast<float>(total);
  if (args.probabilities != nullptr) {
    for (std::size_t c = threadIdx.x; c < args.classes; c += kThreads) {
      args.probabilities[at + c] = FastExp(logits[c] - largest) / sum;
    }
  }
  if (threadIdx.x != 0) return;
  const auto target = static_cast<std::size_t>(args.targets[blockIdx.x]);
  losses[blockIdx.x] =
      std::log(total) + static_cast<double>(largest) - static_cast<double>(logits[target]);
  correct[blockIdx.x] = first == target ? 1 : 0;
}

__global__ void AddScores(SoftmaxCrossEntropyArgs args, const double* losses,
                          const double* correct) {
  const double loss = BlockSumInDouble(args.rows, [=](std::size_t row) { return losses[row]; });
  const double right = BlockSumInDouble(args.rows, [=](std::size_t row) { return correct[row]; });
  if (threadIdx.x != 0) return;
  args.loss_sum[0] = loss;
  args.correct[0] = right;
  if (args.loss != nullptr) {
    args.loss[0] = static_cast<float>(loss * static_cast<double>(args.scale));
  }
}

}  // namespace

void SoftmaxCrossEntropy(Stream& stream, const SoftmaxCrossEntropyArgs& args) {
  auto* const losses = stream.Scratch<double>(args.rows);
  auto* const correct = stream.Scratch<double>(args.rows);
  Launch(stream, BlocksOf(args.rows, 1), kThreads, ScoreRow, args, losses, correct);
  Launch(stream, 1, kThreads, AddScores, args, losses, correct);
}

// d loss / d logit = scale * (p - [c is the target]).
void SoftmaxCrossEntropyBackward(Stream& stream, const SoftmaxCrossEntropyBackwardArgs& args) {
  const SoftmaxCrossEntropyBackwardArgs a = args;
  ForEach(stream, args.rows * args.classes, [=] __device__(std::size_t i) {
    const float factor = a.dy[0] * a.scale;
    const bool is_target = static_cast<std::size_t>(a.targets[i / a.classes]) == i % a.classes;
    Put(a.dx[i], factor * (a.probabilities[i] - (is_target ? 1.0F : 0.0F)), a.accumulate);
  });
}

}  // namespace muster::cuda
