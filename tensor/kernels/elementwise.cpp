#include "tensor/kernels/elementwise.h"

#include "base/check.h"

namespace muster::ops {

namespace {

// sink = value(i), or sink += value(i).
template <class Value>
void Put(const GradientSink& sink, std::size_t count, const Value& value) {
  if (sink.data == nullptr) return;
  if (sink.accumulate) {
    for (std::size_t i = 0; i < count; ++i) sink.data[i] += value(i);
  } else {
    for (std::size_t i = 0; i < count; ++i) sink.data[i] = value(i);
  }
}

struct AddNode {
  Tensor a, b;
  void Backward(Tape& tape, const float* dy) const {
    for (const Tensor& input : {a, b}) {
      Put(tape.SinkFor(input), input.elements(), [&](std::size_t i) { return dy[i]; });
    }
  }
};

struct MultiplyNode {
  Tensor a, b;
  void Backward(Tape& tape, const float* dy) const {
    Put(tape.SinkFor(a), a.elements(), [&](std::size_t i) { return dy[i] * b.data()[i]; });
    Put(tape.SinkFor(b), b.elements(), [&](std::size_t i) { return dy[i] * a.data()[i]; });
  }
};

struct ScaleNode {
  Tensor x;
  float factor;
  void Backward(Tape& tape, const float* dy) const {
    Put(tape.SinkFor(x), x.elements(), [&](std::size_t i) { return dy[i] * factor; });
  }
};

struct ReshapeNode {
  Tensor x;
  void Backward(Tape& tape, const float* dy) const {
    // The first contribution takes over the view's memory: nobody else reads or writes it.
    TensorRecord& record = *x.record();
    if (record.gradient == nullptr) {
      record.gradient = const_cast<float*>(dy);
      record.gradient_written = true;
      return;
    }
    Put(tape.SinkFor(x), x.elements(), [&](std::size_t i) { return dy[i]; });
  }
};

struct SumNode {
  Tensor x;
  float factor;
  void Backward(Tape& tape, const float* dy) const {
    Put(tape.SinkFor(x), x.elements(), [&](std::size_t) { return dy[0] * factor; });
  }
};

void CheckEqualShapes(const Tensor& a, const Tensor& b) {
  MUSTER_CHECK(a.shape() == b.shape(),
               "shapes " + a.shape().ToString() + " and " + b.shape().ToString());
}

Tensor ScaledSum(Tape& tape, Tensor x, float factor) {
  MUSTER_CHECK(x.elements() > 0, "the sum of no elements");
  double sum = 0.0;
  for (const float value : x.values()) sum += static_cast<double>(value);
  Tensor y = tape.NewOutput({1});
  *y.data() = static_cast<float>(sum * static_cast<double>(factor));
  if (tape.Records({x})) tape.Record(y, {x}, SumNode{x, factor});
  return y;
}

}  // namespace

Tensor Add(Tape& tape, Tensor a, Tensor b) {
  CheckEqualShapes(a, b);
  Tensor y = tape.NewOutput(a.shape());
  for (std::size_t i = 0; i < y.elements(); ++i) y.data()[i] = a.data()[i] + b.data()[i];
  if (tape.Records({a, b})) tape.Record(y, {a, b}, AddNode{a, b});
  return y;
}

Tensor Multiply(Tape& tape, Tensor a, Tensor b) {
  CheckEqualShapes(a, b);
  Tensor y = tape.NewOutput(a.shape());
  for (std::size_t i = 0; i < y.elements(); ++i) y.data()[i] = a.data()[i] * b.data()[i];
  if (tape.Records({a, b})) tape.Record(y, {a, b}, MultiplyNode{a, b});
  return y;
}

Tensor Scale(Tape& tape, Tensor x, float factor) {
  Tensor y = tape.NewOutput(x.shape());
  for (std::size_t i = 0; i < y.elements(); ++i) y.data()[i] = x.data()[i] * factor;
  if (tape.Records({x})) tape.Record(y, {x}, ScaleNode{x, factor});
  return y;
}

Tensor Reshape(Tape& tape, Tensor x, const Shape& shape) {
  MUSTER_CHECK(shape.elements() == x.elements(),
               "reshape " + x.shape().ToString() + " to " + shape.ToString());
  Tensor y = tape.NewView(shape, x.data());
  if (tape.Records({x})) tape.Record(y, {x}, ReshapeNode{x});
  return y;
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
