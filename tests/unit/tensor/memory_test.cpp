// Whatever an op takes memory for, an error for want of it says what for and who holds the rest.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/categorical.h"
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
#include "tensor/kernels/row_norm.h"
#include "tensor/kernels/softmax.h"
#include "tensor/kernels/softmax_cross_entropy.h"

namespace muster {
namespace {

const std::vector<float> kNumbers(1U << 16U, 0.5F);
const std::vector<std::int32_t> kOnes(1U << 12U, 1);

struct MemoryCase {
  std::string name;
  std::function<Tensor(Tape&)> op;
};

Tensor In(Tape& tape, const Shape& shape) { return tape.InputWithGradient(shape, kNumbers.data()); }

std::vector<MemoryCase> MemoryCases() {
  const auto first = [](std::size_t count) { return std::span(kNumbers).first(count); };
  const auto ones = [](std::size_t count) { return std::span(kOnes).first(count); };
  return {
      {"linear",
       [](Tape& t) {
         return ops::Linear(t, In(t, {200, 60}), In(t, {90, 60}), In(t, {90}), Activation::kGelu);
       }},
      {"softmax",
       [](Tape& t) {
         return ops::Softmax(t, In(t, {700, 3}));
       }},
      {"norm",
       [](Tape& t) {
         return ops::LayerNorm(t, In(t, {700, 3}), In(t, {3}), In(t, {3}));
       }},
      {"group norm",
       [](Tape& t) {
         return ops::GroupNorm(t, In(t, {70, 3, 3, 4}), In(t, {4}), In(t, {4}), 2);
       }},
      {"attention",
       [](Tape& t) {
         return ops::CausalAttention(t, In(t, {200, 24}), std::vector<std::int32_t>{0, 200},
                                     {4, 2, 3});
       }},
      {"head",
       [=](Tape& t) {
         return ops::LinearCrossEntropy(t, In(t, {200, 8}), In(t, {500, 8}), ones(200)).loss;
       }},
      {"classes",
       [=](Tape& t) {
         return ops::SoftmaxCrossEntropy(t, In(t, {200, 30}), ones(200), 1).loss;
       }},
      {"convolution",
       [](Tape& t) {
         return ops::Conv2d(t, In(t, {9, 8, 8, 3}), In(t, {16, 3, 3, 3}), In(t, {16}),
                            {.relu = true, .max_pool = 2});
       }},
      {"pool",
       [](Tape& t) {
         return ops::MaxPool2d(t, In(t, {9, 8, 8, 3}));
       }},
      {"embedding",
       [=](Tape& t) {
         return ops::Embedding(t, In(t, {500, 8}), ones(700));
       }},
      {"scatter",
       [=](Tape& t) {
         return ops::ScatterAddRows(t, In(t, {700, 8}), ones(700), 500);
       }},
      {"largest",
       [](Tape& t) {
         return ops::MaxLast(t, In(t, {700, 3})).values;
       }},
      {"dropout", [](Tape& t) { return ops::Dropout(t, In(t, {4000}), 0.5F, {}); }},
      {"reset rows",
       [](Tape& t) {
         return ops::ResetRows(t, In(t, {4000, 1}), std::vector<std::uint8_t>(4000));
       }},
      {"LSTM",
       [](Tape& t) {
         return ops::LstmGates(t, In(t, {200, 20}), In(t, {200, 20}), In(t, {200, 5})).hidden;
       }},
      {"categorical",
       [=](Tape& t) {
         return ops::Categorical(t, In(t, {700, 3}), ones(700)).log_probs;
       }},
      {"Gaussian",
       [=](Tape& t) {
         return ops::DiagonalGaussian(t, In(t, {700, 3}), In(t, {3}), first(2100)).log_probs;
       }},
      {"surrogate",
       [=](Tape& t) {
         return ops::ClippedSurrogate(t, In(t, {4000}), {first(4000), first(4000), {}}, {}, 1).loss;
       }},
      {"preference",
       [](Tape& t) { return ops::BradleyTerryLoss(t, In(t, {4000}), In(t, {4000}), {}, 1).loss; }},
      {"KL",
       [=](Tape& t) {
         return ops::KlEstimates(t, In(t, {4000}), first(4000), ops::KlEstimator::kK3);
       }},
      {"checkpoint",
       [](Tape& t) {
         return t.Checkpoint({In(t, {60, 50})}, [](Tape& inner, std::span<const Tensor> in) {
           const Tensor weight = inner.Input({50, 50}, kNumbers.data());
           return ops::Linear(inner, in[0], weight, {}, Activation::kSilu);
         });
       }},
  };
}

// What went wrong with so much memory, if anything.
std::string ErrorOf(const MemoryCase& one, Tape& tape) {
  try {
    tape.Begin({});
    Tensor loss;
    {
      const Tape::Scope scope(tape, "the.part");
      const Tensor y = one.op(tape);
      loss = y.elements() == 1 ? y : ops::Sum(tape, y);
    }
    tape.Backward(loss);
  } catch (const OutOfMemory& error) {
    return error.what();
  }
  return {};
}

// From too little for anything to enough: wherever it ends, the error says for what tensor, and
// what this step holds.
TEST(MemoryTest, EveryErrorNamesATensorAndWhatHoldsTheMemory) {
  for (const MemoryCase& one : MemoryCases()) {
    SCOPED_TRACE(one.name);
    MemoryBudget all(std::size_t{1} << 30U);
    Tape measured({.memory = &all});
    ASSERT_EQ(ErrorOf(one, measured), "");
    const std::size_t most = measured.arena().used_bytes() + (std::size_t{16} << 10U);
    std::size_t failed = 0;
    for (std::size_t bytes = 64; bytes < most; bytes += 64 + most / 70) {
      MemoryBudget memory(bytes);
      Tape tape({.memory = &memory});
      const std::string error = ErrorOf(one, tape);
      if (error.empty()) continue;
      ++failed;
      ASSERT_EQ(error.rfind("out of memory ", 0), 0U) << bytes << ": " << error;
      ASSERT_NE(error.find("a tensor ["), std::string::npos) << bytes << ": " << error;
      ASSERT_NE(error.find("; this step holds "), std::string::npos) << bytes << ": " << error;
    }
    EXPECT_GT(failed, 10U);
  }
}

}  // namespace
}  // namespace muster
