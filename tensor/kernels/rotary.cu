#include "tensor/cuda/launch.cuh"
#include "tensor/cuda/op_functions.cuh"

namespace muster::cuda {

namespace {

// One thread to a number: its pair's other one is read beside it.
template <class T>
void RotaryOf(Stream& stream, const RotaryArgs& args) {
  const RotaryArgs r = args;
  const T* const x = As<T>(args.x);
  T* const y = As<T>(args.y);
  const std::size_t dim = args.sizes.head_dim, pairs = args.dims / 2;
  const std::size_t turned = (args.sizes.heads + args.sizes.kv_heads) * dim;
  const std::size_t row = turned + args.sizes.kv_heads * dim;
  ForEach(stream, args.tokens * row, [=] __device__(std::size_t i) {
    const std::size_t at = i % row, number = at % dim;  // Of its head.
    if (at >= turned || number >= r.dims) {
      Put(y[i], ToFloat(x[i]), r.accumulate);
      return;
    }
    const std::size_t pair = r.neighbours ? number / 2 : number % pairs;
    const bool is_first = r.neighbours ? number % 2 == 0 : number < pairs;
    const std::size_t apart = r.neighbours ? 1 : pairs;
    const float a = ToFloat(x[is_first ? i : i - apart]), b = ToFloat(x[is_first ? i + apart : i]);
    const float* const turns = r.turns + static_cast<std::size_t>(r.positions[i / row]) * r.dims;
    const float cosine = turns[pair];
    const float sine = r.back ? -turns[pairs + pair] : turns[pairs + pair];
    Put(y[i], is_first ? a * cosine - b * sine : b * cosine + a * sine, r.accumulate);
  });
}

}  // namespace

void Rotary(Stream& stream, const RotaryArgs& args) {
  MUSTER_CHECK(args.x != args.y, "a rotary embedding in place");
  MUSTER_BY_TYPE(args.type, RotaryOf, stream, args);
}

}  // namespace muster::cuda
