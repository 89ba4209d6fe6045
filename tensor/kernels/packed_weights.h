// Weights in the layout that the kernels read, made once for many inference steps over the same
// values: a product of few rows (token by token generation) then costs what reading them costs.
#pragma once

#include <cstddef>
#include <map>
#include <memory>

#include "tensor/kernels/gemm.h"
#include "tensor/tensor.h"

namespace muster {

// A copy of each weight that linear layers ask for, beside the caller's own: as much memory again
// in f32 and bf16 (twice that in bf16 on a processor without bf16 products). One thread at a time.
class PackedWeights {
 public:
  // Of a weight [out, in], packed at the first call for its memory. The values may not change until
  // Clear.
  const kernels::PackedOperand& Of(const Tensor& weight);

  // Whoever changes the values says so.
  void Clear() { packed_.clear(); }

  std::size_t bytes() const;

 private:
  struct Free {
    void operator()(float* memory) const;
  };
  struct Packed {
    std::unique_ptr<float[], Free> memory;
    kernels::PackedOperand operand;
  };
  std::map<const void*, Packed> packed_;  // By the caller's memory; never walked for a result.
};

}  // namespace muster
