#include "tensor/kernels/elementwise.h"

#include "base/check.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/stream.h"

namespace muster::ops {

namespace {

using kernels::ForBlocks;
using kernels::kElementBlock;

// to[i] = value(i), in blocks.
template <class T, class Value>
void Fill(ThreadPool* pool, T* to, std::size_t count, const Value& value) {
  const bool streams = kernels::Streams(to, count * sizeof(T), count * sizeof(T));
  ForBlocks(pool, count, kElementBlock, [&](std::size_t begin, std::size_t n) {
    kernels::Wide([&] {
      kernels::StoreRow(streams, to + begin, n, [&](std::size_t i) { return value(begin + i); });
    });
    kernels::EndStream(streams);
  });
}

// to[i] += value(i), in blocks.
template <class T, class Value>
void Increase(ThreadPool* pool, T* to, std::size_t count, const Value& value) {
  ForBlocks(pool, count, kElementBlock, [&](std::size_t begin, std::size_t n) {
    kernels::Wide([&] {
      for (std::size_t i = begin; i < begin + n; ++i) to[i] = T(ToFloat(to[i]) + value(i));
    });
  });
}

// sink = value(i), or sink += value(i).
template <class T, class Value>
void Put(ThreadPool* pool, const GradientSink<T>& sink, std::size_t count, const Value& value) {
  if (sink.data == nullptr) return;
  if (sink.accumulate) {
    Increase(pool, sink.data, count, value);
  } else {
    Fill(pool, sink.data, count, value);
  }
}

// Whether the gradient of `input` begins where dy lies: it does if it has no memory of its own yet,
// for nobody else reads or writes dy any more.
template <class T>
bool TakesOver(const Tensor& input, const T* dy) {
  TensorRecord& record = *input.record();
  if (!input.requires_gradient() || record.gradient != nullptr ||
      record.leaf != TensorRecord::kNotALeaf) {
    return false;
  }
  record.gradient = const_cast<T*>(dy);
  record.gradient_type = kDTypeOf<T>;
  record.gradient_written = true;
  return true;
}

template <class T>
struct AddNode {
  Tensor a, b;
  void Backward(Tape& tape, const T* dy) const {
    bool taken = false;  // By one of the two; the other gets a copy, or adds to what it has.
    for (const Tensor& input : {a, b}) {
      if (!taken && TakesOver(input, dy)) {
        taken = true;
      } else {
        Put(tape.pool(), tape.SinkFor<T>(input), input.elements(),
            [&](std::size_t i) { return ToFloat(dy[i]); });
      }
    }
  }
};

template <class T>
struct MultiplyNode {
  Tensor a, b;
  void Backward(Tape& tape, const T* dy) const {
    const T *const x = a.as<T>(), *const y = b.as<T>();
    Put(tape.pool(), tape.SinkFor<T>(a), a.elements(),
        [&](std::size_t i) { return ToFloat(dy[i]) * ToFloat(y[i]); });
    Put(tape.pool(), tape.SinkFor<T>(b), b.elements(),
        [&](std::size_t i) { return ToFloat(dy[i]) * ToFloat(x[i]); });
  }
};

template <class T>
struct ScaleNode {
  Tensor x;
  float factor;
  void Backward(Tape& tape, const T* dy) const {
    Put(tape.pool(), tape.SinkFor<T>(x), x.elements(),
        [&](std::size_t i) { return ToFloat(dy[i]) * factor; });
  }
};

// From an f32 tensor to a bf16 one, and back.
template <class From, class To>
struct CastNode {
  Tensor x;
  void Backward(Tape& tape, const To* dy) const {
    Put(tape.pool(), tape.SinkFor<From>(x), x.elements(),
        [&](std::size_t i) { return ToFloat(dy[i]); });
  }
};

template <class T>
struct ReshapeNode {
  Tensor x;
  void Backward(Tape& tape, const T* dy) const {
    if (TakesOver(x, dy)) return;
    Put(tape.pool(), tape.SinkFor<T>(x), x.elements(),
        [&](std::size_t i) { return ToFloat(dy[i]); });
  }
};

template <class T>
struct SumNode {
  Tensor x;
  float factor;
  void Backward(Tape& tape, const float* dy) const {
    Put(tape.pool(), tape.SinkFor<T>(x), x.elements(), [&](std::size_t) { return dy[0] * factor; });
  }
};

void CheckAlike(const Tensor& a, const Tensor& b) {
  MUSTER_CHECK(a.shape() == b.shape(),
               "shapes " + a.shape().ToString() + " and " + b.shape().ToString());
  MUSTER_CHECK(a.type() == b.type(), std::string(NameOf(a.type())) + " and " + NameOf(b.type()));
}

Tensor ScaledSum(Tape& tape, Tensor x, float factor) {
  MUSTER_CHECK(x.elements() > 0, "the sum of no elements");
  Tensor y = tape.NewOutput({1});
  Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    const T* const from = x.as<T>();
    double sum = 0.0;
    for (std::size_t i = 0; i < x.elements(); ++i) sum += static_cast<double>(ToFloat(from[i]));
    *y.data() = static_cast<float>(sum * static_cast<double>(factor));
    if (tape.Records({x})) tape.Record(y, {x}, SumNode<T>{x, factor});
  });
  return y;
}

