#include "tensor/autograd/tape.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace muster {

namespace {

// "a tensor [32, 10] of f32 (1.3 KiB)".
std::string TensorText(const Shape& shape, std::size_t element_bytes, std::string_view of) {
  return "a tensor " + shape.ToString() + " of " + std::string(of) + " (" +
         BytesText(shape.elements() * element_bytes) + ")";
}

}  // namespace

// The node of a checkpoint's result.
struct Tape::Segment {
  const void* body;
  BodyFunction run;
  Tensor inputs[kInputsMax];
  std::size_t inputs_count;
  std::span<TensorRecord* const> parameters;  // That the body uses; none twice.
};

void Tape::Begin(std::span<const LeafBinding> leaves, Gradients gradients) {
  arena_.Reset();
  arena_in_use_ = &arena_;
  mode_ = Mode::kRecord;
  went_back_ = false;
  recycled_.clear();
  scopes_.clear();
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
    record.requires_gradient = !options_.inference && !leaves[i].frozen;
    record.gradient_written = record.requires_gradient && gradients == Gradients::kAddTo;
    const bool lent = lend_gradient_ && gradients == Gradients::kReplace;
    MUSTER_CHECK(!record.requires_gradient || record.gradient != nullptr || lent,
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
  return NewView(shape, Room(shape, SizeOf(type), NameOf(type)), type);
}

void* Tape::Room(const Shape& shape, std::size_t element_bytes, std::string_view of) {
  std::size_t bytes = element_bytes;
  bool too_many = false;
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    too_many = __builtin_mul_overflow(bytes, shape[i], &bytes) || too_many;
  }
  if (too_many && shape.last() > 0) {
    throw OutOfMemory("out of memory for a tensor " + shape.ToString() + " of " + std::string(of) +
                      ": more than any machine has");
  }
  try {
    return arena().Allocate(shape.elements() * element_bytes);
  } catch (const OutOfMemory& error) {
    const bool named = !scopes_.empty() && !scopes_.back().name.empty();
    throw OutOfMemory(std::string("out of memory ") + (went_back_ ? "in the backward pass, " : "") +
                      "for " + TensorText(shape, element_bytes, of) +
                      (named ? " in " + std::string(scopes_.back().name) : "") + ": " +
                      error.what() + Holders());
  }
}

// "; 1.2 GiB of this step's are held by h.0 (300 MiB), h.1 (300 MiB) and 9 smaller parts".
std::string Tape::Holders() const {
  struct Part {
    std::string_view name;
    std::size_t bytes = 0;
  };
  std::vector<Part> parts;
  for (std::size_t i = 0; i < scopes_.size(); ++i) {
    const std::size_t end =
        i + 1 < scopes_.size() ? scopes_[i + 1].used_bytes : arena_.used_bytes();
    auto part = std::find_if(parts.begin(), parts.end(),
                             [&](const Part& p) { return p.name == scopes_[i].name; });
    if (part == parts.end()) part = parts.insert(parts.end(), {scopes_[i].name, 0});
    part->bytes += end - scopes_[i].used_bytes;
  }
  std::erase_if(parts, [](const Part& part) { return part.name.empty() || part.bytes == 0; });
  std::stable_sort(parts.begin(), parts.end(),
                   [](const Part& a, const Part& b) { return a.bytes > b.bytes; });
  std::string text =
      "; this step holds " + BytesText(arena_.used_bytes() + segment_arena_.used_bytes());
  constexpr std::size_t kNamed = 5;
  for (std::size_t i = 0; i < std::min(parts.size(), kNamed); ++i) {
    text += (i == 0 ? ", most of it in " : ", ") + std::string(parts[i].name) + " (" +
            BytesText(parts[i].bytes) + ")";
  }
  return text + "; a smaller batch, shorter sequences or activation checkpoints need less";
}

Tensor Tape::NewView(const Shape& shape, void* data, DType type) {
  auto* record = New<TensorRecord>();
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
  output.record()->requires_gradient = true;
  if (mode_ == Mode::kNote) {
    for (const Tensor& input : inputs) {
      if (input.requires_gradient() && input.record()->leaf != TensorRecord::kNotALeaf) {
        noted_.push_back(input.record());
      }
    }
    return;
  }
  auto* entry = New<Entry>();
  entry->backward = backward;
  entry->node = node;
  entry->output = output.record();
  entry->output_type = output_type;
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
  if (record.gradient == nullptr) record.gradient = GradientOf(record, type);
  MUSTER_CHECK(record.gradient_type == type,
               "gradients of two types for a tensor " + record.shape.ToString());
  accumulate = record.gradient_written;
  record.gradient_written = true;
  return record.gradient;
}

