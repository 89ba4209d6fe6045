// Define-by-run tape: ops append nodes in the forward pass, Backward walks them in reverse.
//
// Nodes, activations and saved values live in the tape's arena; a step ends with the next Begin.
// A tape belongs to one lane and one thread at a time; several tapes may run at once over the same
// parameter values. Gradients are written on their first contribution and added to on later ones,
// in the fixed order of the walk, so no memory is cleared beforehand and bits do not vary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tensor/arena.h"
#include "tensor/device.h"
#include "tensor/tensor.h"
#include "tensor/thread_pool.h"

namespace muster {

class PackedWeights;

// A parameter's memory, owned by the caller (the trainer's flat vectors). Its gradient is f32
// whatever its values are.
struct LeafBinding {
  Shape shape;
  const void* values = nullptr;
  // Where Backward puts d loss / d values; null in inference, or lent (OnGradientNeeded).
  float* gradient = nullptr;
  DType type = DType::kF32;
  bool frozen = false;  // Not trained: no gradient, no work and no memory for one.
};

// What Backward does with what lies in the parameters' gradients when a step begins.
enum class Gradients : std::uint8_t {
  kReplace,
  kAddTo,  // The next micro-batch of one step: gradient accumulation.
};

struct TapeOptions {
  bool inference = false;      // No nodes, no saved values; Backward may not be called.
  ThreadPool* pool = nullptr;  // Shares the blocks of an op; null = the calling thread alone.
  // In inference: keeps the weights of linear layers as products want them. Same bits.
  PackedWeights* packed = nullptr;
  Device device = Device::Cpu();
  MemoryBudget* memory = nullptr;  // Of the step's memory; null = what the system has.
};

// Where a node puts its contribution to the gradient of one of its inputs.
template <class T>
struct GradientSink {
  T* data = nullptr;        // Null: this input needs no gradient.
  bool accumulate = false;  // Add to what is there; otherwise overwrite it.
};

class Tape {
 public:
  explicit Tape(TapeOptions options = {})
      : options_(options),
        arena_(Arena::kDefaultBlockBytes, options.memory),
        segment_arena_(Arena::kDefaultBlockBytes, options.memory) {}

  // Starts a step: forgets the last one, resets the arena and binds parameter i to leaves[i].
  void Begin(std::span<const LeafBinding> leaves, Gradients gradients = Gradients::kReplace);

  Tensor Parameter(std::size_t index) const;
  // A constant whose memory the caller keeps until the step ends. Never written to.
  Tensor Input(const Shape& shape, const float* values);
  Tensor Input(const Shape& shape, const BFloat16* values);
  // Like Input, but Backward also computes its gradient (tests, generated inputs).
  template <class T>
  Tensor InputWithGradient(const Shape& shape, const T* values) {
    Tensor input = Input(shape, values);
    input.record()->requires_gradient = !options_.inference;
    return input;
  }

  // Runs body(tape, inputs), which returns one tensor, and keeps that tensor alone: Backward runs
  // it again for what lies between (activation checkpointing: Chen et al., arXiv:1604.06174). Same
  // bits as without. At most 4 inputs, none of them a parameter: the body asks the tape for those.
  // Trivially destructible; what it points to lives until the step ends. Not one inside another.
  template <class Body>
  Tensor Checkpoint(std::initializer_list<Tensor> inputs, const Body& body) {
    return RunCheckpoint(inputs, New<Body>(body),
                         [](const void* self, Tape& tape, std::span<const Tensor> detached) {
                           return (*static_cast<const Body*>(self))(tape, detached);
                         });
  }

  // Computes the gradients of all parameters from d loss / d loss = `seed`. `loss` has one element.
  // Those of what lies between are gone as soon as they were passed on.
  // A parameter that `loss` does not depend on gets zeros. Once per step.
  void Backward(Tensor loss, float seed = 1.0F);

  // Called in Backward on its thread, once per parameter, as soon as its gradient is final; the
  // order is the same in every step of the same network. Parameters without a use come first.
  void OnGradientReady(std::function<void(std::size_t parameter)> hook) {
    on_gradient_ready_ = std::move(hook);
  }

  // Where a trained parameter without memory for its gradient gets it: `lend` is called in Backward
  // on its thread, at most once per parameter and step, before the first contribution (without one,
  // before its zeros), so that no memory is held for gradients that nothing has reached.
  void OnGradientNeeded(std::function<float*(std::size_t parameter)> lend) {
    lend_gradient_ = std::move(lend);
  }

