// Tensor: a handle of one pointer to the f32 or bf16 values of a step, passed by value.
//
// The record it points to lives in the tape's arena and is gone at the tape's next Begin. Values
// are row-major and contiguous. Images are [samples, height, width, channels] (NHWC).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "tensor/bfloat16.h"
#include "tensor/shape.h"

namespace muster {

class Tape;

struct TensorRecord {
  static constexpr std::int32_t kNotALeaf = -1;

  void* data = nullptr;
  void* gradient = nullptr;  // Null until the backward pass reaches it; a leaf's is given.
  Shape shape;
  DType type = DType::kF32;
  DType gradient_type = DType::kF32;  // With `gradient`: who contributes first decides it.
  std::int32_t leaf = kNotALeaf;      // Index of the parameter.
  std::uint32_t pending_uses = 0;     // Consumers whose backward has not run yet.
  bool requires_gradient = false;
  bool gradient_written = false;
};

class Tensor {
 public:
  Tensor() = default;  // No tensor, e.g. a layer without bias.
  explicit Tensor(TensorRecord* record) : record_(record) {}

  explicit operator bool() const { return record_ != nullptr; }

  // Of an f32 tensor.
  float* data() const { return as<float>(); }
  template <class T>
  T* as() const {
    MUSTER_CHECK(record_->type == kDTypeOf<T>, "a tensor of " + std::string(NameOf(type())) +
                                                   " is taken for " + NameOf(kDTypeOf<T>));
    return static_cast<T*>(record_->data);
  }
  const void* raw() const { return record_->data; }
  DType type() const { return record_->type; }
  const Shape& shape() const { return record_->shape; }
  std::size_t elements() const { return record_->shape.elements(); }
  std::span<const float> values() const { return {data(), elements()}; }
  bool requires_gradient() const { return record_ != nullptr && record_->requires_gradient; }

  // After Backward, of a parameter or input: d loss / d this. Null where no gradient reached it,
  // and of every op's output.
  const float* gradient() const { return gradient_as<float>(); }
  template <class T>
  const T* gradient_as() const {
    if (!record_->gradient_written) return nullptr;
    MUSTER_CHECK(record_->gradient_type == kDTypeOf<T>, "the gradient has another type");
    return static_cast<const T*>(record_->gradient);
  }

  TensorRecord* record() const { return record_; }

 private:
  TensorRecord* record_ = nullptr;
};

}  // namespace muster
