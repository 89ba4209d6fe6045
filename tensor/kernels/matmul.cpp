#include "tensor/kernels/matmul.h"

#include "base/check.h"
#include "tensor/kernels/onednn.h"

namespace muster::kernels {

namespace {

using dnnl::memory;

constexpr std::int64_t kKindMatMul = 1;

std::int64_t Signed(std::size_t value) { return static_cast<std::int64_t>(value); }

memory::desc Describe(std::size_t rows, std::size_t columns, std::size_t row_stride,
                      std::size_t column_stride) {
  return {{Signed(rows), Signed(columns)},
          memory::data_type::f32,
          {Signed(row_stride), Signed(column_stride)}};
}

CachedPrimitive Make(OneDnn& onednn, const MatMulArgs& args) {
  const memory::desc a = Describe(args.rows, args.inner, args.a.row_stride, args.a.column_stride);
  const memory::desc b =
      Describe(args.inner, args.columns, args.b.row_stride, args.b.column_stride);
  const memory::desc c = Describe(args.rows, args.columns, args.c_row_stride, 1);
  const memory::desc bias = Describe(1, args.columns, args.columns, 1);
  dnnl::primitive_attr attributes = OneDnn::Attributes();
  dnnl::post_ops after;
  if (args.accumulate) after.append_sum(1.0F);
  if (args.relu) after.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
  attributes.set_post_ops(after);
  const auto description =
      args.bias != nullptr ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
  const dnnl::matmul::primitive_desc plan(description, attributes, onednn.engine());
  CachedPrimitive made;
  made.primitive = dnnl::matmul(plan);
  made.arguments = {{DNNL_ARG_SRC, onednn.Open(a)},
                    {DNNL_ARG_WEIGHTS, onednn.Open(b)},
                    {DNNL_ARG_DST, onednn.Open(c)}};
  if (args.bias != nullptr) made.arguments[DNNL_ARG_BIAS] = onednn.Open(bias);
  onednn.AddScratchpad(made, plan.scratchpad_desc());
  return made;
}

}  // namespace

void MatMul(const MatMulArgs& args) {
  MUSTER_CHECK(args.rows > 0 && args.columns > 0 && args.inner > 0, "an empty matrix product");
  MUSTER_CHECK(!(args.accumulate && args.relu), "relu of a partial sum");
  OneDnn& onednn = OneDnn::ThisThread();
  const std::int64_t flags =
      (args.bias != nullptr ? 1 : 0) + (args.relu ? 2 : 0) + (args.accumulate ? 4 : 0);
  const OneDnn::Key key = {kKindMatMul,
                           flags,
                           Signed(args.rows),
                           Signed(args.columns),
                           Signed(args.inner),
                           Signed(args.a.row_stride),
                           Signed(args.a.column_stride),
                           Signed(args.b.row_stride),
                           Signed(args.b.column_stride),
                           Signed(args.c_row_stride)};
  CachedPrimitive& primitive = onednn.Find(key, [&] { return Make(onednn, args); });
  onednn.Run(primitive, {{DNNL_ARG_SRC, args.a.data},
                         {DNNL_ARG_WEIGHTS, args.b.data},
                         {DNNL_ARG_BIAS, args.bias},
                         {DNNL_ARG_DST, args.c}});
}

}  // namespace muster::kernels
