#include "tensor/kernels/convolution.h"

#include "base/cpu.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/onednn.h"

namespace muster::kernels {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

constexpr auto kDirect = dnnl::algorithm::convolution_direct;

enum Kind : std::int64_t {
  kForward = 16,
  kInputGradient,
  kWeightGradient,
  kPackForward,
  kPackInputGradient,
  kUnpackWeightGradient,
};

std::int64_t Signed(std::size_t value) { return static_cast<std::int64_t>(value); }

OneDnn::Key KeyOf(Kind kind, const ConvolutionShape& s, std::size_t samples) {
  return {kind,
          Signed(samples),
          Signed(s.height),
          Signed(s.width),
          Signed(s.in),
          Signed(s.out_height),
          Signed(s.out_width),
          Signed(s.out),
          Signed(s.kernel_height),
          Signed(s.kernel_width),
          Signed(s.stride),
          Signed(s.padding),
          s.bias ? 1 : 0,
          s.relu ? 1 : 0,
          s.type == DType::kBF16 ? 1 : 0};
}

memory::data_type TypeOf(DType type) {
  return type == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
}

// oneDNN's view of one convolution. Weights are left to the primitive (`any`).
struct Plan {
  Plan(const ConvolutionShape& s, std::size_t samples)
      : x(Images(s, samples, s.in, s.height, s.width)),
        y(Images(s, samples, s.out, s.out_height, s.out_width)),
        weight(Weights(s), TypeOf(s.type), Tag::any),
        plain(Weights(s), TypeOf(s.type), Tag::oihw),
        strides{Signed(s.stride), Signed(s.stride)},
        padding{Signed(s.padding), Signed(s.padding)},
        // Rows and columns that no window reaches are negative padding on the far side.
        far{Far(s.height, s.out_height, s.kernel_height, s),
            Far(s.width, s.out_width, s.kernel_width, s)} {
    if (s.bias) bias = {{Signed(s.out)}, TypeOf(s.type), Tag::x};
    dnnl::primitive_attr attributes = OneDnn::Attributes();
    if (s.relu) {
      dnnl::post_ops after;
      after.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
      attributes.set_post_ops(after);
    }
    forward = dnnl::convolution_forward::primitive_desc(
        dnnl::convolution_forward::desc(dnnl::prop_kind::forward_training, kDirect, x, weight, bias,
                                        y, strides, padding, far),
        attributes, OneDnn::ThisThread().engine());
  }

  dnnl::convolution_backward_data::primitive_desc InputGradient() const {
    return {{kDirect, x, weight, y, strides, padding, far},
            OneDnn::Attributes(),
            OneDnn::ThisThread().engine(),
            forward};
  }

  // To f32 weights in the layout `gradient`.
  dnnl::convolution_backward_weights::primitive_desc WeightGradient(
      const memory::desc& gradient) const {
    return {{kDirect, x, gradient, y, strides, padding, far},
            OneDnn::Attributes(),
            OneDnn::ThisThread().engine(),
            forward};
  }

  static memory::dims Weights(const ConvolutionShape& s) {
    return {Signed(s.out), Signed(s.in), Signed(s.kernel_height), Signed(s.kernel_width)};
  }
  static memory::desc Images(const ConvolutionShape& s, std::size_t samples, std::size_t channels,
                             std::size_t height, std::size_t width) {
    return {{Signed(samples), Signed(channels), Signed(height), Signed(width)},
            TypeOf(s.type),
            Tag::nhwc};
  }
  static std::int64_t Far(std::size_t in, std::size_t out, std::size_t kernel,
                          const ConvolutionShape& s) {
    return Signed((out - 1) * s.stride + kernel) - Signed(in) - Signed(s.padding);
  }

