#include "tensor/kernels/convolution.h"

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

OneDnn::Key KeyOf(Kind kind, const ConvolutionShape& s) {
  return {kind,
          Signed(s.samples),
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
          s.relu ? 1 : 0};
}

// oneDNN's view of one convolution. Weights are left to the primitive (`any`).
struct Plan {
  explicit Plan(const ConvolutionShape& s)
      : x(Images(s.samples, s.in, s.height, s.width)),
        y(Images(s.samples, s.out, s.out_height, s.out_width)),
        weight(Weights(s), memory::data_type::f32, Tag::any),
        plain(Weights(s), memory::data_type::f32, Tag::oihw),
        strides{Signed(s.stride), Signed(s.stride)},
        padding{Signed(s.padding), Signed(s.padding)},
        // Rows and columns that no window reaches are negative padding on the far side.
        far{Far(s.height, s.out_height, s.kernel_height, s),
            Far(s.width, s.out_width, s.kernel_width, s)} {
    if (s.bias) bias = {{Signed(s.out)}, memory::data_type::f32, Tag::x};
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

  dnnl::convolution_backward_weights::primitive_desc WeightGradient() const {
    return {{kDirect, x, weight, y, strides, padding, far},
            OneDnn::Attributes(),
            OneDnn::ThisThread().engine(),
            forward};
  }

  static memory::dims Weights(const ConvolutionShape& s) {
    return {Signed(s.out), Signed(s.in), Signed(s.kernel_height), Signed(s.kernel_width)};
  }
  static memory::desc Images(std::size_t samples, std::size_t channels, std::size_t height,
                             std::size_t width) {
    return {{Signed(samples), Signed(channels), Signed(height), Signed(width)},
            memory::data_type::f32,
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
  return onednn.Find(KeyOf(kForward, shape), [&] {
    const Plan plan(shape);
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
  return onednn.Find(KeyOf(kInputGradient, shape), [&] {
    const auto plan = Plan(shape).InputGradient();
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

CachedPrimitive& WeightGradient(const ConvolutionShape& shape) {
  OneDnn& onednn = OneDnn::ThisThread();
  return onednn.Find(KeyOf(kWeightGradient, shape), [&] {
    const auto plan = Plan(shape).WeightGradient();
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

}  // namespace

PackedSizes SizesOfPackedWeights(const ConvolutionShape& shape) {
  return {Forward(shape).packed_bytes / sizeof(float),
          InputGradient(shape).packed_bytes / sizeof(float),
          WeightGradient(shape).packed_bytes / sizeof(float)};
}

void PackForward(const ConvolutionShape& shape, const float* weight, float* packed) {
  OneDnn& onednn = OneDnn::ThisThread();
  CachedPrimitive& reorder = onednn.Find(KeyOf(kPackForward, shape), [&] {
    const Plan plan(shape);
    return MakeReorder(plan.plain, plan.forward.weights_desc());
  });
  onednn.Run(reorder, {{DNNL_ARG_FROM, weight}, {DNNL_ARG_TO, packed}});
}

void PackForInputGradient(const ConvolutionShape& shape, const float* weight, float* packed) {
  OneDnn& onednn = OneDnn::ThisThread();
  CachedPrimitive& reorder = onednn.Find(KeyOf(kPackInputGradient, shape), [&] {
    const Plan plan(shape);
    return MakeReorder(plan.plain, plan.InputGradient().weights_desc());
  });
  onednn.Run(reorder, {{DNNL_ARG_FROM, weight}, {DNNL_ARG_TO, packed}});
}

void UnpackWeightGradient(const ConvolutionShape& shape, const float* packed, float* gradient) {
  OneDnn& onednn = OneDnn::ThisThread();
  CachedPrimitive& reorder = onednn.Find(KeyOf(kUnpackWeightGradient, shape), [&] {
    const Plan plan(shape);
    return MakeReorder(plan.WeightGradient().diff_weights_desc(), plan.plain);
  });
  onednn.Run(reorder, {{DNNL_ARG_FROM, packed}, {DNNL_ARG_TO, gradient}});
}

void ConvolutionForward(const ConvolutionShape& shape, const float* x, const float* packed,
                        const float* bias, float* y) {
  OneDnn::ThisThread().Run(
      Forward(shape),
      {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, y}});
}

void ConvolutionInputGradient(const ConvolutionShape& shape, const float* dy, const float* packed,
                              float* dx) {
  OneDnn::ThisThread().Run(
      InputGradient(shape),
      {{DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DIFF_SRC, dx}});
}

void ConvolutionWeightGradient(const ConvolutionShape& shape, const float* x, const float* dy,
                               float* packed) {
  OneDnn::ThisThread().Run(
      WeightGradient(shape),
      {{DNNL_ARG_SRC, x}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_WEIGHTS, packed}});
}

}  // namespace muster::kernels
