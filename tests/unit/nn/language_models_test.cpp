#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "nn/models/gpt2.h"
#include "nn/models/llama.h"
#include "nn/optim/optimizer.h"
#include "tensor/kernels/blocks.h"

namespace muster::nn {
namespace {

using Indices = std::vector<std::int32_t>;

constexpr std::size_t kLetters = 29;

std::unique_ptr<Gpt2> SmallGpt2() {
  auto model =
      Gpt2::Make({.layers = 3, .heads = 2, .width = 16, .vocabulary = kLetters, .context = 40});
  return std::move(*model);
}

std::unique_ptr<Llama> SmallLlama() {
  auto model = Llama::Make({.layers = 3,
                            .heads = 4,
                            .kv_heads = 2,
                            .width = 16,
                            .inner = 24,
                            .vocabulary = kLetters,
                            .context = 40,
                            .qkv_bias = true,
                            .tied = true});
  return std::move(*model);
}

// Sequences of these lengths, of random tokens; the target of a token is the one before it, so that
// attention has to look back.
struct Text {
  explicit Text(const std::vector<std::size_t>& lengths, unsigned seed = 1) {
    std::mt19937 random(seed);
    for (const std::size_t length : lengths) {
      starts.push_back(static_cast<std::int32_t>(tokens.size()));
      for (std::size_t i = 0; i < length; ++i) {
        targets.push_back(i == 0 ? 0 : tokens.back());
        tokens.push_back(static_cast<std::int32_t>(random() % kLetters));
      }
    }
    starts.push_back(static_cast<std::int32_t>(tokens.size()));
    positions = PositionsOf(starts);
  }
  TokenBatch batch() const { return {tokens, positions, starts}; }
  Indices tokens, targets, starts, positions;
};

template <class T>
struct Weights {
  explicit Weights(const ParameterSet& set) : parameters(set), values(set.flat_elements()) {
    gradients.resize(set.trainable_elements());
    set.Initialize(5, values);
    Narrow();
  }
  void Narrow() {
    narrow.resize(values.size());
    kernels::Convert(values.data(), narrow.data(), values.size());
  }
  std::vector<LeafBinding> Bind() { return parameters.Bind(std::span<const T>(narrow), gradients); }
  const ParameterSet& parameters;
  std::vector<float> values, gradients;
  std::vector<T> narrow;
};

template <class T, class Model>
std::vector<T> Hidden(const Model& model, const Text& text) {
  Weights<T> weights(model.parameters());
  Tape tape({.inference = true});
  tape.Begin(weights.Bind());
  const Tensor hidden = model.Hidden(tape, text.batch());
  return {hidden.as<T>(), hidden.as<T>() + hidden.elements()};
}

template <class T, class Model>
void ExpectRowsOfTheirOwn(const Model& model) {
  Text text({7, 1, 19});
  const std::vector<T> packed = Hidden<T>(model, text);
  // Alone, and with another last token.
  Text last({0}), changed = text;
  last.tokens.assign(text.tokens.begin() + 8, text.tokens.end());
  last.starts = {0, 19};
  last.positions = PositionsOf(last.starts);
  changed.tokens.back() = (changed.tokens.back() + 1) % static_cast<std::int32_t>(kLetters);
  const std::vector<T> alone = Hidden<T>(model, last), other = Hidden<T>(model, changed);
  EXPECT_EQ(std::memcmp(&packed[8 * 16], alone.data(), alone.size() * sizeof(T)), 0);
  EXPECT_EQ(std::memcmp(packed.data(), other.data(), 26 * 16 * sizeof(T)), 0);
  EXPECT_NE(std::memcmp(&packed[26 * 16], &other[26 * 16], 16 * sizeof(T)), 0);
}

TEST(LanguageModelsTest, ATokenSeesItsSequenceUpToItselfOnly) {
  ExpectRowsOfTheirOwn<float>(*SmallGpt2());
  ExpectRowsOfTheirOwn<BFloat16>(*SmallGpt2());
  ExpectRowsOfTheirOwn<float>(*SmallLlama());
  ExpectRowsOfTheirOwn<BFloat16>(*SmallLlama());
}

template <class T, class Model>
void ExpectRecomputationChangesNothing(const Model& model) {
  const Text text({7, 1, 19});
  std::vector<float> gradients[2];
  std::size_t used[2] = {};
  float losses[2] = {};
  for (const bool again : {false, true}) {
    Weights<T> weights(model.parameters());
    ThreadPool pool(again ? 2 : 1);
    Tape tape({.pool = &pool});
    tape.Begin(weights.Bind());
    const Tensor hidden =
        model.Hidden(tape, text.batch(), again ? Activations::kRecompute : Activations::kKeep);
    const auto scores = model.Loss(tape, hidden, text.targets, {}, 1.0F / 27);
    used[again] = tape.arena().used_bytes();
    tape.Backward(scores.loss);
    losses[again] = *scores.loss.data();
    gradients[again] = weights.gradients;
  }
  EXPECT_EQ(losses[0], losses[1]);
  EXPECT_EQ(gradients[0], gradients[1]);
  EXPECT_LT(used[1], used[0] / 2);
}

TEST(LanguageModelsTest, RecomputedActivationsGiveTheSameBits) {
  ExpectRecomputationChangesNothing<float>(*SmallGpt2());
  ExpectRecomputationChangesNothing<BFloat16>(*SmallGpt2());
  ExpectRecomputationChangesNothing<float>(*SmallLlama());
  ExpectRecomputationChangesNothing<BFloat16>(*SmallLlama());
}

template <class T, class Model>
void ExpectLearns(const Model& model) {
  Weights<T> weights(model.parameters());
  const auto optimizer = MakeOptimizer({.kind = OptimizerKind::kAdam}, model.parameters());
  Tape tape;
  float loss = 0;
  for (unsigned step = 0; step < 400; ++step) {
    const Text text({12, 20}, step % 8);
    tape.Begin(weights.Bind());
    const auto scores =
        model.Loss(tape, model.Hidden(tape, text.batch()), text.targets, {}, 1.0F / 32);
    loss = *scores.loss.data();
    if (step == 0) {
      EXPECT_GT(loss, 3.0F);  // ln 29 = 3.4.
    }
    tape.Backward(scores.loss);
    optimizer->Step({.learning_rate = 0.01F}, weights.values, weights.gradients, nullptr);
    weights.Narrow();
  }
  EXPECT_LT(loss, 1.0F);
}

TEST(LanguageModelsTest, LearnToLookBack) {
  ExpectLearns<float>(*SmallGpt2());
  ExpectLearns<BFloat16>(*SmallLlama());
}

TEST(LanguageModelsTest, HaveThePublishedNumberOfParameters) {
  EXPECT_EQ((*Gpt2::Make({}))->parameters().parameter_elements(), 124'439'808U);
  EXPECT_EQ((*Llama::Make({}))->parameters().parameter_elements(), 1'100'048'384U);
  // Qwen2-0.5B.
  const auto qwen = Llama::Make({.layers = 24,
                                 .heads = 14,
                                 .kv_heads = 2,
                                 .width = 896,
                                 .inner = 4'864,
                                 .vocabulary = 151'936,
                                 .qkv_bias = true,
                                 .tied = true});
  EXPECT_EQ((*qwen)->parameters().parameter_elements(), 494'032'768U);
}

TEST(LanguageModelsTest, RefuseWhatCannotWork) {
  EXPECT_EQ(Gpt2::Make({.heads = 7}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Llama::Make({.layers = 0}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Llama::Make({.heads = 3, .kv_heads = 3}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Llama::Make({.kv_heads = 3}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Llama::Make({.head_dim = 7}).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace muster::nn
