#include "bench/decode.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

#include "base/cpu.h"
#include "bench/bandwidth.h"
#include "bench/median.h"
#include "bench/peer.h"
#include "nn/generation/incremental_reader.h"
#include "nn/models/gpt2.h"
#include "tensor/kernels/blocks.h"
#include "tensor/kernels/sampling.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<std::size_t, 2> kSequences = {1, 8};

// The same model with its own cache: tokens a second of one and of eight sequences.
constexpr const char* kTorch = R"(
import statistics, sys, time
import torch
from torch import nn
from torch.nn import functional as F
kind, threads, prompt, tokens, rounds = sys.argv[1], *map(int, sys.argv[2:6])
L, H, W, V, C = 12, 12, 768, 50257, 1024
torch.manual_seed(1)
torch.set_num_threads(threads)
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(W), nn.LayerNorm(W)
        self.qkv, self.out = nn.Linear(W, 3 * W), nn.Linear(W, W)
        self.up, self.down = nn.Linear(W, 4 * W), nn.Linear(4 * W, W)
    def forward(self, x, cache, at):
        B, T, _ = x.shape
        q, k, v = (t.view(B, T, H, W // H).transpose(1, 2)
                   for t in self.qkv(self.n1(x)).split(W, dim=2))
        cache[0][:, :, at:at + T], cache[1][:, :, at:at + T] = k, v
        a = F.scaled_dot_product_attention(q, cache[0][:, :, :at + T], cache[1][:, :, :at + T],
                                           is_causal=T > 1)
        x = x + self.out(a.transpose(1, 2).reshape(B, T, W))
        return x + self.down(F.gelu(self.up(self.n2(x)), approximate="tanh"))
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, W), nn.Embedding(C, W)
        self.blocks = nn.ModuleList(Block() for _ in range(L))
        self.norm = nn.LayerNorm(W)
    def forward(self, tokens, caches, at):
        x = self.wte(tokens) + self.wpe(torch.arange(at, at + tokens.shape[1]))
        for block, cache in zip(self.blocks, caches):
            x = block(x, cache, at)
        return self.norm(x[:, -1]) @ self.wte.weight.T
