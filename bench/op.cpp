#include "bench/op.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "base/aligned_vector.h"
#include "base/cpu.h"
#include "bench/bandwidth.h"
#include "bench/median.h"
#include "bench/peer.h"
#include "bench/timing.h"
#include "nn/optim/gradient_norm.h"
#include "nn/optim/optimizer.h"
#include "tensor/kernels/activation.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/embedding.h"
#include "tensor/kernels/row_norm.h"
#include "tensor/kernels/softmax.h"
#include "tensor/kernels/swiglu.h"

namespace muster {
namespace {

constexpr std::size_t kWidth = 768, kInner = 4 * kWidth;
constexpr std::size_t kParameters = 124'439'808;
constexpr std::size_t kVocabulary = 50'257;
constexpr double kSampleSeconds = 0.05;

// Milliseconds of the same things, in the order of Cases.
constexpr const char* kTorch = R"(
import statistics, sys, time
import torch
from torch.nn import functional as F
kind, rows, threads, rounds = sys.argv[1], *map(int, sys.argv[2:5])
torch.set_num_threads(threads)
kind = torch.bfloat16 if kind == "bf16" else torch.float32
W, V, N = 768, 50257, 124439808
def random(*shape):
    return torch.randn(*shape).to(kind)
def timed(run):
    run()
    times = []
    for _ in range(rounds):
        calls, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < 0.05:
            run()
            calls += 1
        times.append((time.perf_counter() - begin) / calls * 1e3)
    return statistics.median(times)
x, y, wide, gate = random(rows, W), random(rows, W), random(rows, 4 * W), random(rows, 4 * W)
gain, bias, table = random(W), random(W), random(V, W)
tokens = torch.randint(V, (rows,))
figures = []
with torch.inference_mode():
    figures.append(timed(lambda: x + y))
    figures.append(timed(lambda: F.layer_norm(x + y, (W,), gain, bias)))
    figures.append(timed(lambda: F.rms_norm(x + y, (W,), gain)))
    figures.append(timed(lambda: F.gelu(wide, approximate="tanh")))
    figures.append(timed(lambda: F.silu(gate) * wide))
    figures.append(timed(lambda: torch.softmax(wide, -1)))
    figures.append(timed(lambda: F.embedding(tokens, table)))
p = torch.nn.Parameter(torch.randn(N))
p.grad = torch.randn(N)
optimizer = torch.optim.AdamW([p], lr=1e-4, fused=True)
figures.append(timed(optimizer.step))
figures.append(timed(lambda: torch.nn.utils.get_total_norm([p.grad])))
print(*figures)
)";

struct Case {
  std::string name;
  double bytes;  // That a call has to read and write.
  std::function<void()> run;
  std::vector<double> gb_per_s, share;
};

// Activations, parameters and everything else that the cases work on.
template <class T>
class Cases {
 public:
  Cases(std::size_t rows, ThreadPool* pool)
      : rows_(rows), pool_(pool), tape_({.inference = true, .pool = pool}) {
    std::mt19937 random(1);
    const auto fill = [&](std::size_t count) {
      std::vector<T> values(count);
      for (T& value : values) value = T(static_cast<float>(random() % 2001) / 1000 - 1);
      return values;
    };
    x_ = fill(rows * kWidth);
    y_ = fill(rows * kWidth);
    wide_ = fill(rows * kInner);
    gate_ = fill(rows * kInner);
    gain_ = fill(kWidth);
    bias_ = fill(kWidth);
    table_ = fill(kVocabulary * kWidth);
    for (std::size_t i = 0; i < rows; ++i) {
      tokens_.push_back(static_cast<std::int32_t>(random() % kVocabulary));
    }
    parameters_.Add({.name = "all", .shape = {kParameters}});
    values_.assign(parameters_.flat_elements(), 0.5F);
    gradients_.assign(parameters_.trainable_elements(), 0.01F);
    optimizer_ = nn::MakeOptimizer({.weight_decay = 0.1F}, parameters_);
  }