void* Tape::GradientOf(TensorRecord& record, DType type) {
  if (record.leaf != TensorRecord::kNotALeaf) {
    return lend_gradient_(static_cast<std::size_t>(record.leaf));
  }
  record.gradient_type = type;
  return NewGradient(record, type);
}

void Tape::Finish(TensorRecord& leaf) {
  if (!leaf.gradient_written) {
    if (leaf.gradient == nullptr) leaf.gradient = GradientOf(leaf, DType::kF32);
    std::fill_n(static_cast<float*>(leaf.gradient), leaf.shape.elements(), 0.0F);
    leaf.gradient_written = true;
  }
  if (on_gradient_ready_) on_gradient_ready_(static_cast<std::size_t>(leaf.leaf));
}

void Tape::NoLongerUsed(TensorRecord& record) {
  if (--record.pending_uses == 0 && record.leaf != TensorRecord::kNotALeaf) Finish(record);
}

void* Tape::NewGradient(const TensorRecord& record, DType type) {
  const std::size_t bytes = record.shape.elements() * SizeOf(type);
  for (std::size_t i = recycled_.size(); i-- > 0;) {
    if (recycled_[i].bytes != bytes) continue;
    void* const memory = recycled_[i].memory;
    recycled_[i] = recycled_.back();
    recycled_.pop_back();
    return memory;
  }
  try {
    return arena().Allocate(bytes);
  } catch (const OutOfMemory& error) {
    throw OutOfMemory("out of memory in the backward pass, for the gradient of " +
                      TensorText(record.shape, SizeOf(type), NameOf(type)) + ": " + error.what() +
                      Holders());
  }
}

// The entry's output has passed its gradient on, and whoever used the output came before.
void Tape::Recycle(const Entry& entry, const void* lent) {
  // Several nodes of one output follow each other.
  if (entry.previous != nullptr && entry.previous->output == entry.output) return;
  TensorRecord& output = *entry.output;
  void* const memory = std::exchange(output.gradient, nullptr);
  output.gradient_written = false;
  if (memory == lent) return;
  for (std::size_t i = 0; i < entry.inputs_count; ++i) {
    if (entry.inputs[i]->gradient == memory) return;  // A view's was taken over.
  }
  const std::size_t bytes = output.shape.elements() * SizeOf(output.gradient_type);
  if (bytes > 0) recycled_.push_back({bytes, memory});
}

// `lent` is memory of whoever called.
void Tape::Walk(const Entry* last, const void* lent) {
  for (const Entry* entry = last; entry != nullptr; entry = entry->previous) {
    // A branch that the loss does not depend on has no gradient to pass on.
    if (entry->output->gradient_written) {
      MUSTER_CHECK(entry->output->gradient_type == entry->output_type,
                   "a gradient of another type than its node's");
      entry->backward(entry->node, *this, entry->output->gradient);
      Recycle(*entry, lent);
    }
    // Backwards as well: what was declared last becomes final first, within a node too.
    for (std::size_t i = entry->inputs_count; i-- > 0;) NoLongerUsed(*entry->inputs[i]);
  }
}

void Tape::Backward(Tensor loss, float seed) {
  MUSTER_CHECK(!options_.inference, "a tape in inference mode has no backward pass");
  MUSTER_CHECK(loss.elements() == 1, "the loss has shape " + loss.shape().ToString());
  MUSTER_CHECK(!went_back_, "Backward was called twice in one step");
  went_back_ = true;
  for (TensorRecord& leaf : leaves_) {
    if (leaf.pending_uses == 0 && leaf.requires_gradient) Finish(leaf);
  }
  bool accumulate = false;
  if (auto* const slope = static_cast<float*>(Sink(loss, DType::kF32, accumulate))) {
    *slope = accumulate ? *slope + seed : seed;
  }
  Walk(last_, nullptr);
}

// Stands for `input` within a checkpoint, so that the tape outside does not see its uses there.
Tensor Tape::Detached(const Tensor& input) {
  Tensor detached = NewView(input.shape(), input.record()->data, input.type());
  detached.record()->requires_gradient = input.requires_gradient();
  return detached;
}