kind = torch.bfloat16 if kind == "bf16" else torch.float32
model = Model().to(kind).eval()
def measure(B):
    caches = [torch.zeros(2, B, H, prompt + tokens, W // H, dtype=kind) for _ in range(L)]
    times = []
    for _ in range(rounds):
        next = model(torch.randint(V, (B, prompt)), caches, 0).argmax(-1, keepdim=True)
        begin = time.perf_counter()
        for at in range(prompt, prompt + tokens):
            next = model(next, caches, at).argmax(-1, keepdim=True)
        times.append(time.perf_counter() - begin)
    return B * tokens / statistics.median(times)
with torch.inference_mode():
    print(measure(1), measure(8))
)";

class Generation {
 public:
  Generation(const nn::Gpt2& model, nn::IncrementalReader& reader, std::size_t sequences,
             std::size_t prompt)
      : reader_(reader), prompt_(prompt, 1), next_(sequences), rows_(sequences) {
    for (std::size_t i = 0; i < sequences; ++i) {
      for (std::size_t t = 0; t < prompt; ++t) {
        prompt_[t] = static_cast<std::int32_t>((t * 7919 + i) % model.vocabulary());
      }
      sequences_.push_back(reader.Open());
      rows_[i].options.temperature = 0;
    }
  }
  ~Generation() {
    for (const auto sequence : sequences_) reader_.Close(sequence);
  }

  // Reads the prompts, then generates `tokens` of each: seconds of the latter.
  Result<double> Run(std::size_t tokens, ThreadPool* pool) {
    MUSTER_RETURN_IF_ERROR(Step(true, pool));
    const auto begin = Clock::now();
    for (std::size_t t = 0; t < tokens; ++t) MUSTER_RETURN_IF_ERROR(Step(false, pool));
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

 private:
  Status Step(bool first, ThreadPool* pool) {
    pieces_.clear();
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const std::span<const std::int32_t> next(&next_[i].token, 1);
      pieces_.push_back({sequences_[i], first ? std::span<const std::int32_t>(prompt_) : next});
    }
    MUSTER_ASSIGN_OR_RETURN(const Tensor logits, reader_.Read(pieces_));
    Sample(pool, logits, rows_, next_);
    return {};
  }

  nn::IncrementalReader& reader_;
  std::vector<std::int32_t> prompt_;
  std::vector<SampledToken> next_;
  std::vector<SamplingRow> rows_;
  std::vector<nn::KvCache::Sequence> sequences_;
  std::vector<nn::Piece> pieces_;
};

struct Samples {
  std::array<std::vector<double>, kSequences.size()> tokens_per_s, share;
  std::vector<double> read_gb_per_s;
  std::size_t weight_bytes = 0;
};

template <class T>
Result<Samples> Measure(const nn::Gpt2& model, const DecodeBenchmarkOptions& options) {
  const nn::ParameterSet& parameters = model.parameters();
  std::vector<float> wide(parameters.flat_elements());
  parameters.Initialize(1, wide);
  std::vector<T> values(wide.size());
  kernels::Convert(wide.data(), values.data(), wide.size());
  std::unique_ptr<ThreadPool> pool;
  if (options.threads > 1) pool = std::make_unique<ThreadPool>(options.threads);
  const std::size_t pages = (options.prompt + options.tokens) / kAttentionTile + 1;
  nn::IncrementalReader reader(
      model, parameters.Bind(std::span<const T>(values), std::span<float>()),
      {kDTypeOf<T>, kSequences.back() * pages * kAttentionTile, pool.get()});
  Bandwidth bandwidth(pool.get());
  Samples samples;
  for (std::size_t round = 0; round <= options.rounds; ++round) {
    const double read = bandwidth.ReadBytesPerSecond();
    for (std::size_t i = 0; i < kSequences.size(); ++i) {
      Generation generation(model, reader, kSequences[i], options.prompt);
      MUSTER_ASSIGN_OR_RETURN(const double seconds, generation.Run(options.tokens, pool.get()));
      samples.weight_bytes = reader.packed_bytes();
      if (round == 0) continue;  // Packs the weights.
      const double steps_per_s = static_cast<double>(options.tokens) / seconds;
      samples.tokens_per_s[i].push_back(static_cast<double>(kSequences[i]) * steps_per_s);
      samples.share[i].push_back(steps_per_s * static_cast<double>(samples.weight_bytes) / read);
    }
    if (round > 0) samples.read_gb_per_s.push_back(read * 1e-9);
  }
  return samples;
}

void Print(const Samples& samples, const DecodeBenchmarkOptions& options, std::ostream& out) {
  std::array<char, 512> text{};
  const double one = Median(samples.tokens_per_s[0]), eight = Median(samples.tokens_per_s[1]);
  if (options.json) {
    std::snprintf(text.data(), text.size(),
                  "{\"tokens_per_s_1\":%.1f,\"tokens_per_s_8\":%.1f,\"share_of_bandwidth_1\":%.3f,"
                  "\"eight_to_one\":%.2f,\"read_gb_per_s\":%.1f",
                  one, eight, Median(samples.share[0]), eight / one, Median(samples.read_gb_per_s));
    out << text.data() << std::flush;
    return;
  }
  out << "GPT-2 124m, " << options.type << ", " << options.threads << " threads, "
      << NameOf(BestCpuLevel()) << ", prompts of " << options.prompt << " tokens\n";
  std::snprintf(text.data(), text.size(),
                "weights %.0f MB, memory read at %.1f GB/s: at most %.0f steps a second\n",
                static_cast<double>(samples.weight_bytes) * 1e-6, Median(samples.read_gb_per_s),
                Median(samples.read_gb_per_s) * 1e9 / static_cast<double>(samples.weight_bytes));
  out << text.data();
  for (std::size_t i = 0; i < kSequences.size(); ++i) {
    const std::vector<double>& speed = samples.tokens_per_s[i];
    std::snprintf(text.data(), text.size(),
                  "%zu sequence(s): %6.1f tokens a second (%.1f .. %.1f), steps at %.2f of that\n",
                  kSequences[i], Median(speed), *std::min_element(speed.begin(), speed.end()),
                  *std::max_element(speed.begin(), speed.end()), Median(samples.share[i]));
    out << text.data();
  }
  std::snprintf(text.data(), text.size(), "eight to one: %.2f\n", eight / one);
  out << text.data() << std::flush;
}

void TellTorch(const Samples& samples, const DecodeBenchmarkOptions& options, std::ostream& out) {
  const auto torch = RunTorch(
      kTorch, {options.type, std::to_string(options.threads), std::to_string(options.prompt),
               std::to_string(options.tokens), std::to_string(options.rounds)});
  if (!torch.ok() || torch->size() != 2) {
    if (options.json) return;
    out << "PyTorch: " << (torch.ok() ? "it gave no figures" : torch.status().message())
        << std::endl;
    return;
  }
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(),
                options.json ? ",\"torch_tokens_per_s_1\":%.1f,\"torch_tokens_per_s_8\":%.1f,"
                               "\"to_torch_1\":%.3f,\"to_torch_8\":%.3f"
                             : "PyTorch: %.1f tokens a second, eight sequences %.1f; ours is %.2f "
                               "and %.2f times that\n",
                (*torch)[0], (*torch)[1], Median(samples.tokens_per_s[0]) / (*torch)[0],
                Median(samples.tokens_per_s[1]) / (*torch)[1]);
  out << text.data() << std::flush;
}

}  // namespace

Status RunDecodeBenchmark(const DecodeBenchmarkOptions& options, std::ostream& out) {
  if (options.type != "bf16" && options.type != "f32") {
    return InvalidArgument("type=" + options.type + ": bf16 or f32");
  }
  MUSTER_ASSIGN_OR_RETURN(const auto model, nn::Gpt2::Make({}));
  if (options.prompt + options.tokens > model->context()) {
    return InvalidArgument("prompt and tokens: the model reads " +
                           std::to_string(model->context()) + " at most");
  }
  MUSTER_ASSIGN_OR_RETURN(const Samples samples, options.type == "bf16"
                                                     ? Measure<BFloat16>(*model, options)
                                                     : Measure<float>(*model, options));
  Print(samples, options, out);
  if (options.torch) TellTorch(samples, options, out);
  if (options.json) out << "}" << std::endl;
  return {};
}

}  // namespace muster
