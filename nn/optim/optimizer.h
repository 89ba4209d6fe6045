// Optimizer: SGD with momentum, RMSProp, Adam and AdamW over a flat parameter vector.
// Sources: Sutskever et al., ICML'13 (momentum, in PyTorch's form); Tieleman and Hinton,
// lecture 6.5 (RMSProp, in PyTorch's form); Kingma and Ba, arXiv:1412.6980, algorithm 1; Loshchilov
// and Hutter, arXiv:1711.05101, algorithm 2 (decoupled decay).
//
// Values are f32 whatever the network computes in; for one that computes in bf16 the same pass
// writes their rounded copies.
//
// A step is one pass over values, gradients and state in blocks of fixed size. Every element is
// computed alone, so the pool's threads do not change bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nn/parameters.h"
#include "tensor/bfloat16.h"
#include "tensor/thread_pool.h"

namespace muster::nn {

enum class OptimizerKind : std::uint8_t { kSgd, kAdam, kAdamW, kRmsProp };

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  float momentum = 0.9F;  // SGD, RMSProp: v = momentum v + g; 0 keeps no state.
  bool nesterov = false;  // SGD only: the step is g + momentum v.
  float beta1 = 0.9F;     // Adam, AdamW.
  float beta2 = 0.999F;   // Adam, AdamW.
  float epsilon = 1e-8F;  // Adam, AdamW, RMSProp; outside the square root.
  // Adam, AdamW: the epsilon of the paper's section 2 ("epsilon hat", as in TensorFlow), added to
  // the root before its bias is corrected; otherwise after, as in PyTorch.
  bool epsilon_hat = false;
  float alpha = 0.99F;        // RMSProp: v = alpha v + (1 - alpha) g^2.
  float weight_decay = 0.0F;  // Added to the gradient; in AdamW w -= rate * decay * w instead.
};

// Elements [begin, end) of the flat vector.
struct FlatRange {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t size() const { return end - begin; }
};

struct OptimizerStep {
  float learning_rate = 0.0F;
  float gradient_scale = 1.0F;  // Multiplies every gradient first; see ClipScale.
  // As long as the values: where their copies for the network go. Empty = it computes in f32.
  std::span<BFloat16> narrow_values{};
};

// A vector of the optimizer's state, as long as its ranges of the flat vector and laid out like
// them.
struct NamedState {
  std::string name;  // "momentum"; "exp_avg", "exp_avg_sq"; "square_avg".
  std::span<float> values;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // values -= update, both of the optimizer's ranges, one after another. All parameters with
  // spec.decay are subject to weight decay.
  virtual void Step(const OptimizerStep& step, std::span<float> values,
                    std::span<const float> gradients, ThreadPool* pool) = 0;

  // What a checkpoint holds: these vectors and the number of steps taken.
  virtual std::vector<NamedState> State() = 0;
  std::uint64_t steps_done() const { return steps_done_; }
  void RestoreStepsDone(std::uint64_t steps) { steps_done_ = steps; }

 protected:
  std::uint64_t steps_done_ = 0;
};

// Of all that is trained, or of ascending, disjoint ranges of it: a shard, whose state is the only
// one held here. An element's bits do not depend on the ranges.
std::unique_ptr<Optimizer> MakeOptimizer(const OptimizerOptions& options,
                                         const ParameterSet& parameters);
std::unique_ptr<Optimizer> MakeOptimizer(const OptimizerOptions& options,
                                         const ParameterSet& parameters, FlatRange range);
std::unique_ptr<Optimizer> MakeOptimizer(const OptimizerOptions& options,
                                         const ParameterSet& parameters,
                                         std::span<const FlatRange> ranges);

}  // namespace muster::nn