Tensor Tape::RunCheckpoint(std::initializer_list<Tensor> inputs, const void* body,
                           BodyFunction run) {
  MUSTER_CHECK(inputs.size() <= kInputsMax, "too many inputs for one checkpoint");
  MUSTER_CHECK(mode_ == Mode::kRecord, "a checkpoint inside another");
  Segment segment{body, run, {}, inputs.size(), {}};
  std::copy(inputs.begin(), inputs.end(), segment.inputs);
  const std::span<const Tensor> own(segment.inputs, segment.inputs_count);
  if (options_.inference) return run(body, *this, own);

  segment_arena_.Reset();
  arena_in_use_ = &segment_arena_;
  mode_ = Mode::kNote;
  noted_.clear();
  Tensor detached[kInputsMax];
  for (std::size_t i = 0; i < own.size(); ++i) {
    MUSTER_CHECK(own[i].record()->leaf == TensorRecord::kNotALeaf,
                 "a parameter as the input of a checkpoint");
    detached[i] = Detached(own[i]);
  }
  const Tensor result = run(body, *this, {detached, own.size()});
  arena_in_use_ = &arena_;
  mode_ = Mode::kRecord;

  for (const Tensor& input : std::span(detached, own.size())) {
    MUSTER_CHECK(result.record() != input.record(), "a checkpoint's body returns its own input");
  }
  MUSTER_CHECK(result.record()->leaf == TensorRecord::kNotALeaf,
               "a checkpoint's body returns a parameter");
  Tensor output = NewOutput(result.shape(), result.type());
  std::memcpy(output.record()->data, result.raw(), result.elements() * SizeOf(result.type()));
  if (!result.requires_gradient()) return output;

  std::sort(noted_.begin(), noted_.end());
  noted_.erase(std::unique(noted_.begin(), noted_.end()), noted_.end());
  TensorRecord** const parameters = Scratch<TensorRecord*>({noted_.size()});
  std::copy(noted_.begin(), noted_.end(), parameters);
  segment.parameters = {parameters, noted_.size()};
  for (TensorRecord* const parameter : segment.parameters) ++parameter->pending_uses;
  const auto* const saved = New<Segment>(segment);
  const auto backward_in = [](auto element) -> BackwardFunction {
    return [](const void* self, Tape& tape, const void* gradient) {
      tape.RunAgain(*static_cast<const Segment*>(self), gradient, kDTypeOf<decltype(element)>);
    };
  };
  Append(output, inputs, saved, output.type(), Dispatch(output.type(), backward_in));
  return output;
}

void Tape::RunAgain(const Segment& segment, const void* output_gradient, DType type) {
  Tensor detached[kInputsMax];
  void* sinks[kInputsMax] = {};
  // The gradients of the inputs outlive the segment; its own arena ends with it.
  segment_arena_.Reset();
  for (std::size_t i = 0; i < segment.inputs_count; ++i) {
    const Tensor& input = segment.inputs[i];
    bool accumulate = false;
    sinks[i] = Sink(input, input.type(), accumulate);
    detached[i] = Detached(input);
    detached[i].record()->gradient = sinks[i];
    detached[i].record()->gradient_type = input.type();
    detached[i].record()->gradient_written = accumulate;
  }
  arena_in_use_ = &segment_arena_;
  mode_ = Mode::kRecordAgain;
  last_ = nullptr;
  const std::vector<Recycled> outside = std::exchange(recycled_, {});
  const Tensor result = segment.run(segment.body, *this, {detached, segment.inputs_count});
  result.record()->gradient = const_cast<void*>(output_gradient);  // Nobody else reads it again.
  result.record()->gradient_type = type;
  result.record()->gradient_written = true;
  // From here on the recorded ops hold the parameters.
  for (TensorRecord* const parameter : segment.parameters) NoLongerUsed(*parameter);
  Walk(last_, output_gradient);
  for (std::size_t i = 0; i < segment.inputs_count; ++i) {
    // An input that the result does not depend on.
    if (sinks[i] == nullptr || detached[i].record()->gradient_written) continue;
    std::memset(sinks[i], 0, segment.inputs[i].elements() * SizeOf(segment.inputs[i].type()));
  }
  arena_in_use_ = &arena_;
  mode_ = Mode::kRecord;
  recycled_ = outside;
}

}  // namespace muster