  std::vector<Case> All() {
    const double narrow = static_cast<double>(rows_ * kWidth * sizeof(T));
    const double wide = static_cast<double>(rows_ * kInner * sizeof(T));
    const double all = static_cast<double>(kParameters) * sizeof(float);
    return {
        {"add", 3 * narrow, Op([this] { ops::Add(tape_, X(), Y()); }), {}, {}},
        {"add and layer norm",
         4 * narrow,
         Op([this] { ops::AddLayerNorm(tape_, X(), Y(), Row(gain_), Row(bias_)); }),
         {},
         {}},
        {"add and RMS norm",
         4 * narrow,
         Op([this] { ops::AddRmsNorm(tape_, X(), Y(), Row(gain_)); }),
         {},
         {}},
        {"GELU (tanh)",
         2 * wide,
         Op([this] { ops::Activate(tape_, Wide(wide_), Activation::kGeluTanh); }),
         {},
         {}},
        {"SwiGLU", 3 * wide, Op([this] { ops::SwiGlu(tape_, Wide(gate_), Wide(wide_)); }), {}, {}},
        {"softmax", 2 * wide, Op([this] { ops::Softmax(tape_, Wide(wide_)); }), {}, {}},
        {"embedding",
         2 * narrow,
         Op([this] {
           ops::Embedding(tape_, tape_.Input({kVocabulary, kWidth}, table_.data()), tokens_);
         }),
         {},
         {}},
        {"AdamW step",
         7 * all,
         [this] { optimizer_->Step({.learning_rate = 1e-4F}, values_, gradients_, pool_); },
         {},
         {}},
        {"global norm", all, [this] { norm_ += nn::GradientNorm(gradients_, pool_); }, {}, {}},
    };
  }

 private:
  std::function<void()> Op(std::function<void()> op) {
    return [this, op = std::move(op)] {
      tape_.Begin({});
      op();
    };
  }
  Tensor X() { return tape_.Input({rows_, kWidth}, x_.data()); }
  Tensor Y() { return tape_.Input({rows_, kWidth}, y_.data()); }
  Tensor Wide(const std::vector<T>& values) { return tape_.Input({rows_, kInner}, values.data()); }
  Tensor Row(const std::vector<T>& values) { return tape_.Input({kWidth}, values.data()); }

  std::size_t rows_;
  ThreadPool* pool_;
  Tape tape_;
  std::vector<T> x_, y_, wide_, gate_, gain_, bias_, table_;
  std::vector<std::int32_t> tokens_;
  nn::ParameterSet parameters_;
  AlignedVector<float> values_, gradients_;
  std::unique_ptr<nn::Optimizer> optimizer_;
  double norm_ = 0;
};

struct Measured {
  std::vector<Case> cases;
  std::vector<double> copy_gb_per_s, read_gb_per_s;
};

template <class T>
Measured Measure(const OpBenchmarkOptions& options, ThreadPool* pool) {
  Bandwidth bandwidth(pool);
  Cases<T> cases(options.rows, pool);
  Measured measured{cases.All(), {}, {}};
  for (Case& one : measured.cases) one.run();
  for (std::size_t round = 0; round < options.rounds; ++round) {
    const double copy = bandwidth.CopyBytesPerSecond();
    measured.copy_gb_per_s.push_back(copy * 1e-9);
    measured.read_gb_per_s.push_back(bandwidth.ReadBytesPerSecond() * 1e-9);
    for (Case& one : measured.cases) {
      const double rate = one.bytes / SecondsPerCall(one.run, kSampleSeconds);
      one.gb_per_s.push_back(rate * 1e-9);
      one.share.push_back(rate / copy);
    }
  }
  return measured;
}

std::string KeyOf(std::string name) {
  for (char& c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    c = letter ? static_cast<char>(c | 0x20) : '_';
  }
  while (name.find("__") != std::string::npos) name.erase(name.find("__"), 1);
  while (name.back() == '_') name.pop_back();
  return name;
}

void PrintJson(const Measured& measured, const Result<std::vector<double>>& torch,
               std::ostream& out) {
  const bool beside = torch.ok() && torch->size() == measured.cases.size();
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(), "{\"copy_gb_per_s_median\":%.2f",
                Median(measured.copy_gb_per_s));
  out << text.data();
  for (std::size_t i = 0; i < measured.cases.size(); ++i) {
    const Case& one = measured.cases[i];
    const std::string key = KeyOf(one.name);
    std::snprintf(text.data(), text.size(),
                  ",\"%s_gb_per_s_median\":%.2f,\"%s_share_of_copy_median\":%.3f", key.c_str(),
                  Median(one.gb_per_s), key.c_str(), Median(one.share));
    out << text.data();
    if (!beside) continue;
    const double ms = one.bytes / Median(one.gb_per_s) * 1e-6;
    std::snprintf(text.data(), text.size(), ",\"%s_to_torch\":%.3f", key.c_str(), (*torch)[i] / ms);
    out << text.data();
  }
  out << "}" << std::endl;
}

