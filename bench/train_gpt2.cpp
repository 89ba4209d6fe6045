#include "bench/train_gpt2.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <random>
#include <vector>

#include "base/aligned_vector.h"
#include "base/cpu.h"
#include "bench/median.h"
#include "bench/peer.h"
#include "nn/models/gpt2.h"
#include "nn/optim/gradient_norm.h"
#include "nn/optim/optimizer.h"
#include "tensor/kernels/blocks.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

double MillisSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double PeakGigabytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtod(line.c_str() + 6, nullptr) * 1024 / 1e9;
  }
  return 0;
}

// The same model, whole steps with clipping and fused AdamW: tokens a second and peak GB, eager and
// (0 where it cannot) compiled. bf16 is autocast.
constexpr const char* kTorch = R"(
import resource, statistics, sys, time
import torch
from torch import nn
from torch.nn import functional as F
model_name, kind = sys.argv[1:3]
B, T, threads, steps = map(int, sys.argv[3:7])
L, H, W, V, C = (6, 6, 384, 65, 256) if model_name == "char" else (12, 12, 768, 50257, 1024)
torch.manual_seed(1)
torch.set_num_threads(threads)
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(W), nn.LayerNorm(W)
        self.qkv, self.out = nn.Linear(W, 3 * W), nn.Linear(W, W)
        self.up, self.down = nn.Linear(W, 4 * W), nn.Linear(4 * W, W)
    def forward(self, x):
        q, k, v = (t.view(B, T, H, W // H).transpose(1, 2)
                   for t in self.qkv(self.n1(x)).split(W, dim=2))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(B, T, W))
        return x + self.down(F.gelu(self.up(self.n2(x)), approximate="tanh"))
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, W), nn.Embedding(C, W)
        self.blocks = nn.ModuleList(Block() for _ in range(L))
        self.norm = nn.LayerNorm(W)
    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe(torch.arange(T))
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.wte.weight.T
        return F.cross_entropy(logits.view(-1, V), targets.view(-1))
def measure(compiled):
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)
    run = torch.compile(model) if compiled else model
    tokens, targets = torch.randint(V, (B, T)), torch.randint(V, (B, T))
    times = []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "bf16"):
            loss = run(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - begin)
    return B * T / statistics.median(times[1:])
eager = measure(False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
try:
    compiled = measure(True)
except Exception:
    compiled = 0.0
print(eager, compiled, peak)
)";

// Sequences of equal length; the target of a token is the next one.
struct Batch {
  Batch(std::size_t sequences, std::size_t length, std::size_t vocabulary) {
    std::mt19937 random(1);
    for (std::size_t s = 0; s <= sequences; ++s) {
      starts.push_back(static_cast<std::int32_t>(s * length));
      for (std::size_t i = 0; s < sequences && i < length; ++i) {
        tokens.push_back(static_cast<std::int32_t>(random() % vocabulary));
        targets.push_back(static_cast<std::int32_t>(random() % vocabulary));
        positions.push_back(static_cast<std::int32_t>(i));
      }
    }
  }
  std::vector<std::int32_t> tokens, targets, positions, starts;
};

struct Times {
  std::vector<double> forward, backward, update, whole;  // Milliseconds.
};

template <class T>
Times Train(const nn::Gpt2& model, const Batch& batch, const TrainGpt2BenchmarkOptions& options,
            float& loss) {
  const nn::ParameterSet& parameters = model.parameters();
  AlignedVector<float> values(parameters.flat_elements()), gradients(values.size());
  AlignedVector<BFloat16> narrow(kDTypeOf<T> == DType::kBF16 ? values.size() : 0);
  parameters.Initialize(1, values);
  kernels::Convert(values.data(), narrow.data(), narrow.size());
  const auto leaves = narrow.empty()
                          ? parameters.Bind(values, gradients)
                          : parameters.Bind(std::span<const BFloat16>(narrow), gradients);
  const auto optimizer = nn::MakeOptimizer({.weight_decay = 0.1F}, parameters);
  ThreadPool pool(options.threads);
  Tape tape({.pool = options.threads > 1 ? &pool : nullptr});
  Times times;
  const float scale = 1.0F / static_cast<float>(batch.tokens.size());
  for (std::size_t step = 0; step <= options.steps; ++step) {
    const auto begin = Clock::now();
    tape.Begin(leaves);
    const Tensor hidden = model.Hidden(tape, {batch.tokens, batch.positions, batch.starts});
    const ops::TokenScores scores = model.Loss(tape, hidden, batch.targets, {}, scale);
    loss = *scores.loss.data();
    const double forward = MillisSince(begin);
    tape.Backward(scores.loss);
    const double backward = MillisSince(begin) - forward;
    const double norm = nn::GradientNorm(gradients, &pool);
    optimizer->Step({.learning_rate = 3e-4F,
                     .gradient_scale = nn::ClipScale(norm, 1.0),
                     .narrow_values = narrow},
                    values, gradients, &pool);
    if (step == 0) continue;
    times.forward.push_back(forward);
    times.backward.push_back(backward);
    times.whole.push_back(MillisSince(begin));
    times.update.push_back(times.whole.back() - forward - backward);
  }
  return times;
}

