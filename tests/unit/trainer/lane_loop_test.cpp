// Lanes of a network of which parts are frozen: LoRA, and layers before, between and behind those
// that are trained, with gradients whole and sharded.
#include "trainer/lanes/lane_loop.h"

#include <gtest/gtest.h>

#include <cstring>

#include "nn/layers/linear.h"
#include "nn/layers/lora.h"
#include "nn/optim/blocks.h"
#include "nn/optim/gradient_norm.h"
#include "tensor/kernels/elementwise.h"
#include "tests/unit/collectives/ranks.h"
#include "trainer/sharding/sharded_optimizer.h"

namespace muster {
namespace {

constexpr std::size_t kLanes = 4, kRows = 3, kIn = 40;

// The wide layer alone is more than a bucket of gradients and several blocks of shards.
struct Network {
  Network()
      : first(parameters, "first", {.in = kIn, .out = 1500, .activation = Activation::kTanh}),
        wide(parameters, "wide", {.in = 1500, .out = 200, .activation = Activation::kTanh}),
        middle(parameters, "middle", {.in = 200, .out = 20}),
        last(parameters, "last", {.in = 20, .out = 5}),
        lora(parameters, 4, 5, {.rank = 3, .dropout = 0.25F}) {
    parameters.Freeze(0);  // Of `first` its weight alone; of `last` its bias.
    parameters.Freeze(7);
  }
  Tensor Loss(Tape& tape, std::size_t lane) const {
    float* const x = tape.arena().Floats(kRows * kIn);
    const std::vector<float> values = TestValues(lane + 1, kRows * kIn);
    for (std::size_t i = 0; i < kRows * kIn; ++i) x[i] = values[i] > 0 ? 0.5F : -0.25F;
    Tensor y = tape.Checkpoint(
        {tape.Input({kRows, kIn}, x)},
        [this](Tape& inner, std::span<const Tensor> in) { return first.Forward(inner, in[0]); });
    y = lora.Forward(tape, wide.Forward(tape, y), {.seed = 3, .index = lane});
    y = last.Forward(tape, y);
    return ops::Scale(tape, ops::Sum(tape, ops::Multiply(tape, y, y)), 0.1F);
  }

  nn::ParameterSet parameters;
  nn::Linear first, wide, middle, last;
  nn::LoraLinear lora;
};

// Three steps by the tape alone, lane after lane.
std::vector<float> Expected(const Network& network) {
  const nn::ParameterSet& set = network.parameters;
  std::vector<float> values(set.flat_elements());
  set.Initialize(1, values);
  const auto optimizer = nn::MakeOptimizer({.weight_decay = 0.1F}, set);
  for (int step = 0; step < 3; ++step) {
    std::vector<std::vector<float>> lanes(kLanes, std::vector<float>(set.trainable_elements()));
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      Tape tape;
      tape.Begin(set.Bind(values, lanes[lane]));
      tape.Backward(network.Loss(tape, lane));
    }
    for (std::size_t i = 0; i < lanes[0].size(); ++i) {
      lanes[0][i] = (lanes[0][i] + lanes[1][i]) + (lanes[2][i] + lanes[3][i]);
    }
    const float scale = nn::ClipScale(nn::GradientNorm(lanes[0], nullptr), 0.5);
    optimizer->Step({.learning_rate = 0.01F, .gradient_scale = scale},
                    std::span(values).first(set.trainable_elements()), lanes[0], nullptr);
  }
  return values;
}

// The same on the ranks of a group.
Result<std::vector<float>> Trained(Group& group, const Network& network, int stage,
                                   std::size_t threads) {
  const nn::ParameterSet& set = network.parameters;
  std::vector<float> values(set.flat_elements());
  set.Initialize(1, values);
  ThreadPool pool(threads);
  MUSTER_ASSIGN_OR_RETURN(
      const auto loop, LaneLoop::Create(group, pool, set, {.lanes = kLanes, .zero_stage = stage}));
  const auto whole = nn::MakeOptimizer({.weight_decay = 0.1F}, set);
  ShardedOptimizer sharded(group, {.weight_decay = 0.1F}, set);
  sharded.TakeValues(values);
  for (int step = 0; step < 3; ++step) {
    loop->ForLanes([&](LaneLoop::Block& block, std::size_t local) {
      Tape& tape = loop->BeginStep(block, local, values);
      tape.Backward(network.Loss(tape, loop->LaneOf(local)));
    });
    MUSTER_ASSIGN_OR_RETURN(const auto gradients, loop->ReducedGradients());
    double norm = 0;
    if (stage == 0) {
      norm = nn::GradientNorm(gradients, &pool);
    } else {
      MUSTER_ASSIGN_OR_RETURN(norm, sharded.GradientNorm(gradients, &pool));
    }
    const nn::OptimizerStep rates{.learning_rate = 0.01F,
                                  .gradient_scale = nn::ClipScale(norm, 0.5)};
    if (stage == 0) {
      whole->Step(rates, std::span(values).first(set.trainable_elements()), gradients, &pool);
    } else {
      MUSTER_RETURN_IF_ERROR(sharded.Step(rates, gradients, std::span(values), &pool));
    }
  }
  return values;
}

TEST(LaneLoopTest, TrainsAroundFrozenParametersWithTheBitsOfTheTapeAlone) {
  const Network network;
  const nn::ParameterSet& set = network.parameters;
  ASSERT_GT(set.trainable_elements(), 4 * nn::kFlatBlock);
  const std::vector<float> wanted = Expected(network);
  std::vector<float> start(set.flat_elements());
  set.Initialize(1, start);
  for (const nn::ParameterSpec& spec : set.specs()) {
    const bool moved = std::memcmp(&start[spec.offset], &wanted[spec.offset],
                                   spec.shape.elements() * sizeof(float)) != 0;
    EXPECT_NE(moved, spec.frozen) << spec.name;
  }
  for (const int stage : {0, 1, 2}) {
    for (const std::size_t ranks : {1, 4}) {
      SCOPED_TRACE("stage " + std::to_string(stage) + ", " + std::to_string(ranks) + " ranks");
      const auto results = RunRanks("local", ranks, [&](Group& group) {
        const auto got = Trained(group, network, stage, ranks == 1 ? 3 : 1);
        if (!got.ok()) return got.status().message();
        const bool same =
            std::memcmp(got->data(), wanted.data(), wanted.size() * sizeof(float)) == 0;
        return same ? std::string() : std::string("other bits");
      });
      for (const auto& result : results) EXPECT_EQ(result.report, "");
    }
  }
}

}  // namespace
}  // namespace muster