template <class From, class To>
Tensor CastOf(Tape& tape, Tensor x) {
  Tensor y = tape.NewOutput(x.shape(), kDTypeOf<To>);
  const From* const from = x.as<From>();
  Fill(tape.pool(), y.as<To>(), x.elements(), [&](std::size_t i) { return ToFloat(from[i]); });
  if (tape.Records({x})) tape.Record(y, {x}, CastNode<From, To>{x});
  return y;
}

}  // namespace

Tensor UnfilledSum(Tape& tape, Tensor a, Tensor b) {
  CheckAlike(a, b);
  return Dispatch(a.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(a.shape(), kDTypeOf<T>);
    if (tape.Records({a, b})) tape.Record(y, {a, b}, AddNode<T>{a, b});
    return y;
  });
}

Tensor Add(Tape& tape, Tensor a, Tensor b) {
  Tensor y = UnfilledSum(tape, a, b);
  Dispatch(a.type(), [&](auto element) {
    using T = decltype(element);
    const T *const left = a.as<T>(), *const right = b.as<T>();
    Fill(tape.pool(), y.as<T>(), y.elements(),
         [&](std::size_t i) { return ToFloat(left[i]) + ToFloat(right[i]); });
  });
  return y;
}

Tensor Multiply(Tape& tape, Tensor a, Tensor b) {
  CheckAlike(a, b);
  return Dispatch(a.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(a.shape(), kDTypeOf<T>);
    const T *const left = a.as<T>(), *const right = b.as<T>();
    Fill(tape.pool(), y.as<T>(), y.elements(),
         [&](std::size_t i) { return ToFloat(left[i]) * ToFloat(right[i]); });
    if (tape.Records({a, b})) tape.Record(y, {a, b}, MultiplyNode<T>{a, b});
    return y;
  });
}

Tensor Scale(Tape& tape, Tensor x, float factor) {
  return Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewOutput(x.shape(), kDTypeOf<T>);
    const T* const from = x.as<T>();
    Fill(tape.pool(), y.as<T>(), y.elements(),
         [&](std::size_t i) { return ToFloat(from[i]) * factor; });
    if (tape.Records({x})) tape.Record(y, {x}, ScaleNode<T>{x, factor});
    return y;
  });
}

Tensor Cast(Tape& tape, Tensor x, DType type) {
  if (x.type() == type) return x;
  return type == DType::kBF16 ? CastOf<float, BFloat16>(tape, x) : CastOf<BFloat16, float>(tape, x);
}

Tensor Reshape(Tape& tape, Tensor x, const Shape& shape) {
  MUSTER_CHECK(shape.elements() == x.elements(),
               "reshape " + x.shape().ToString() + " to " + shape.ToString());
  return Dispatch(x.type(), [&](auto element) {
    using T = decltype(element);
    Tensor y = tape.NewView(shape, x.as<T>(), kDTypeOf<T>);
    if (tape.Records({x})) tape.Record(y, {x}, ReshapeNode<T>{x});
    return y;
  });
}

Tensor Flatten(Tape& tape, Tensor x) {
  const std::size_t samples = x.shape()[0];
  MUSTER_CHECK(samples > 0, "flatten of no samples");
  return Reshape(tape, x, {samples, x.elements() / samples});
}

Tensor Sum(Tape& tape, Tensor x) { return ScaledSum(tape, x, 1.0F); }

Tensor Mean(Tape& tape, Tensor x) {
  return ScaledSum(tape, x, 1.0F / static_cast<float>(x.elements()));
}

}  // namespace muster::ops