void TellTorch(const TrainGpt2BenchmarkOptions& options, double ours, std::ostream& out) {
  const auto torch =
      RunTorch(kTorch, {options.model, options.type, std::to_string(options.batch),
                        std::to_string(options.length), std::to_string(options.threads),
                        std::to_string(options.steps)});
  if (!torch.ok() || torch->size() != 3) {
    if (options.json) return;
    out << "PyTorch: " << (torch.ok() ? "it gave no figures" : torch.status().message())
        << std::endl;
    return;
  }
  std::array<char, 256> text{};
  const double best = std::max((*torch)[0], (*torch)[1]);
  std::snprintf(text.data(), text.size(),
                options.json ? ",\"torch_tokens_per_s\":%.1f,\"torch_compiled_tokens_per_s\":%.1f,"
                               "\"torch_peak_memory_gb\":%.2f,\"to_torch_best\":%.3f"
                             : "PyTorch beside it: %.0f tokens a second, compiled %.0f, %.2f GB; "
                               "ours is %.2f times its best\n",
                (*torch)[0], (*torch)[1], (*torch)[2], ours / best);
  out << text.data() << std::flush;
}

}  // namespace

Status RunTrainGpt2Benchmark(const TrainGpt2BenchmarkOptions& options, std::ostream& out) {
  if (options.model != "124m" && options.model != "char") {
    return InvalidArgument("model=" + options.model + ": 124m or char");
  }
  if (options.type != "bf16" && options.type != "f32") {
    return InvalidArgument("type=" + options.type + ": bf16 or f32");
  }
  nn::Gpt2Options shape;
  if (options.model == "char") {
    shape = {.layers = 6, .heads = 6, .width = 384, .vocabulary = 65, .context = 256};
  }
  if (options.length > shape.context) {
    return InvalidArgument("length=" + std::to_string(options.length) + ": the model reads " +
                           std::to_string(shape.context) + " tokens at most");
  }
  MUSTER_ASSIGN_OR_RETURN(const auto model, nn::Gpt2::Make(shape));
  const Batch batch(options.batch, options.length, shape.vocabulary);
  float loss = 0;
  const Times times = options.type == "bf16" ? Train<BFloat16>(*model, batch, options, loss)
                                             : Train<float>(*model, batch, options, loss);
  const double tokens = static_cast<double>(batch.tokens.size()) * 1e3;
  const auto [least, most] = std::minmax_element(times.whole.begin(), times.whole.end());
  std::array<char, 512> text{};
  std::snprintf(
      text.data(), text.size(),
      options.json ? "{\"tokens_per_s\":%.1f,\"tokens_per_s_least\":%.1f,"
                     "\"tokens_per_s_most\":%.1f,\"forward_ms_median\":%.1f,"
                     "\"backward_ms_median\":%.1f,\"update_ms_median\":%.1f,"
                     "\"peak_memory_gb\":%.2f,\"loss\":%.4f"
                   : "tokens a second: median %.0f, least %.0f, most %.0f\na step: forward %.0f "
                     "ms, backward %.0f, update %.0f; peak memory %.2f GB; last loss %.4f\n",
      tokens / Median(times.whole), tokens / *most, tokens / *least, Median(times.forward),
      Median(times.backward), Median(times.update), PeakGigabytes(), static_cast<double>(loss));
  if (!options.json) {
    out << "GPT-2 " << options.model << ", " << options.type << ", " << options.batch
        << " sequences of " << options.length << " tokens, " << options.threads << " threads, "
        << NameOf(BestCpuLevel()) << "\n";
  }
  out << text.data() << std::flush;
  if (options.torch) TellTorch(options, tokens / Median(times.whole), out);
  if (options.json) out << "}" << std::endl;
  return {};
}

}  // namespace muster