  memory::desc x, y, weight, plain, bias;
  memory::dims strides, padding, far;
  dnnl::convolution_forward::primitive_desc forward;
};

// The packed weight gradient: what suits the whole block, for blocks of fewer samples as well.
memory::desc GradientLayout(const ConvolutionShape& s) {
  const memory::desc any(Plan::Weights(s), memory::data_type::f32, Tag::any);
  return Plan(s, kWeightGradientSamples).WeightGradient(any).diff_weights_desc();
}

CachedPrimitive MakeReorder(const memory::desc& from, const memory::desc& to) {
  OneDnn& onednn = OneDnn::ThisThread();
  const dnnl::reorder::primitive_desc plan(onednn.engine(), from, onednn.engine(), to,
                                           OneDnn::Attributes());
  CachedPrimitive made;
  made.primitive = dnnl::reorder(plan);
  made.arguments = {{DNNL_ARG_FROM, onednn.Open(from)}, {DNNL_ARG_TO, onednn.Open(to)}};
  onednn.AddScratchpad(made, plan.scratchpad_desc());
  return made;
}

CachedPrimitive& Forward(const ConvolutionShape& shape) {
  OneDnn& onednn = OneDnn::ThisThread();
  return onednn.Find(KeyOf(kForward, shape, 1), [&] {
    const Plan plan(shape, 1);
    CachedPrimitive made;
    made.primitive = dnnl::convolution_forward(plan.forward);
    made.arguments = {{DNNL_ARG_SRC, onednn.Open(plan.x)},
                      {DNNL_ARG_WEIGHTS, onednn.Open(plan.forward.weights_desc())},
                      {DNNL_ARG_DST, onednn.Open(plan.y)}};
    if (shape.bias) made.arguments[DNNL_ARG_BIAS] = onednn.Open(plan.bias);
    onednn.AddScratchpad(made, plan.forward.scratchpad_desc());
    made.packed_bytes = plan.forward.weights_desc().get_size();
    return made;
  });
}

CachedPrimitive& InputGradient(const ConvolutionShape& shape) {
  OneDnn& onednn = OneDnn::ThisThread();
  return onednn.Find(KeyOf(kInputGradient, shape, 1), [&] {
    const auto plan = Plan(shape, 1).InputGradient();
    CachedPrimitive made;
    made.primitive = dnnl::convolution_backward_data(plan);
    made.arguments = {{DNNL_ARG_DIFF_SRC, onednn.Open(plan.diff_src_desc())},
                      {DNNL_ARG_WEIGHTS, onednn.Open(plan.weights_desc())},
                      {DNNL_ARG_DIFF_DST, onednn.Open(plan.diff_dst_desc())}};
    onednn.AddScratchpad(made, plan.scratchpad_desc());
    made.packed_bytes = plan.weights_desc().get_size();
    return made;
  });
}

CachedPrimitive& WeightGradient(const ConvolutionShape& shape, std::size_t samples) {
  OneDnn& onednn = OneDnn::ThisThread();
  return onednn.Find(KeyOf(kWeightGradient, shape, samples), [&] {
    const auto plan = Plan(shape, samples).WeightGradient(GradientLayout(shape));
    CachedPrimitive made;
    made.primitive = dnnl::convolution_backward_weights(plan);
    made.arguments = {{DNNL_ARG_SRC, onednn.Open(plan.src_desc())},
                      {DNNL_ARG_DIFF_WEIGHTS, onednn.Open(plan.diff_weights_desc())},
                      {DNNL_ARG_DIFF_DST, onednn.Open(plan.diff_dst_desc())}};
    onednn.AddScratchpad(made, plan.scratchpad_desc());
    made.packed_bytes = plan.diff_weights_desc().get_size();
    return made;
  });
}

// Whether oneDNN has to be given f32 for the shape's bf16.
bool Widens(const ConvolutionShape& shape) {
  return shape.type == DType::kBF16 && BestCpuLevel() == CpuLevel::kAvx2;
}

// The shape that oneDNN is given.
ConvolutionShape AsRun(ConvolutionShape shape) {
  if (Widens(shape)) shape.type = DType::kF32;
  return shape;
}

// The values as the primitive takes them: themselves, or f32 in a buffer of this thread.
const void* Values(const ConvolutionShape& shape, std::size_t slot, const void* values,
                   std::size_t count) {
  if (!Widens(shape) || values == nullptr) return values;
  auto* const wide = OneDnn::ThisThread().Scratch<float>(slot, count);
  Convert(static_cast<const BFloat16*>(values), wide, count);
  return wide;
}

// Where the primitive puts `count` values for `to`, and what brings them there.
class Output {
 public:
  Output(const ConvolutionShape& shape, std::size_t slot, void* to, std::size_t count)
      : to_(to),
        count_(count),
        wide_(Widens(shape) ? OneDnn::ThisThread().Scratch<float>(slot, count) : nullptr) {}
  void* data() const { return wide_ == nullptr ? to_ : wide_; }
  void Finish() const {
    if (wide_ != nullptr) Convert(wide_, static_cast<BFloat16*>(to_), count_);
  }

