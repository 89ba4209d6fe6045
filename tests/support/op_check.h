// CheckOp: an op in f32 and in bf16 against a reference in double: its values, and its gradients
// against the reference's central differences.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/kernels/elementwise.h"

namespace muster::testing {

struct OpInput {
  Shape shape;
  std::vector<double> values;
};

// A normal sample of the shape.
inline OpInput Normal(const Shape& shape, unsigned seed, double scale = 1, double mean = 0) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(mean, scale);
  OpInput input{shape, std::vector<double>(shape.elements())};
  for (double& value : input.values) value = normal(random);
  return input;
}

// `count` numbers below `below`.
inline std::vector<std::int32_t> RandomIndices(std::size_t count, std::size_t below,
                                               unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> indices(count);
  for (std::int32_t& index : indices) index = static_cast<std::int32_t>(random() % below);
  return indices;
}

// The rows of `table`, each of `width`, that the indices name.
inline std::vector<double> RowsOf(const std::vector<double>& table, std::size_t width,
                                  const std::vector<std::int32_t>& indices) {
  std::vector<double> rows;
  for (const std::int32_t index : indices) {
    const auto begin = table.begin() + static_cast<std::ptrdiff_t>(width) * index;
    rows.insert(rows.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
  }
  return rows;
}

using Op = std::function<Tensor(Tape&, const std::vector<Tensor>&)>;
// The values of the output from those of the inputs.
using Reference = std::function<std::vector<double>(const std::vector<std::vector<double>>&)>;

struct OpTolerance {
  // Of an element: tolerance * (1 + |reference|), a few roundings of terms of about size 1.
  double f32 = 2e-5;
  double bf16 = 3e-2;
};

namespace detail {

template <class T>
std::vector<double> AsDouble(const T* from, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<double>(ToFloat(from[i]));
  return values;
}

inline std::vector<double> GradientOf(const Tensor& tensor) {
  const TensorRecord& record = *tensor.record();
  if (!record.gradient_written) return {};
  return Dispatch(record.gradient_type, [&](auto element) {
    return AsDouble(tensor.gradient_as<decltype(element)>(), tensor.elements());
  });
}

inline void ExpectNear(const std::vector<double>& got, const std::vector<double>& wanted,
                       double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], wanted[i], tolerance * (1 + std::abs(wanted[i]))) << what << " " << i;
  }
}

template <class T>
void CheckOpIn(const Op& op, const Reference& reference, const std::vector<OpInput>& inputs,
               double tolerance, ThreadPool* pool) {
  // What both compute from are the values that T can hold.
  std::vector<std::vector<T>> values;
  std::vector<std::vector<double>> exact;
  for (const OpInput& input : inputs) {
    values.emplace_back();
    for (const double value : input.values) values.back().push_back(T(static_cast<float>(value)));
    exact.push_back(AsDouble(values.back().data(), values.back().size()));
  }
  Tape tape({.pool = pool});
  tape.Begin({});
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    tensors.push_back(tape.InputWithGradient(inputs[i].shape, values[i].data()));
  }
  const Tensor y = op(tape, tensors);
  Dispatch(y.type(), [&](auto element) {
    using Y = decltype(element);
    ExpectNear(AsDouble(y.as<Y>(), y.elements()), reference(exact), tolerance, "value");
    if (y.elements() == 0) return;
    std::vector<Y> weights;
    for (const double weight : Normal(y.shape(), 12345).values) {
      weights.push_back(Y(static_cast<float>(weight)));
    }
    const std::vector<double> slopes = AsDouble(weights.data(), weights.size());
    tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, tape.Input(y.shape(), weights.data()))));
    const auto loss = [&] {
      const std::vector<double> out = reference(exact);
      double sum = 0;
      for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * slopes[i];
      return sum;
    };
    for (std::size_t which = 0; which < inputs.size(); ++which) {
      std::vector<double> numeric;
      for (double& value : exact[which]) {
        const double kept = value, step = 1e-4;
        value = kept + step;
        const double above = loss();
        value = kept - step;
        numeric.push_back((above - loss()) / (2 * step));
        value = kept;
      }
      if (inputs[which].values.empty()) continue;
      ExpectNear(GradientOf(tensors[which]), numeric, tolerance,
                 "gradient of input " + std::to_string(which) + ", element");
    }
  });
}

}  // namespace detail

inline void CheckOp(const Op& op, const Reference& reference, const std::vector<OpInput>& inputs,
                    const OpTolerance& tolerance = {}, ThreadPool* pool = nullptr) {
  {
    SCOPED_TRACE("f32");
    detail::CheckOpIn<float>(op, reference, inputs, tolerance.f32, pool);
  }
  if (::testing::Test::HasFatalFailure()) return;
  SCOPED_TRACE("bf16");
  detail::CheckOpIn<BFloat16>(op, reference, inputs, tolerance.bf16, pool);
}

}  // namespace muster::testing
