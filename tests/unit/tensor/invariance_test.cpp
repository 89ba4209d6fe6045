// What every op promises about bits: on any number of threads its values and gradients are the
// same, and a row's do not depend on the rows beside it. And that gradients of two uses add.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tensor/kernels/activation.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/batched_matmul.h"
#include "tensor/kernels/categorical.h"
#include "tensor/kernels/concatenate.h"
#include "tensor/kernels/conv2d.h"
#include "tensor/kernels/dropout.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/embedding.h"
#include "tensor/kernels/gather.h"
#include "tensor/kernels/gaussian.h"
#include "tensor/kernels/group_norm.h"
#include "tensor/kernels/kl_divergence.h"
#include "tensor/kernels/linear.h"
#include "tensor/kernels/linear_cross_entropy.h"
#include "tensor/kernels/pool2d.h"
#include "tensor/kernels/ppo_loss.h"
#include "tensor/kernels/preference_loss.h"
#include "tensor/kernels/recurrent.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/rotary.h"
#include "tensor/kernels/row_norm.h"
#include "tensor/kernels/softmax.h"
#include "tensor/kernels/softmax_cross_entropy.h"
#include "tensor/kernels/swiglu.h"
#include "tests/support/op_check.h"

namespace muster {
namespace {

constexpr std::size_t kRows = 233;  // Several blocks of the wider ops, no multiple of anything.

// Rows `first` to `first + count` of the whole batch.
struct Part {
  std::size_t first = 0, count = kRows;
};

struct Input {
  std::vector<std::size_t> shape;  // Of a row, if by_row; otherwise of all.
  bool by_row = true;
  bool joined = false;  // Rows and their first dimension are one.
};

struct OpCase {
  std::string name;
  std::vector<Input> inputs;
  std::function<Tensor(Tape&, const std::vector<Tensor>&, Part)> op;
  // Whether an output is of its row alone. Otherwise (losses, sums) only threads are looked at.
  bool rows_apart = true;
  bool has_gradient = true;
  bool f32_alone = false;  // Not made for bf16.
};

constexpr bool kShared = false;

// Indices below `below`, one a row, the same for a row whatever part it is in.
std::vector<std::int32_t> IndicesOf(Part part, std::size_t below) {
  std::vector<std::int32_t> indices;
  for (std::size_t row = part.first; row < part.first + part.count; ++row) {
    indices.push_back(static_cast<std::int32_t>(row * 2654435761U % below));
  }
  return indices;
}

// `each` a row.
std::vector<float> NumbersOf(Part part, std::size_t each = 1) {
  std::vector<float> numbers;
  for (const std::int32_t index : IndicesOf({part.first * each, part.count * each}, 1000)) {
    numbers.push_back(static_cast<float>(index) / 500 - 1);
  }
  return numbers;
}

template <class T>
std::span<const T> Kept(Tape& tape, const std::vector<T>& values) {
  T* const kept = tape.arena().Array<T>(values.size());
  std::copy(values.begin(), values.end(), kept);
  return {kept, values.size()};
}

std::vector<OpCase> Pointwise() {
  std::vector<OpCase> cases;
  for (const Activation activation :
       {Activation::kRelu, Activation::kTanh, Activation::kGelu, Activation::kGeluTanh,
        Activation::kSilu, Activation::kSigmoid, Activation::kSoftplus}) {
    cases.push_back({"activation " + std::to_string(static_cast<int>(activation)),
                     {{{301}}},
                     [activation](Tape& tape, const auto& in, Part) {
                       return ops::Activate(tape, in[0], activation);
                     }});
  }
  cases.push_back({"add", {{{301}}, {{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::Add(tape, in[0], in[1]);
                   }});
  cases.push_back({"multiply", {{{301}}, {{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::Multiply(tape, in[0], in[1]);
                   }});
  cases.push_back({"scale", {{{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::Scale(tape, in[0], 0.3F);
                   }});
  cases.push_back({"swiglu", {{{301}}, {{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::SwiGlu(tape, in[0], in[1]);
                   }});
  cases.push_back({"dropout",
                   {{{301}}},
                   [](Tape& tape, const auto& in, Part) {
                     return ops::Dropout(tape, in[0], 0.3F, {.seed = 5});
                   },
                   false});  // What it drops goes by place.
  cases.push_back({"concatenate", {{{90}}, {{71}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::Concatenate(tape, in, 1);
                   }});
  cases.push_back({"slice", {{{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::Slice(tape, in[0], 1, 17, 130);
                   }});
  cases.push_back({"sum",
                   {{{301}}},
                   [](Tape& tape, const auto& in, Part) { return ops::Sum(tape, in[0]); },
                   false});
  return cases;
}

std::vector<OpCase> Rows() {
  std::vector<OpCase> cases;
  cases.push_back(
      {"layer norm",
       {{{301}}, {{301}, kShared}, {{301}, kShared}},
       [](Tape& tape, const auto& in, Part) { return ops::LayerNorm(tape, in[0], in[1], in[2]); }});
  cases.push_back({"RMS norm", {{{301}}, {{301}, kShared}}, [](Tape& tape, const auto& in, Part) {
                     return ops::RmsNorm(tape, in[0], in[1]);
                   }});
  cases.push_back({"add and layer norm",
                   {{{301}}, {{301}}, {{301}, kShared}, {{301}, kShared}},
                   [](Tape& tape, const auto& in, Part) {
                     const auto both = ops::AddLayerNorm(tape, in[0], in[1], in[2], in[3]);
                     return ops::Add(tape, both.sum, both.y);
                   }});
  cases.push_back({"add and RMS norm",
                   {{{301}}, {{301}}, {{301}, kShared}},
                   [](Tape& tape, const auto& in, Part) {
                     const auto both = ops::AddRmsNorm(tape, in[0], in[1], in[2]);
                     return ops::Add(tape, both.sum, both.y);
                   }});
  cases.push_back({"softmax", {{{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::Softmax(tape, in[0]);
                   }});
  cases.push_back({"log-softmax", {{{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::LogSoftmax(tape, in[0]);
                   }});
  cases.push_back({"sum of the last", {{{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::SumLast(tape, in[0]);
                   }});
  cases.push_back({"mean of the last", {{{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::MeanLast(tape, in[0]);
                   }});
  cases.push_back({"largest of the last", {{{301}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::MaxLast(tape, in[0]).values;
                   }});
  cases.push_back(
      {"top-k",
       {{{301}}},
       [](Tape& tape, const auto& in, Part) { return ops::TopK(tape, in[0], 7).values; },
       true,
       false});
  cases.push_back({"rotary", {{{6 * 16}}}, [](Tape& tape, const auto& in, Part part) {
                     static const RotaryTable table({.dims = 16}, 64);
                     const AttentionShape shape{4, 1, 16};
                     return ops::Rotary(tape, in[0], Kept(tape, IndicesOf(part, 64)), shape, table);
                   }});
  cases.push_back({"embedding", {{{50, 301}, kShared}}, [](Tape& tape, const auto& in, Part part) {
                     return ops::Embedding(tape, in[0], IndicesOf(part, 50));
                   }});
  cases.push_back({"gather", {{{50, 301}, kShared}}, [](Tape& tape, const auto& in, Part part) {
                     return ops::GatherRows(tape, in[0], IndicesOf(part, 50));
                   }});
  cases.push_back({"reset rows", {{{301}}}, [](Tape& tape, const auto& in, Part part) {
                     std::vector<std::uint8_t> done;
                     for (const std::int32_t i : IndicesOf(part, 2)) done.push_back(i != 0);
                     return ops::ResetRows(tape, in[0], done);
                   }});
  cases.push_back({"scatter",
                   {{{301}}},
                   [](Tape& tape, const auto& in, Part part) {
                     return ops::ScatterAddRows(tape, in[0], IndicesOf(part, 50), 50);
                   },
                   false});
  return cases;
}

std::vector<OpCase> Products() {
  std::vector<OpCase> cases;
  for (const Activation activation : {Activation::kNone, Activation::kGeluTanh}) {
    cases.push_back({"linear " + std::to_string(static_cast<int>(activation)),
                     {{{97}}, {{141, 97}, kShared}, {{141}, kShared}},
                     [activation](Tape& tape, const auto& in, Part) {
                       return ops::Linear(tape, in[0], in[1], in[2], activation);
                     }});
  }
  cases.push_back({"batched matmul", {{{5, 7}}, {{7, 9}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::BatchedMatmul(tape, in[0], in[1]);
                   }});
  cases.push_back({"convolution",
                   {{{9, 8, 3}}, {{17, 3, 3, 3}, kShared}, {{17}, kShared}},
                   [](Tape& tape, const auto& in, Part) {
                     return ops::Conv2d(tape, in[0], in[1], in[2], {.padding = 1});
                   }});
  cases.push_back({"convolution, relu and pool",
                   {{{9, 8, 3}}, {{17, 3, 3, 3}, kShared}, {{17}, kShared}},
                   [](Tape& tape, const auto& in, Part) {
                     return ops::Conv2d(tape, in[0], in[1], in[2], {.relu = true, .max_pool = 2});
                   }});
  cases.push_back({"max pooling", {{{9, 8, 3}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::MaxPool2d(tape, in[0]);
                   }});
  cases.push_back({"average pooling", {{{9, 8, 3}}}, [](Tape& tape, const auto& in, Part) {
                     return ops::AvgPool2d(tape, in[0]);
                   }});
  cases.push_back({"group norm",
                   {{{9, 8, 12}}, {{12}, kShared}, {{12}, kShared}},
                   [](Tape& tape, const auto& in, Part) {
                     return ops::GroupNorm(tape, in[0], in[1], in[2], 4);
                   }});
  cases.push_back({"GRU",
                   {{{21}}, {{19}}, {{57, 21}, kShared}, {{57, 19}, kShared}},
                   [](Tape& tape, const auto& in, Part) {
                     return ops::GruCell(tape, in[0], in[1], {in[2], in[3], {}, {}});
                   }});
  cases.push_back(
      {"LSTM",
       {{{21}}, {{19}}, {{19}}, {{76, 21}, kShared}, {{76, 19}, kShared}},
       [](Tape& tape, const auto& in, Part) {
         const auto state = ops::LstmCell(tape, in[0], {in[1], in[2]}, {in[3], in[4], {}, {}});
         return ops::Add(tape, state.hidden, state.cell);
       }});
  // A row is a sequence of five tokens.
  cases.push_back(
      {"attention", {{{5, 6 * 16}, true, true}}, [](Tape& tape, const auto& in, Part part) {
         std::vector<std::int32_t> starts;
         for (std::size_t s = 0; s <= part.count; ++s) {
           starts.push_back(static_cast<std::int32_t>(5 * s));
         }
         return ops::CausalAttention(tape, in[0], Kept(tape, starts), {4, 1, 16});
       }});
  return cases;
}

std::vector<OpCase> Losses() {
  std::vector<OpCase> cases;
  cases.push_back({"head and cross-entropy",
                   {{{33}}, {{2'100, 33}, kShared}},
                   [](Tape& tape, const auto& in, Part part) {
                     return ops::LinearCrossEntropy(tape, in[0], in[1], IndicesOf(part, 2'100),
                                                    NumbersOf(part), 0.1F)
                         .loss;
                   },
                   false});
  cases.push_back({"softmax and cross-entropy",
                   {{{301}}},
                   [](Tape& tape, const auto& in, Part part) {
                     return ops::SoftmaxCrossEntropy(tape, in[0], IndicesOf(part, 301), 0.1F).loss;
                   },
                   false});
  cases.push_back({"categorical", {{{301}}}, [](Tape& tape, const auto& in, Part part) {
                     const auto both = ops::Categorical(tape, in[0], IndicesOf(part, 301));
                     return ops::Add(tape, both.log_probs, both.entropy);
                   }});
  cases.push_back({"Gaussian", {{{1}}, {{1}, kShared}}, [](Tape& tape, const auto& in, Part part) {
                     const auto actions = Kept(tape, NumbersOf(part));
                     return ops::DiagonalGaussian(tape, in[0], in[1], actions).log_probs;
                   }});
  return cases;
}

// Numbers a row of the fused losses, so that all rows are more than one block.
constexpr std::size_t kEach = 101;

OpCase FusedLoss(
    const std::string& name, std::size_t inputs,
    std::function<Tensor(Tape&, const std::vector<Tensor>&, std::span<const float>)> op) {
  return {name,
          std::vector<Input>(inputs, Input{{kEach}, true, true}),
          [op](Tape& tape, const std::vector<Tensor>& in, Part part) {
            return op(tape, in, Kept(tape, NumbersOf(part, kEach)));
          },
          false,
          true,
          true};
}

std::vector<OpCase> FusedLosses() {
  std::vector<OpCase> cases;
  cases.push_back(FusedLoss("clipped surrogate", 1, [](Tape& tape, const auto& in, auto old) {
    return ops::ClippedSurrogate(tape, in[0], {old, old, {}}, {}, 0.1F).loss;
  }));
  cases.push_back(FusedLoss("value loss", 1, [](Tape& tape, const auto& in, auto old) {
    return ops::ValueLoss(tape, in[0], old, {}, 0.1F).loss;
  }));
  cases.push_back(FusedLoss("clipped value loss", 1, [](Tape& tape, const auto& in, auto old) {
    return ops::ClippedValueLoss(tape, in[0], {old, old, {}}, 0.2F, 0.1F).loss;
  }));
  cases.push_back(FusedLoss("Bradley-Terry", 2, [](Tape& tape, const auto& in, auto) {
    return ops::BradleyTerryLoss(tape, in[0], in[1], {}, 0.1F).loss;
  }));
  cases.push_back(FusedLoss("DPO", 2, [](Tape& tape, const auto& in, auto old) {
    return ops::DpoLoss(tape, in[0], in[1], {old, old}, {}, 0.1F).loss;
  }));
  cases.push_back(FusedLoss("IPO", 2, [](Tape& tape, const auto& in, auto old) {
    return ops::IpoLoss(tape, in[0], in[1], {old, old}, 0.5F, 0.1F).loss;
  }));
  cases.push_back(FusedLoss("KL loss", 1, [](Tape& tape, const auto& in, auto old) {
    return ops::KlLoss(tape, in[0], old, {}, ops::KlEstimator::kK2, 0.1F).loss;
  }));
  OpCase estimates = FusedLoss("KL estimates", 1, [](Tape& tape, const auto& in, auto old) {
    return ops::KlEstimates(tape, in[0], old, ops::KlEstimator::kK3);
  });
  estimates.rows_apart = true;
  cases.push_back(estimates);
  return cases;
}

// Bytes of what an op makes of some rows: its output, and the gradient of each input.
struct Bytes {
  std::string output;
  std::vector<std::string> gradients;
};

template <class T>
std::string Copied(const T* values, std::size_t count) {
  return {reinterpret_cast<const char*>(values), count * sizeof(T)};
}

std::size_t ElementsOf(const Input& input) {
  std::size_t product = 1;
  for (const std::size_t size : input.shape) product *= size;
  return product;
}

// The sum of the op's output, or of its squares, once for each of `uses`.
Tensor LossOf(const OpCase& one, Tape& tape, const std::vector<Tensor>& inputs, Part part, int uses,
              Tensor* output) {
  Tensor loss;
  for (int use = 0; use < uses; ++use) {
    const Tensor y = *output = one.op(tape, inputs, part);
    if (!one.has_gradient) return y;
    const bool whole = !one.rows_apart && y.elements() == 1;
    const Tensor own = whole ? y : ops::Sum(tape, ops::Multiply(tape, y, y));
    loss = use == 0 ? own : ops::Add(tape, loss, own);
  }
  return loss;
}

template <class T>
Bytes RunCase(const OpCase& one, Part part, ThreadPool* pool, int uses = 1,
              std::vector<double>* slopes = nullptr) {
  std::minstd_rand random(11);
  Tape tape({.pool = pool});
  tape.Begin({});
  std::vector<Tensor> inputs;
  for (const Input& input : one.inputs) {
    const std::size_t row = ElementsOf(input);
    const std::size_t all = input.by_row ? row * kRows : row;
    T* const values = tape.arena().Array<T>(all);
    for (std::size_t i = 0; i < all; ++i) {
      values[i] = T(static_cast<float>(random() % 8'191) / 2'048 - 2);
    }
    std::vector<std::size_t> sizes = input.shape;
    if (input.joined) {
      sizes[0] *= part.count;
    } else if (input.by_row) {
      sizes.insert(sizes.begin(), part.count);
    }
    Shape shape{};
    for (const std::size_t size : sizes) shape.Append(size);
    const T* const from = values + (input.by_row ? part.first * row : 0);
    inputs.push_back(tape.InputWithGradient(shape, from));
  }
  Tensor y;
  const Tensor loss = LossOf(one, tape, inputs, part, uses, &y);
  Bytes bytes;
  bytes.output = y.type() == DType::kF32 ? Copied(y.as<float>(), y.elements())
                                         : Copied(y.as<BFloat16>(), y.elements());
  if (!one.has_gradient) return bytes;
  tape.Backward(loss);
  for (const Tensor& input : inputs) {
    const TensorRecord& record = *input.record();
    EXPECT_TRUE(record.gradient_written) << one.name;
    if (!record.gradient_written) return bytes;
    bytes.gradients.push_back(std::string(static_cast<const char*>(record.gradient),
                                          input.elements() * SizeOf(record.gradient_type)));
    if (slopes == nullptr) continue;
    for (const double value : testing::GradientOf(input)) slopes->push_back(value);
  }
  return bytes;
}

// The second contribution to a gradient is added to the first.
template <class T>
void CheckTwoUses(const OpCase& one) {
  std::vector<double> once, twice;
  RunCase<T>(one, {0, 21}, nullptr, 1, &once);
  RunCase<T>(one, {0, 21}, nullptr, 2, &twice);
  double largest = 0;
  for (const double slope : once) largest = std::max(largest, std::abs(slope));
  ASSERT_EQ(once.size(), twice.size());
  // Of a few roundings: sums that begin with what is there, inputs that an op uses twice.
  const double tolerance = sizeof(T) == 2 ? 0x1p-6 : 0x1p-18;
  for (std::size_t i = 0; i < once.size(); ++i) {
    ASSERT_NEAR(twice[i], 2 * once[i], tolerance * largest) << i;
  }
}

template <class T>
void CheckThreads(const OpCase& one) {
  const Bytes alone = RunCase<T>(one, {}, nullptr);
  for (const std::size_t threads : {2, 3}) {
    ThreadPool pool(threads);
    const Bytes shared = RunCase<T>(one, {}, &pool);
    EXPECT_TRUE(alone.output == shared.output) << threads << " threads";
    EXPECT_TRUE(alone.gradients == shared.gradients) << threads << " threads, gradients";
  }
}

template <class T>
void CheckRows(const OpCase& one) {
  if (!one.rows_apart) return;
  const Bytes all = RunCase<T>(one, {}, nullptr);
  for (const Part part : {Part{0, 1}, Part{101, 37}, Part{kRows - 1, 1}}) {
    SCOPED_TRACE("rows " + std::to_string(part.first) + ", " + std::to_string(part.count));
    ThreadPool pool(2);
    const Bytes some = RunCase<T>(one, part, &pool);
    const auto expect_part = [&](const std::string& whole, const std::string& got) {
      const std::size_t row = whole.size() / kRows;
      EXPECT_TRUE(whole.substr(part.first * row, part.count * row) == got);
    };
    expect_part(all.output, some.output);
    for (std::size_t i = 0; i < some.gradients.size(); ++i) {
      if (one.inputs[i].by_row) expect_part(all.gradients[i], some.gradients[i]);
    }
  }
}

void CheckAll(const std::vector<OpCase>& cases) {
  for (const OpCase& one : cases) {
    for (const bool narrow : {false, true}) {
      if (narrow && one.f32_alone) continue;
      SCOPED_TRACE(one.name + (narrow ? ", bf16" : ", f32"));
      if (narrow) {
        CheckThreads<BFloat16>(one);
        CheckRows<BFloat16>(one);
        CheckTwoUses<BFloat16>(one);
      } else {
        CheckThreads<float>(one);
        CheckRows<float>(one);
        CheckTwoUses<float>(one);
      }
    }
  }
}

TEST(InvarianceTest, PointwiseOps) { CheckAll(Pointwise()); }
TEST(InvarianceTest, OpsOverRows) { CheckAll(Rows()); }
TEST(InvarianceTest, Products) { CheckAll(Products()); }
TEST(InvarianceTest, LossesAndDistributions) { CheckAll(Losses()); }
TEST(InvarianceTest, FusedLosses) { CheckAll(FusedLosses()); }

}  // namespace
}  // namespace muster
