#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "nn/generation/incremental_reader.h"
#include "nn/models/gpt2.h"
#include "nn/models/llama.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/sampling.h"

namespace muster::nn {
namespace {

using Indices = std::vector<std::int32_t>;

constexpr std::size_t kVocabulary = 2'500;  // More than a slice of the output layer.

std::unique_ptr<LanguageModel> SmallLanguageModel(const std::string& family) {
  if (family == "gpt2") {
    return std::move(*Gpt2::Make(
        {.layers = 2, .heads = 2, .width = 16, .vocabulary = kVocabulary, .context = 140}));
  }
  return std::move(*Llama::Make({.layers = 2,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .width = 16,
                                 .inner = 24,
                                 .vocabulary = kVocabulary,
                                 .context = 140,
                                 .window = 50}));
}

template <class T>
struct Leaves {
  explicit Leaves(const LanguageModel& model) : parameters(model.parameters()) {
    std::vector<float> wide(parameters.flat_elements());
    parameters.Initialize(3, wide);
    // Far from equal logits.
    for (float& value : wide) value *= 8;
    values.resize(wide.size());
    kernels::Convert(wide.data(), values.data(), wide.size());
  }
  std::vector<LeafBinding> Bind() const {
    return parameters.Bind(std::span<const T>(values), std::span<float>());
  }
  const ParameterSet& parameters;
  std::vector<T> values;
};

struct Generated {
  Indices tokens;  // With the prompt.
  std::vector<float> log_probs;
};

// One prompt after the other joins; each is read at once and goes on for `count` tokens.
template <class T>
std::vector<Generated> Generate(const LanguageModel& model, const Leaves<T>& leaves,
                                const std::vector<Indices>& prompts, std::size_t count,
                                ThreadPool* pool) {
  IncrementalReader reader(model, leaves.Bind(), {kDTypeOf<T>, 1'024, pool});
  std::vector<Generated> texts;
  std::vector<KvCache::Sequence> sequences;
  for (const Indices& prompt : prompts) {
    texts.push_back({prompt, {}});
    sequences.push_back(reader.Open());
  }
  const std::size_t rounds = prompts.size() + count;
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<Piece> pieces;
    std::vector<SamplingRow> rows;
    std::vector<std::size_t> who;
    for (std::size_t i = 0; i < texts.size() && i <= round; ++i) {
      if (texts[i].log_probs.size() == count) continue;
      const std::size_t read = reader.tokens(sequences[i]);
      pieces.push_back({sequences[i], std::span(texts[i].tokens).subspan(read)});
      rows.push_back({{}, {7, RandomPurpose::kSampling, static_cast<std::uint32_t>(i), read}});
      who.push_back(i);
    }
    if (pieces.empty()) break;
    const auto logits = reader.Read(pieces);
    EXPECT_TRUE(logits.ok()) << logits.status().message();
    std::vector<SampledToken> sampled(rows.size());
    Sample(pool, *logits, rows, sampled);
    for (std::size_t i = 0; i < who.size(); ++i) {
      texts[who[i]].tokens.push_back(sampled[i].token);
      texts[who[i]].log_probs.push_back(sampled[i].log_prob);
    }
  }
  return texts;
}

// What the trainer finds for the last tokens of the texts, packed.
template <class T>
std::vector<std::vector<float>> Trained(const LanguageModel& model, const Leaves<T>& leaves,
                                        const std::vector<Generated>& texts) {
  Indices tokens, targets, starts = {0};
  for (const Generated& text : texts) {
    tokens.insert(tokens.end(), text.tokens.begin(), text.tokens.end() - 1);
    targets.insert(targets.end(), text.tokens.begin() + 1, text.tokens.end());
    starts.push_back(static_cast<std::int32_t>(tokens.size()));
  }
  std::vector<float> gradients(model.parameters().trainable_elements());
  const Indices positions = PositionsOf(starts);
  Tape tape;
  tape.Begin(model.parameters().Bind(std::span<const T>(leaves.values), gradients));
  const auto scores =
      model.Loss(tape, model.Hidden(tape, {tokens, positions, starts}), targets, {}, 1);
  std::vector<std::vector<float>> log_probs;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto end = static_cast<std::size_t>(starts[i + 1]);
    const auto of =
        scores.log_probs.subspan(end - texts[i].log_probs.size(), texts[i].log_probs.size());
    log_probs.emplace_back(of.begin(), of.end());
  }
  return log_probs;
}

std::vector<Indices> Prompts() {
  std::mt19937 random(2);
  std::vector<Indices> prompts;
  for (const std::size_t length : {5, 1, 70}) {
    Indices prompt;
    for (std::size_t i = 0; i < length; ++i) {
      prompt.push_back(static_cast<std::int32_t>(random() % kVocabulary));
    }
    prompts.push_back(prompt);
  }
  return prompts;
}

template <class T>
void ExpectSampledIsTrained(const std::string& family) {
  SCOPED_TRACE(family + " " + NameOf(kDTypeOf<T>));
  const auto model = SmallLanguageModel(family);
  const Leaves<T> leaves(*model);
  ThreadPool pool(2);
  const std::vector<Indices> prompts = Prompts();
  const auto texts = Generate(*model, leaves, prompts, 64, &pool);
  const auto trained = Trained(*model, leaves, texts);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(texts[i].log_probs, trained[i]) << "sequence " << i;
  }
}

TEST(GenerationTest, SampledLogProbabilitiesAreThoseOfTheTrainerToTheBit) {
  for (const char* const family : {"gpt2", "llama"}) {
    ExpectSampledIsTrained<float>(family);
    ExpectSampledIsTrained<BFloat16>(family);
  }
}

TEST(GenerationTest, ASequenceGoesItsWayWhateverIsReadBesideIt) {
  const auto model = SmallLanguageModel("llama");
  const Leaves<BFloat16> leaves(*model);
  ThreadPool pool(3);
  const std::vector<Indices> prompts = Prompts();
  const auto together = Generate(*model, leaves, prompts, 30, &pool);
  const auto alone = Generate(*model, leaves, {prompts[0]}, 30, nullptr);
  EXPECT_EQ(together[0].tokens, alone[0].tokens);
  EXPECT_EQ(together[0].log_probs, alone[0].log_probs);
}

// However a text is cut into pieces, and with pages that others have used.
TEST(GenerationTest, PiecesGiveTheBitsOfOnePass) {
  const auto model = SmallLanguageModel("gpt2");
  const Leaves<BFloat16> leaves(*model);
  IncrementalReader reader(*model, leaves.Bind(), {DType::kBF16, 256, nullptr});
  std::mt19937 random(4);
  for (unsigned seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    Indices text;
    for (std::size_t i = 0; i < 1 + random() % 130; ++i) {
      text.push_back(static_cast<std::int32_t>(random() % kVocabulary));
    }
    const std::span<const std::int32_t> tokens(text);
    std::vector<float> whole, pieces;
    for (std::vector<float>* const logits : {&whole, &pieces}) {
      const auto sequence = reader.Open();
      std::size_t read = 0;
      while (read < tokens.size()) {
        const std::size_t left = tokens.size() - read;
        const std::size_t count = logits == &whole ? left : 1 + random() % left;
        const Piece piece{sequence, tokens.subspan(read, count)};
        const auto row = reader.Read({&piece, 1});
        ASSERT_TRUE(row.ok());
        logits->assign(row->data(), row->data() + kVocabulary);
        read += count;
      }
      reader.Close(sequence);
    }
    ASSERT_EQ(std::memcmp(whole.data(), pieces.data(), whole.size() * sizeof(float)), 0);
  }
}

TEST(GenerationTest, WhatDoesNotFitIsRefusedAndChangesNothing) {
  const auto model = SmallLanguageModel("gpt2");
  const Leaves<float> leaves(*model);
  IncrementalReader reader(*model, leaves.Bind(), {DType::kF32, 128, nullptr});
  const Indices text(141, 1);
  const auto a = reader.Open(), b = reader.Open();
  const auto read = [&](KvCache::Sequence sequence, std::size_t count) {
    const Piece piece{sequence, std::span(text).first(count)};
    return reader.Read({&piece, 1}).status();
  };
  EXPECT_EQ(read(a, 141).code(), StatusCode::kResourceExhausted);  // The model's context.
  ASSERT_TRUE(read(a, 65).ok());
  const Status full = read(b, 1);
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(full.message().find("0 free pages of 2, 1 are needed"), std::string::npos)
      << full.message();
  EXPECT_EQ(reader.tokens(a), 65U);
  EXPECT_EQ(reader.tokens(b), 0U);
  ASSERT_TRUE(read(a, 60).ok());
  reader.Close(a);
  EXPECT_TRUE(read(b, 128).ok());
}

}  // namespace
}  // namespace muster::nn
