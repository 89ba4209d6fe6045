#include "nn/layers/lora.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tensor/kernels/dropout.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/linear.h"

namespace muster::nn {

LoraLinear::LoraLinear(ParameterSet& parameters, std::size_t weight,
                       std::optional<std::size_t> bias, const LoraOptions& options)
    : options_(options), weight_(weight), bias_(bias) {
  MUSTER_CHECK(options.rank > 0, "LoRA of rank 0");
  constexpr std::string_view kSuffix = ".weight";
  const std::string name = parameters[weight].name;
  const Shape shape = parameters[weight].shape;
  MUSTER_CHECK(name.ends_with(kSuffix) && shape.rank() == 2,
               "LoRA wraps matrices called <layer>.weight, not " + name + " " + shape.ToString());
  const std::string layer = name.substr(0, name.size() - kSuffix.size());
  parameters.Freeze(weight);
  if (bias) parameters.Freeze(*bias);
  // The bound is sqrt(3) gain / sqrt(in).
  a_ = parameters.Add({.name = layer + ".lora_A.weight",
                       .shape = {options.rank, shape[1]},
                       .initialization = Initialization::kKaimingUniform,
                       .gain = 1.0F / std::sqrt(3.0F),
                       .fan_in = shape[1]});
  b_ = parameters.Add({.name = layer + ".lora_B.weight", .shape = {shape[0], options.rank}});
}

Tensor LoraLinear::Forward(Tape& tape, Tensor x, const RandomKey& key) const {
  const Tensor bias = bias_ ? tape.Parameter(*bias_) : Tensor();
  const Tensor base = ops::Linear(tape, x, tape.Parameter(weight_), bias);
  const Tensor kept = ops::Dropout(tape, x, options_.dropout, key);
  const Tensor narrow = ops::Linear(tape, kept, tape.Parameter(a_), {});
  const float scale = options_.alpha / static_cast<float>(options_.rank);
  return ops::Add(tape, base,
                  ops::Linear(tape, ops::Scale(tape, narrow, scale), tape.Parameter(b_), {}));
}

void LoraLinear::Merge(const ParameterSet& parameters, std::span<float> values) const {
  MUSTER_CHECK(values.size() == parameters.flat_elements(), "a value vector of another size");
  const std::size_t out = parameters[weight_].shape[0], in = parameters[weight_].shape[1];
  float* const weight = &values[parameters[weight_].offset];
  const float* const a = &values[parameters[a_].offset];
  float* const b = &values[parameters[b_].offset];
  const float scale = options_.alpha / static_cast<float>(options_.rank);
  std::vector<float> row(in);
  for (std::size_t o = 0; o < out; ++o) {
    std::fill(row.begin(), row.end(), 0.0F);
    for (std::size_t r = 0; r < options_.rank; ++r) {
      const float factor = b[o * options_.rank + r];
      for (std::size_t i = 0; i < in; ++i) row[i] += factor * a[r * in + i];
    }
    for (std::size_t i = 0; i < in; ++i) weight[o * in + i] += scale * row[i];
  }
  std::fill_n(b, out * options_.rank, 0.0F);
}

}  // namespace muster::nn