 private:
  void* to_;
  std::size_t count_;
  float* wide_;
};

// The callers have the slots before these.
constexpr std::size_t kFirstSlot = 3, kSecondSlot = 4, kThirdSlot = 5;
static_assert(kThirdSlot < OneDnn::kScratchSlots);

std::size_t Floats(const CachedPrimitive& primitive) {
  return (primitive.packed_bytes + sizeof(float) - 1) / sizeof(float);
}

}  // namespace

std::size_t PackedFloats(const ConvolutionShape& given, ConvolutionPass pass) {
  const ConvolutionShape shape = AsRun(given);
  switch (pass) {
    case ConvolutionPass::kForward:
      return Floats(Forward(shape));
    case ConvolutionPass::kInputGradient:
      return Floats(InputGradient(shape));
    case ConvolutionPass::kWeightGradient:
      return Floats(WeightGradient(shape, kWeightGradientSamples));
  }
  return 0;
}

void PackForward(const ConvolutionShape& given, const void* weight, float* packed) {
  OneDnn& onednn = OneDnn::ThisThread();
  const ConvolutionShape shape = AsRun(given);
  CachedPrimitive& reorder = onednn.Find(KeyOf(kPackForward, shape, 1), [&] {
    const Plan plan(shape, 1);
    return MakeReorder(plan.plain, plan.forward.weights_desc());
  });
  onednn.Run(reorder, {{DNNL_ARG_FROM, Values(given, kFirstSlot, weight, shape.weights())},
                       {DNNL_ARG_TO, packed}});
}

void PackForInputGradient(const ConvolutionShape& given, const void* weight, float* packed) {
  OneDnn& onednn = OneDnn::ThisThread();
  const ConvolutionShape shape = AsRun(given);
  CachedPrimitive& reorder = onednn.Find(KeyOf(kPackInputGradient, shape, 1), [&] {
    const Plan plan(shape, 1);
    return MakeReorder(plan.plain, plan.InputGradient().weights_desc());
  });
  onednn.Run(reorder, {{DNNL_ARG_FROM, Values(given, kFirstSlot, weight, shape.weights())},
                       {DNNL_ARG_TO, packed}});
}

void UnpackWeightGradient(const ConvolutionShape& given, const float* packed, float* gradient) {
  OneDnn& onednn = OneDnn::ThisThread();
  const ConvolutionShape shape = AsRun(given);
  CachedPrimitive& reorder = onednn.Find(KeyOf(kUnpackWeightGradient, shape, 1), [&] {
    const memory::desc plain(Plan::Weights(shape), memory::data_type::f32, Tag::oihw);
    return MakeReorder(GradientLayout(shape), plain);
  });
  onednn.Run(reorder, {{DNNL_ARG_FROM, packed}, {DNNL_ARG_TO, gradient}});
}

void ConvolutionForward(const ConvolutionShape& given, const void* x, const float* packed,
                        const void* bias, void* y) {
  const ConvolutionShape shape = AsRun(given);
  const Output output(given, kThirdSlot, y, shape.output());
  OneDnn::ThisThread().Run(Forward(shape),
                           {{DNNL_ARG_SRC, Values(given, kFirstSlot, x, shape.image())},
                            {DNNL_ARG_WEIGHTS, packed},
                            {DNNL_ARG_BIAS, Values(given, kSecondSlot, bias, shape.out)},
                            {DNNL_ARG_DST, output.data()}});
  output.Finish();
}

void ConvolutionInputGradient(const ConvolutionShape& given, const void* dy, const float* packed,
                              void* dx) {
  const ConvolutionShape shape = AsRun(given);
  const Output output(given, kThirdSlot, dx, shape.image());
  OneDnn::ThisThread().Run(InputGradient(shape),
                           {{DNNL_ARG_DIFF_DST, Values(given, kFirstSlot, dy, shape.output())},
                            {DNNL_ARG_WEIGHTS, packed},
                            {DNNL_ARG_DIFF_SRC, output.data()}});
  output.Finish();
}

void ConvolutionWeightGradient(const ConvolutionShape& given, std::size_t samples, const void* x,
                               const void* dy, float* packed) {
  const ConvolutionShape shape = AsRun(given);
  OneDnn::ThisThread().Run(
      WeightGradient(shape, samples),
      {{DNNL_ARG_SRC, Values(given, kFirstSlot, x, samples * shape.image())},
       {DNNL_ARG_DIFF_DST, Values(given, kSecondSlot, dy, samples * shape.output())},
       {DNNL_ARG_DIFF_WEIGHTS, packed}});
}

}  // namespace muster::kernels
