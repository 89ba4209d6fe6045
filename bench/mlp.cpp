#include "bench/mlp.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_vector.h"
#include "bench/median.h"
#include "bench/peer.h"
#include "nn/models/mlp.h"
#include "nn/optim/optimizer.h"
#include "tensor/kernels/elementwise.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kSteps = 200;

// The same networks, losses and steps in PyTorch: microseconds a step, then those compiled.
constexpr const char* kTorch = R"(
import statistics, sys, time
import torch
from torch import nn
torch.manual_seed(1)
torch.set_num_threads(1)
batch, rounds = int(sys.argv[1]), int(sys.argv[2])
def network(outputs):
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(),
                         nn.Linear(64, outputs))
def measure(compiled):
    actor, critic = network(2), network(1)
    if compiled:
        actor, critic = torch.compile(actor), torch.compile(critic)
    parameters = list(actor.parameters()) + list(critic.parameters())
    try:
        optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    except (TypeError, RuntimeError):
        optimizer = torch.optim.Adam(parameters, lr=1e-3)
    x = torch.randn(batch, 4)
    def step():
        optimizer.zero_grad(set_to_none=True)
        a, c = actor(x), critic(x)
        ((a * a).mean() + (c * c).mean()).backward()
        optimizer.step()
    for _ in range(50):
        step()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(100):
            step()
        times.append((time.perf_counter() - begin) / 100 * 1e6)
    return statistics.median(times)
eager = measure(False)
try:
    compiled = measure(True)
except Exception:
    compiled = 0.0
print(eager, compiled)
)";

class Networks {
 public:
  explicit Networks(std::size_t batch) : batch_(batch), x_(batch * 4) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (float& value : x_) value = normal(random);
    for (const std::size_t outputs : {2, 1}) {
      auto made = nn::MakeMlp(
          {.inputs = 4, .hidden = {64, 64}, .outputs = outputs, .activation = Activation::kTanh});
      Part part{std::move(*made), {}, {}, {}, {}};
      const nn::ParameterSet& parameters = part.model->parameters();
      part.values.resize(parameters.flat_elements());
      part.gradients.resize(parameters.trainable_elements());
      parameters.Initialize(1, part.values);
      part.optimizer = nn::MakeOptimizer({.kind = nn::OptimizerKind::kAdam}, parameters);
      parts_.push_back(std::move(part));
    }
    for (Part& part : parts_) {
      part.leaves = part.model->parameters().Bind(part.values, part.gradients);
    }
  }

  void Step() {
    for (Part& part : parts_) {
      tape_.Begin(part.leaves);
      const Tensor y = part.model->Forward(tape_, tape_.Input({batch_, 4}, x_.data()));
      tape_.Backward(ops::Mean(tape_, ops::Multiply(tape_, y, y)));
      part.optimizer->Step({.learning_rate = 1e-3F}, part.values, part.gradients, nullptr);
    }
  }

 private:
  struct Part {
    std::unique_ptr<nn::Model> model;
    AlignedVector<float> values, gradients;
    std::unique_ptr<nn::Optimizer> optimizer;
    std::vector<LeafBinding> leaves;
  };
  std::size_t batch_;
  AlignedVector<float> x_;
  std::vector<Part> parts_;
  Tape tape_;
};

}  // namespace

Status RunMlpBenchmark(const MlpBenchmarkOptions& options, std::ostream& out) {
  Networks networks(options.batch);
  for (std::size_t i = 0; i < kSteps; ++i) networks.Step();
  std::vector<double> times;
  for (std::size_t round = 0; round < options.rounds; ++round) {
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < kSteps; ++i) networks.Step();
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count() /
                    static_cast<double>(kSteps));
  }
  const double ours = Median(times);
  const auto [least, most] = std::minmax_element(times.begin(), times.end());
  // Multiplications and additions of the products, forward and backward; the inputs' gradients of
  // the first layers are not needed.
  const double flops =
      2.0 * static_cast<double>(options.batch) * (2 * (2 * 4 * 64 + 3 * 64 * 64) + 3 * 64 * 3);
  const auto torch =
      RunTorch(kTorch, {std::to_string(options.batch), std::to_string(options.rounds)});
  const double eager = torch.ok() && !torch->empty() ? torch->front() : 0;
  const double compiled = torch.ok() && torch->size() > 1 ? (*torch)[1] : 0;
  std::array<char, 512> text{};
  if (options.json) {
    std::snprintf(text.data(), text.size(),
                  "{\"step_us_median\":%.2f,\"gflops\":%.1f,\"torch_us_median\":%.2f,"
                  "\"torch_compiled_us_median\":%.2f}\n",
                  ours, flops / ours / 1e3, eager, compiled);
    out << text.data() << std::flush;
    return {};
  }
  std::snprintf(text.data(), text.size(),
                "actor and critic 4-64-64, tanh, batch %zu, Adam, one thread\n"
                "Muster   %8.1f us a step (%.1f .. %.1f), %.0f GFLOP/s\n",
                options.batch, ours, *least, *most, flops / ours / 1e3);
  out << text.data();
  if (!torch.ok()) {
    out << "PyTorch: " << torch.status().message() << std::endl;
    return {};
  }
  std::snprintf(text.data(), text.size(), "PyTorch  %8.1f us, %.1f x ours; compiled %.1f, %.1f x\n",
                eager, eager / ours, compiled, compiled / ours);
  out << text.data() << std::flush;
  return {};
}

}  // namespace muster
