// A tape of one's own for a policy that only acts.
#pragma once

#include <span>
#include <vector>

#include "tensor/autograd/tape.h"
#include "trainer/rl/policy.h"

namespace muster::rl {

// Of one thread.
class PolicyTape {
 public:
  // For policies of this one's shape.
  explicit PolicyTape(const Policy& policy) : tape_(TapeOptions{.inference = true}) {
    for (const nn::ParameterSpec& spec : policy.parameters().specs()) {
      bindings_.push_back({spec.shape, nullptr, nullptr});
      offsets_.push_back(spec.offset);
    }
  }
  // Empty, bound to `values`, laid out as the policy's parameters, which must outlive its use.
  Tape& Begin(std::span<const float> values) {
    for (std::size_t i = 0; i < bindings_.size(); ++i) {
      bindings_[i].values = values.data() + offsets_[i];
    }
    tape_.Begin(bindings_);
    return tape_;
  }

 private:
  Tape tape_;
  std::vector<LeafBinding> bindings_;
  std::vector<std::size_t> offsets_;
};

}  // namespace muster::rl
