#include "tensor/autograd/tape.h"

#include <algorithm>

#include "base/check.h"

namespace muster {

void Tape::Begin(std::span<const LeafBinding> leaves) {
  arena_.Reset();
  last_ = nullptr;
  leaves_.resize(leaves.size());
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    TensorRecord& record = leaves_[i];
    record = TensorRecord{};
    // Ops read through the same pointer type as they write outputs with; a leaf is never written.
    record.data = const_cast<void*>(leaves[i].values);
    record.type = leaves[i].type;
    record.gradient = leaves[i].gradient;
    record.shape = leaves[i].shape;
    record.leaf = static_cast<std::int32_t>(i);
    record.requires_gradient = !options_.inference;
    MUSTER_CHECK(options_.inference || record.gradient != nullptr,
                 "parameter " + std::to_string(i) + " has no memory for its gradient");
  }
}

Tensor Tape::Parameter(std::size_t index) const {
  MUSTER_CHECK(index < leaves_.size(),
               "parameter " + std::to_string(index) + " of " + std::to_string(leaves_.size()));
  return Tensor(const_cast<TensorRecord*>(&leaves_[index]));
}

Tensor Tape::Input(const Shape& shape, const float* values) {
  return NewView(shape, const_cast<float*>(values));
}

Tensor Tape::Input(const Shape& shape, const BFloat16* values) {
  return NewView(shape, const_cast<BFloat16*>(values), DType::kBF16);
}

Tensor Tape::NewOutput(const Shape& shape, DType type) {
  return NewView(shape, arena_.Allocate(shape.elements() * SizeOf(type)), type);
}

Tensor Tape::NewView(const Shape& shape, void* data, DType type) {
  auto* record = arena_.New<TensorRecord>();
  record->data = data;
  record->shape = shape;
  record->type = type;
  return Tensor(record);
}

bool Tape::Records(std::initializer_list<Tensor> inputs) const {
  return !options_.inference && std::any_of(inputs.begin(), inputs.end(), [](const Tensor& input) {
    return input.requires_gradient();
  });
}

void Tape::Append(Tensor output, std::initializer_list<Tensor> inputs, const void* node,
                  DType output_type, BackwardFunction backward) {
  MUSTER_CHECK(inputs.size() <= kInputsMax, "too many inputs for one node");
  auto* entry = arena_.New<Entry>();
  entry->backward = backward;
  entry->node = node;
  entry->output = output.record();
  entry->output_type = output_type;
  entry->output->requires_gradient = true;
  for (const Tensor& input : inputs) {
    if (!input.requires_gradient()) continue;
    entry->inputs[entry->inputs_count++] = input.record();
    ++input.record()->pending_uses;
  }
  entry->previous = last_;
  last_ = entry;
}

void* Tape::Sink(Tensor input, DType type, bool& accumulate) {
  if (!input.requires_gradient()) return nullptr;
  TensorRecord& record = *input.record();
  if (record.gradient == nullptr) {
    record.gradient = arena_.Allocate(record.shape.elements() * SizeOf(type));
    record.gradient_type = type;
  }
  MUSTER_CHECK(record.gradient_type == type,
               "gradients of two types for a tensor " + record.shape.ToString());
  accumulate = record.gradient_written;
  record.gradient_written = true;
  return record.gradient;
}

void Tape::Finish(TensorRecord& leaf) {
  if (!leaf.gradient_written) {
    std::fill_n(static_cast<float*>(leaf.gradient), leaf.shape.elements(), 0.0F);
    leaf.gradient_written = true;
  }
  if (on_gradient_ready_) on_gradient_ready_(static_cast<std::size_t>(leaf.leaf));
}

void Tape::Backward(Tensor loss, float seed) {
  MUSTER_CHECK(!options_.inference, "a tape in inference mode has no backward pass");
  MUSTER_CHECK(loss.elements() == 1, "the loss has shape " + loss.shape().ToString());
  for (TensorRecord& leaf : leaves_) {
    MUSTER_CHECK(!leaf.gradient_written, "Backward was called twice in one step");
    if (leaf.pending_uses == 0) Finish(leaf);
  }
  if (const GradientSink sink = SinkFor(loss); sink.data != nullptr) *sink.data = seed;
  for (const Entry* entry = last_; entry != nullptr; entry = entry->previous) {
    // A branch that the loss does not depend on has no gradient to pass on.
    if (entry->output->gradient_written) {
      MUSTER_CHECK(entry->output->gradient_type == entry->output_type,
                   "a gradient of another type than its node's");
      entry->backward(entry->node, *this, entry->output->gradient);
    }
    // Backwards as well: what was declared last becomes final first, within a node too.
    for (std::size_t i = entry->inputs_count; i-- > 0;) {
      TensorRecord& input = *entry->inputs[i];
      if (--input.pending_uses == 0 && input.leaf != TensorRecord::kNotALeaf) Finish(input);
    }
  }
}

}  // namespace muster
