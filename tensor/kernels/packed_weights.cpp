#include "tensor/kernels/packed_weights.h"

#include <new>
#include <string>

#include "base/check.h"

namespace muster {

namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

void PackedWeights::Free::operator()(float* memory) const {
  ::operator delete[](memory, kAlignment);
}

const kernels::PackedOperand& PackedWeights::Of(const Tensor& weight) {
  MUSTER_CHECK(weight.shape().rank() == 2, "a weight " + weight.shape().ToString());
  const std::size_t out = weight.shape()[0], in = weight.shape()[1];
  Packed& packed = packed_[weight.raw()];
  if (packed.memory == nullptr) {
    const std::size_t floats = kernels::PackedFloats(in, out, weight.type());
    packed.memory.reset(static_cast<float*>(::operator new[](floats * sizeof(float), kAlignment)));
    packed.operand =
        kernels::Pack({weight.raw(), 1, in}, in, out, weight.type(), packed.memory.get());
  }
  MUSTER_CHECK(packed.operand.inner == in && packed.operand.columns == out &&
                   packed.operand.type == weight.type(),
               "the packed weight of another tensor lies where " + weight.shape().ToString() +
                   " does; Clear was not called");
  return packed.operand;
}

std::size_t PackedWeights::bytes() const {
  std::size_t sum = 0;
  for (const auto& [values, packed] : packed_) {
    const kernels::PackedOperand& operand = packed.operand;
    sum += sizeof(float) * kernels::PackedFloats(operand.inner, operand.columns, operand.type);
  }
  return sum;
}

}  // namespace muster