void Print(const Measured& measured, const Result<std::vector<double>>& torch, std::ostream& out) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), "copying gives %.1f GB/s, reading %.1f\n",
                Median(measured.copy_gb_per_s), Median(measured.read_gb_per_s));
  out << text.data();
  const bool beside = torch.ok() && torch->size() == measured.cases.size();
  std::snprintf(text.data(), text.size(), "%-20s %10s %26s %9s %s\n", "", "ms", "GB/s", "of a copy",
                beside ? " PyTorch : Muster" : "");
  out << text.data();
  for (std::size_t i = 0; i < measured.cases.size(); ++i) {
    const Case& one = measured.cases[i];
    const auto [least, most] = std::minmax_element(one.gb_per_s.begin(), one.gb_per_s.end());
    const double ms = one.bytes / Median(one.gb_per_s) * 1e-6;
    std::snprintf(text.data(), text.size(), "%-20s %10.3f %9.1f (%5.1f .. %5.1f) %9.2f",
                  one.name.c_str(), ms, Median(one.gb_per_s), *least, *most, Median(one.share));
    out << text.data();
    if (beside) {
      std::snprintf(text.data(), text.size(), "   %8.3f ms %6.2f", (*torch)[i], (*torch)[i] / ms);
      out << text.data();
    }
    out << "\n";
  }
  if (!beside) {
    out << "PyTorch: " << (torch.ok() ? "it gave no figures" : torch.status().message()) << "\n";
  }
  out << std::flush;
}

}  // namespace

Status RunOpBenchmark(const OpBenchmarkOptions& options, std::ostream& out) {
  if (options.type != "bf16" && options.type != "f32") {
    return InvalidArgument("type=" + options.type + ": bf16 or f32");
  }
  std::unique_ptr<ThreadPool> pool;
  if (options.threads > 1) pool = std::make_unique<ThreadPool>(options.threads);
  const Measured measured = options.type == "bf16" ? Measure<BFloat16>(options, pool.get())
                                                   : Measure<float>(options, pool.get());
  Result<std::vector<double>> torch = NotFound("not asked for");
  if (options.torch) {
    torch = RunTorch(kTorch, {options.type, std::to_string(options.rows),
                              std::to_string(options.threads), std::to_string(options.rounds)});
  }
  if (options.json) {
    PrintJson(measured, torch, out);
    return {};
  }
  out << options.type << ", " << options.rows << " rows of " << kWidth << " (or " << kInner << "), "
      << options.threads << " threads, " << NameOf(BestCpuLevel()) << "\n";
  Print(measured, torch, out);
  return {};
}

}  // namespace muster
