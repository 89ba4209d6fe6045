#include "tests/support/op_check.h"

#include <cmath>
#include <numeric>

namespace muster::testing {
namespace {

constexpr std::size_t kDifferences = 96;

template <class T>
std::vector<double> AsDouble(const T* from, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<double>(ToFloat(from[i]));
  return values;
}

void ExpectNear(double got, double wanted, double tolerance, const std::string& what) {
  ASSERT_NEAR(got, wanted, tolerance * (1 + std::abs(wanted))) << what;
}

std::vector<std::size_t> SomeOf(std::size_t count, unsigned seed) {
  std::vector<std::size_t> indices(count);
  std::iota(indices.begin(), indices.end(), 0);
  if (count <= kDifferences) return indices;
  std::mt19937 random(seed);
  std::vector<std::size_t> some;
  std::sample(indices.begin(), indices.end(), std::back_inserter(some), kDifferences, random);
  return some;
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
  const std::vector<double> wanted = reference(exact);
  ASSERT_EQ(y.elements(), wanted.size());
  std::vector<double> slopes;
  Dispatch(y.type(), [&](auto element) {
    using Y = decltype(element);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      ExpectNear(static_cast<double>(ToFloat(y.as<Y>()[i])), wanted[i], tolerance,
                 "value " + std::to_string(i));
      if (::testing::Test::HasFatalFailure()) return;
    }
    std::vector<Y> weights;
    for (const double weight : Normal(y.shape(), 12345).values) {
      weights.push_back(Y(static_cast<float>(weight)));
    }
    slopes = AsDouble(weights.data(), weights.size());
    if (slopes.empty()) return;
    tape.Backward(ops::Sum(tape, ops::Multiply(tape, y, tape.Input(y.shape(), weights.data()))));
  });
  const auto loss = [&] {
    const std::vector<double> out = reference(exact);
    return std::inner_product(out.begin(), out.end(), slopes.begin(), 0.0);
  };
  for (std::size_t which = 0; which < inputs.size() && !slopes.empty(); ++which) {
    const std::vector<double> got = GradientOf(tensors[which]);
    ASSERT_EQ(got.size(), exact[which].size()) << "gradient of input " << which;
    for (const std::size_t i : SomeOf(got.size(), sizeof(T))) {
      if (::testing::Test::HasFatalFailure()) return;
      double& value = exact[which][i];
      const double kept = value, step = 1e-4;
      value = kept + step;
      const double above = loss();
      value = kept - step;
      const double slope = (above - loss()) / (2 * step);
      value = kept;
      ExpectNear(got[i], slope, tolerance,
                 "gradient of input " + std::to_string(which) + ", element " + std::to_string(i));
    }
  }
}

}  // namespace

OpInput Normal(const Shape& shape, unsigned seed, double scale, double mean) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(mean, scale);
  OpInput input{shape, std::vector<double>(shape.elements())};
  for (double& value : input.values) value = normal(random);
  return input;
}

std::vector<float> NormalFloats(std::size_t count, unsigned seed, double scale, double mean) {
  return AsFloats(Normal({count}, seed, scale, mean).values);
}

std::vector<float> AsFloats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

std::vector<double> Added(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> sum = a;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += b[i];
  return sum;
}

std::vector<double> ValuesOf(const Tensor& tensor) {
  return Dispatch(tensor.type(), [&](auto element) {
    return AsDouble(tensor.as<decltype(element)>(), tensor.elements());
  });
}

std::vector<double> GradientOf(const Tensor& tensor) {
  const TensorRecord& record = *tensor.record();
  if (!record.gradient_written) return {};
  return Dispatch(record.gradient_type, [&](auto element) {
    return AsDouble(tensor.gradient_as<decltype(element)>(), tensor.elements());
  });
}

std::vector<std::int32_t> RandomIndices(std::size_t count, std::size_t below, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> indices(count);
  for (std::int32_t& index : indices) index = static_cast<std::int32_t>(random() % below);
  return indices;
}

std::vector<double> RowsOf(const std::vector<double>& table, std::size_t width,
                           const std::vector<std::int32_t>& indices) {
  std::vector<double> rows;
  for (const std::int32_t index : indices) {
    const auto begin = table.begin() + static_cast<std::ptrdiff_t>(width) * index;
    rows.insert(rows.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
  }
  return rows;
}

void CheckOp(const Op& op, const Reference& reference, const std::vector<OpInput>& inputs,
             const OpTolerance& tolerance, ThreadPool* pool) {
  {
    SCOPED_TRACE("f32");
    CheckOpIn<float>(op, reference, inputs, tolerance.f32, pool);
  }
  if (::testing::Test::HasFatalFailure()) return;
  SCOPED_TRACE("bf16");
  CheckOpIn<BFloat16>(op, reference, inputs, tolerance.bf16, pool);
}

}  // namespace muster::testing
