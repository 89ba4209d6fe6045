// Tensor: a handle of one pointer to f32 values of a step, passed by value.
//
// The record it points to lives in the tape's arena and is gone at the tape's next Begin. Values
// are row-major and contiguous. Images are [samples, height, width, channels] (NHWC).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/shape.h"

namespace muster {

class Tape;

struct TensorRecord {
  static constexpr std::int32_t kNotALeaf = -1;

  float* data = nullptr;
  float* gradient = nullptr;  // Null until the backward pass reaches it; a leaf's is given.
  Shape shape;
  std::int32_t leaf = kNotALeaf;   // Index of the parameter.
  std::uint32_t pending_uses = 0;  // Consumers whose backward has not run yet.
  bool requires_gradient = false;
  bool gradient_written = false;
};

class Tensor {
 public:
  Tensor() = default;  // No tensor, e.g. a layer without bias.
  explicit Tensor(TensorRecord* record) : record_(record) {}

  explicit operator bool() const { return record_ != nullptr; }

  float* data() const { return record_->data; }
  const Shape& shape() const { return record_->shape; }
  std::size_t elements() const { return record_->shape.elements(); }
  std::span<const float> values() const { return {data(), elements()}; }
  bool requires_gradient() const { return record_ != nullptr && record_->requires_gradient; }

  // After Backward: d loss / d this. Null where no gradient reached the tensor.
  const float* gradient() const { return record_->gradient_written ? record_->gradient : nullptr; }

  TensorRecord* record() const { return record_; }

 private:
  TensorRecord* record_ = nullptr;
};

}  // namespace muster
