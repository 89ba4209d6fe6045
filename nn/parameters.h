// ParameterSet: the names, shapes and places of a model's parameters in one flat f32 vector.
//
// Parameters are numbered in the order of Add (the forward order). In the flat vector they lie in
// REVERSE order, so that the backward pass completes gradients from offset 0 upwards and a bucket
// of neighbours can be reduced while the rest is still being computed. Frozen ones lie behind all
// others, so that gradients and the optimiser's state end before them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/shape.h"

namespace muster::nn {

// What a parameter starts as; uniform bounds and deviations are sqrt(factor / fan_in).
enum class Initialization : std::uint8_t {
  kZeros,
  kOnes,
  kKaimingUniform,  // U(-b, b), b = sqrt(3 gain^2 / fan_in): He et al., arXiv:1502.01852, eq. 10.
  kKaimingNormal,   // N(0, gain^2 / fan_in).
  // Seen as a matrix [shape[0], the rest]: gain times orthonormal rows, or columns where there are
  // fewer of them, drawn uniformly. Saxe et al., arXiv:1312.6120, section 3.
  kOrthogonal,
};

struct ParameterSpec {
  std::string name;  // "conv1.weight"; the tensor's name in checkpoints.
  Shape shape;
  Initialization initialization = Initialization::kZeros;
  float gain = 1.0F;       // sqrt 2 before a relu, 5/3 before a tanh, 1 before nothing.
  std::size_t fan_in = 1;  // Inputs of one output unit.
  bool decay = true;       // Subject to weight decay: matrices and kernels, not biases and norms.
  bool frozen = false;     // Not trained: it has a value and nothing else.
  std::size_t offset = 0;  // In elements; a multiple of kAlignment. Set by ParameterSet.
};

class ParameterSet {
 public:
  static constexpr std::size_t kAlignment = 16;  // Elements: one cache line.

  // Returns the parameter's number. Names are unique.
  std::size_t Add(ParameterSpec spec);

  // Before anything is allocated by these sizes: offsets change.
  void Freeze(std::size_t number);

  std::size_t size() const { return specs_.size(); }
  const ParameterSpec& operator[](std::size_t number) const { return specs_[number]; }
  std::span<const ParameterSpec> specs() const { return specs_; }

  // Elements of the flat vector, gaps for alignment included. Gaps hold zeros for ever: whoever
  // allocates value and gradient vectors clears them once.
  std::size_t flat_elements() const { return flat_elements_; }
  // Those before the frozen ones: what gradients, the optimiser and its state are sized by.
  std::size_t trainable_elements() const { return trainable_elements_; }
  // Elements of the parameters themselves.
  std::size_t parameter_elements() const;

  // The numbers in the order in which the backward pass completes them = ascending offset; without
  // the frozen ones.
  std::vector<std::size_t> ReadyOrder() const;

  // Writes the starting values, each from (seed, kInitialization, parameter number, element).
  void Initialize(std::uint64_t seed, std::span<float> values) const;

  // What Tape::Begin takes: flat_elements() values and trainable_elements() gradients, in inference
  // none.
  std::vector<LeafBinding> Bind(std::span<const float> values, std::span<float> gradients) const;
  std::vector<LeafBinding> Bind(std::span<const BFloat16> values, std::span<float> gradients) const;

 private:
  template <class T>
  std::vector<LeafBinding> BindTo(std::span<const T> values, std::span<float> gradients) const;

  void LayOut();

  std::vector<ParameterSpec> specs_;
  std::size_t flat_elements_ = 0;
  std::size_t trainable_elements_ = 0;
};

}  // namespace muster::nn