  // Names a part of the network as long as it lives, for errors: "transformer.h.3". The name must
  // outlive the step.
  class Scope {
   public:
    Scope(Tape& tape, std::string_view name)
        : tape_(tape), outer_(tape.scopes_.empty() ? "" : tape.scopes_.back().name) {
      tape_.Enter(name);
    }
    ~Scope() { tape_.Enter(outer_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Tape& tape_;
    std::string_view outer_;
  };

  Arena& arena() { return *arena_in_use_; }
  ThreadPool* pool() const { return options_.pool; }
  bool inference() const { return options_.inference; }
  PackedWeights* packed() const { return options_.inference ? options_.packed : nullptr; }

  // --- For ops ---

  // Uninitialised values, to be filled by the op. Throws OutOfMemory, which names what it was for
  // and what holds the memory.
  Tensor NewOutput(const Shape& shape, DType type = DType::kF32);
  // What an op keeps for itself until the step ends, uninitialised. Throws OutOfMemory likewise.
  template <class T>
  T* Scratch(const Shape& shape) {
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, BFloat16>) {
      return static_cast<T*>(Room(shape, sizeof(T), NameOf(kDTypeOf<T>)));
    } else {
      return static_cast<T*>(Room(shape, sizeof(T), std::to_string(sizeof(T)) + "-byte values"));
    }
  }
  template <class T, class... Args>
  T* New(Args&&... args) {
    static_assert(std::is_trivially_destructible_v<T>, "the arena never runs destructors");
    return new (Scratch<T>({1})) T{std::forward<Args>(args)...};
  }
  // An output over memory that exists already (reshape).
  Tensor NewView(const Shape& shape, void* data, DType type = DType::kF32);

  // True if the op has to save values and record a node.
  bool Records(std::initializer_list<Tensor> inputs) const;

  // Records the node that turns the gradient of `output` into those of `inputs`. `node` is
  // trivially destructible and has `void Backward(Tape&, const T* output_gradient) const` with T
  // the type of `output`, which puts a contribution to every input for which SinkFor gives memory.
  template <class Node>
  void Record(Tensor output, std::initializer_list<Tensor> inputs, const Node& node) {
    using T = OutputType<decltype(&Node::Backward)>;
    Node* const saved = New<Node>(node);
    Append(output, inputs, saved, kDTypeOf<T>,
           [](const void* self, Tape& tape, const void* gradient) {
             static_cast<const Node*>(self)->Backward(tape, static_cast<const T*>(gradient));
           });
  }

  // Call exactly once per input and node, then write (or add to) all of the input's elements. The
  // gradient of what an op computes from has the op's type T; of its parameters it is f32.
  template <class T = float>
  GradientSink<T> SinkFor(Tensor input) {
    bool accumulate = false;
    void* const data = Sink(input, kDTypeOf<T>, accumulate);
    return {static_cast<T*>(data), accumulate};
  }

 private:
  static constexpr std::size_t kInputsMax = 4;
  using BackwardFunction = void (*)(const void* node, Tape& tape, const void* output_gradient);
  using BodyFunction = Tensor (*)(const void* body, Tape& tape, std::span<const Tensor> inputs);

  template <class Member>
  struct Argument;
  template <class Node, class T>
  struct Argument<void (Node::*)(Tape&, const T*) const> {
    using Type = T;
  };
  template <class Member>
  using OutputType = typename Argument<Member>::Type;

  struct Entry {
    BackwardFunction backward;
    const void* node;
    TensorRecord* output;
    TensorRecord* inputs[kInputsMax];
    std::size_t inputs_count;
    DType output_type;
    Entry* previous;
  };

  void Append(Tensor output, std::initializer_list<Tensor> inputs, const void* node,
              DType output_type, BackwardFunction backward);
  void* Sink(Tensor input, DType type, bool& accumulate);
  void Finish(TensorRecord& leaf);
  void* GradientOf(TensorRecord& record, DType type);
  void NoLongerUsed(TensorRecord& record);
  void Walk(const Entry* last, const void* lent);
  void* Room(const Shape& shape, std::size_t element_bytes, std::string_view of);
  void* NewGradient(const TensorRecord& record, DType type);
  void Enter(std::string_view name) { scopes_.push_back({name, arena_.used_bytes()}); }
  std::string Holders() const;
  void Recycle(const Entry& entry, const void* lent);

  struct Segment;
  Tensor RunCheckpoint(std::initializer_list<Tensor> inputs, const void* body, BodyFunction run);
  void RunAgain(const Segment& segment, const void* output_gradient, DType type);
  Tensor Detached(const Tensor& input);

  // What the tape does with an op: record it; or, within a checkpoint's first run, only note which
  // parameters it uses.
  enum class Mode : std::uint8_t { kRecord, kNote, kRecordAgain };

  TapeOptions options_;
  Arena arena_;
  Arena segment_arena_;  // Of the checkpoint that is being run.
  Arena* arena_in_use_ = &arena_;
  Mode mode_ = Mode::kRecord;
  bool went_back_ = false;  // Backward was called in this step.
  // Where the forward pass entered a part of the network or went back to the one around it.
  struct Entered {
    std::string_view name;
    std::size_t used_bytes;  // Of arena_ until then.
  };
  std::vector<Entered> scopes_;
  std::vector<TensorRecord*> noted_;
  // Gradients that nobody reads any more, for the next ones of their size; of arena_in_use_.
  struct Recycled {
    std::size_t bytes;
    void* memory;
  };
  std::vector<Recycled> recycled_;
  std::vector<TensorRecord> leaves_;
  Entry* last_ = nullptr;
  std::function<void(std::size_t)> on_gradient_ready_;
  std::function<float*(std::size_t)> lend_gradient_;
};

}  // namespace muster
