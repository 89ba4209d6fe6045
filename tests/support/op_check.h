// CheckOp: an op in f32 and in bf16 against a reference in double: its values, and its gradients
// against the reference's central differences.
#pragma once

#include <gtest/gtest.h>

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
OpInput Normal(const Shape& shape, unsigned seed, double scale = 1, double mean = 0);

// The same of `count` numbers, as floats.
std::vector<float> NormalFloats(std::size_t count, unsigned seed, double scale = 1,
                                double mean = 0);

std::vector<float> AsFloats(const std::vector<double>& values);
// Element by element, of as many as `a` has.
std::vector<double> Added(const std::vector<double>& a, const std::vector<double>& b);

// `count` numbers below `below`.
std::vector<std::int32_t> RandomIndices(std::size_t count, std::size_t below, unsigned seed);

// The rows of `table`, each of `width`, that the indices name.
std::vector<double> RowsOf(const std::vector<double>& table, std::size_t width,
                           const std::vector<std::int32_t>& indices);

using Op = std::function<Tensor(Tape&, const std::vector<Tensor>&)>;
// The values of the output from those of the inputs.
using Reference = std::function<std::vector<double>(const std::vector<std::vector<double>>&)>;

struct OpTolerance {
  // Of an element: tolerance * (1 + |reference|), a few roundings of terms of about size 1.
  double f32 = 2e-5;
  double bf16 = 3e-2;
};

// The numbers of a tensor, and of its gradient: none where it got none.
std::vector<double> ValuesOf(const Tensor& tensor);
std::vector<double> GradientOf(const Tensor& tensor);

// The gradients of an input of many elements are compared at 96 of them, others for each type.
void CheckOp(const Op& op, const Reference& reference, const std::vector<OpInput>& inputs,
             const OpTolerance& tolerance = {}, ThreadPool* pool = nullptr);

}  // namespace muster::testing
