#include "bench/attention.h"

#include <array>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "base/cpu.h"
#include "bench/median.h"
#include "bench/peer.h"
#include "bench/timing.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/elementwise.h"

namespace muster {
namespace {

constexpr double kSampleSeconds = 0.1;

struct Size {
  std::size_t heads, kv_heads, sequences, length;
  const char* name;
};
constexpr std::array kSizes = {Size{12, 12, 8, 256, "8 x 256, 12 heads"},
                               Size{12, 12, 2, 1024, "2 x 1024, 12 heads"},
                               Size{12, 12, 1, 4096, "1 x 4096, 12 heads"},
                               Size{32, 4, 1, 2048, "1 x 2048, 32 heads, 4 of keys"}};
constexpr std::size_t kHeadDim = 64;

// Milliseconds forward, and forward and backward, for each size.
constexpr const char* kTorch = R"(
import statistics, sys, time
import torch
from torch.nn import functional as F
kind, threads, rounds = sys.argv[1], *map(int, sys.argv[2:4])
torch.set_num_threads(threads)
kind = torch.bfloat16 if kind == "bf16" else torch.float32
def timed(run):
    run()
    times = []
    for _ in range(rounds):
        calls, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < 0.1:
            run()
            calls += 1
        times.append((time.perf_counter() - begin) / calls * 1e3)
    return statistics.median(times)
figures = []
for H, K, B, T in [tuple(map(int, size.split(","))) for size in sys.argv[4:]]:
    q, k, v = (torch.randn(B, h, T, 64).to(kind).requires_grad_() for h in (H, K, K))
    def forward():
        return F.scaled_dot_product_attention(q, k.repeat_interleave(H // K, 1),
                                              v.repeat_interleave(H // K, 1), is_causal=True)
    def both():
        q.grad = k.grad = v.grad = None
        forward().sum().backward()
    with torch.inference_mode():
        figures.append(timed(forward))
    figures.append(timed(both))
print(*figures)
)";

template <class T>
class Problem {
 public:
  Problem(const Size& size, ThreadPool* pool)
      : shape_{size.heads, size.kv_heads, kHeadDim},
        tokens_(size.sequences * size.length),
        inference_({.inference = true, .pool = pool}),
        training_({.pool = pool}) {
    std::mt19937 random(1);
    qkv_.resize(tokens_ * shape_.packed_width());
    for (T& value : qkv_) value = T(static_cast<float>(random() % 2001) / 1000 - 1);
    for (std::size_t s = 0; s <= size.sequences; ++s) {
      starts_.push_back(static_cast<std::int32_t>(s * size.length));
    }
  }
  void Forward() {
    inference_.Begin({});
    ops::CausalAttention(inference_, inference_.Input(Dimensions(), qkv_.data()), starts_, shape_);
  }
  void ForwardAndBackward() {
    training_.Begin({});
    const Tensor x = training_.InputWithGradient(Dimensions(), qkv_.data());
    training_.Backward(ops::Sum(training_, ops::CausalAttention(training_, x, starts_, shape_)));
  }

 private:
  Shape Dimensions() const { return {tokens_, shape_.packed_width()}; }

  AttentionShape shape_;
  std::size_t tokens_;
  std::vector<T> qkv_;
  std::vector<std::int32_t> starts_;
  Tape inference_, training_;
};

struct Row {
  std::vector<double> forward_ms, both_ms;
};

template <class T>
Row Measure(const Size& size, std::size_t rounds, ThreadPool* pool) {
  Problem<T> problem(size, pool);
  problem.Forward();
  problem.ForwardAndBackward();
  Row row;
  for (std::size_t round = 0; round < rounds; ++round) {
    row.forward_ms.push_back(1e3 * SecondsPerCall([&] { problem.Forward(); }, kSampleSeconds));
    row.both_ms.push_back(1e3 *
                          SecondsPerCall([&] { problem.ForwardAndBackward(); }, kSampleSeconds));
  }
  return row;
}

// Of the two products of a forward pass, the half that is not masked.
double ForwardGflop(const Size& size) {
  const auto length = static_cast<double>(size.length);
  return 1e-9 * 2 * 2 * static_cast<double>(size.sequences * size.heads * kHeadDim) * length *
         (length + 1) / 2;
}

}  // namespace

Status RunAttentionBenchmark(const AttentionBenchmarkOptions& options, std::ostream& out) {
  if (options.type != "bf16" && options.type != "f32") {
    return InvalidArgument("type=" + options.type + ": bf16 or f32");
  }
  std::unique_ptr<ThreadPool> pool;
  if (options.threads > 1) pool = std::make_unique<ThreadPool>(options.threads);
  std::vector<Row> rows;
  std::vector<std::string> arguments = {options.type, std::to_string(options.threads),
                                        std::to_string(options.rounds)};
  for (const Size& size : kSizes) {
    rows.push_back(options.type == "bf16" ? Measure<BFloat16>(size, options.rounds, pool.get())
                                          : Measure<float>(size, options.rounds, pool.get()));
    std::string argument;
    for (const std::size_t part : {size.heads, size.kv_heads, size.sequences, size.length}) {
      argument += (argument.empty() ? "" : ",") + std::to_string(part);
    }
    arguments.push_back(argument);
  }
  Result<std::vector<double>> torch = NotFound("not asked for");
  if (options.torch) torch = RunTorch(kTorch, arguments);
  const bool beside = torch.ok() && torch->size() == 2 * kSizes.size();
  std::array<char, 256> text{};
  std::string json;
  if (!options.json) {
    out << "causal attention, " << options.type << ", heads of " << kHeadDim << ", "
        << options.threads << " threads, " << NameOf(BestCpuLevel())
        << "; GFLOP/s of the half that counts\n";
    std::snprintf(text.data(), text.size(), "%-30s %16s %26s%s\n", "", "forward", "with backward",
                  beside ? "   PyTorch : Muster" : "");
    out << text.data();
  }
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    const double forward = Median(rows[i].forward_ms), both = Median(rows[i].both_ms);
    const double gflop = ForwardGflop(kSizes[i]);
    // The backward pass makes the scores again and four products more.
    const double forward_rate = gflop / forward * 1e3, both_rate = 3.5 * gflop / both * 1e3;
    if (options.json) {
      std::snprintf(text.data(), text.size(),
                    "%s\"%zux%zu_%zu_%zu_forward_gflops_median\":%.1f,"
                    "\"%zux%zu_%zu_%zu_both_gflops_median\":%.1f",
                    i == 0 ? "{" : ",", kSizes[i].sequences, kSizes[i].length, kSizes[i].heads,
                    kSizes[i].kv_heads, forward_rate, kSizes[i].sequences, kSizes[i].length,
                    kSizes[i].heads, kSizes[i].kv_heads, both_rate);
      json += text.data();
      if (beside) {
        std::snprintf(text.data(), text.size(),
                      ",\"%zux%zu_%zu_%zu_forward_to_torch\":%.3f,"
                      "\"%zux%zu_%zu_%zu_both_to_torch\":%.3f",
                      kSizes[i].sequences, kSizes[i].length, kSizes[i].heads, kSizes[i].kv_heads,
                      (*torch)[2 * i] / forward, kSizes[i].sequences, kSizes[i].length,
                      kSizes[i].heads, kSizes[i].kv_heads, (*torch)[2 * i + 1] / both);
        json += text.data();
      }
      continue;
    }
    std::snprintf(text.data(), text.size(), "%-30s %7.2f ms (%4.0f) %16.2f ms (%4.0f)",
                  kSizes[i].name, forward, forward_rate, both, both_rate);
    out << text.data();
    if (beside) {
      std::snprintf(text.data(), text.size(), "   %.2f and %.2f", (*torch)[2 * i] / forward,
                    (*torch)[2 * i + 1] / both);
      out << text.data();
    }
    out << "\n";
  }
  if (options.json) {
    out << json << "}" << std::endl;
  } else if (!beside) {
    out << "PyTorch: " << (torch.ok() ? "it gave no figures" : torch.status().message())
        << std::endl;
  }
  return {};
}

}  // namespace muster
