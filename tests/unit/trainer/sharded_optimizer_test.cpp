// Training with ZeRO 1 and 2 beside training without, bit for bit.
#include "trainer/sharding/sharded_optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "collectives/gradient_reducer.h"
#include "collectives/lane_tree.h"
#include "collectives/sharded_reducer.h"
#include "nn/optim/blocks.h"
#include "nn/optim/gradient_norm.h"
#include "tests/unit/collectives/ranks.h"

namespace muster {
namespace {

constexpr std::size_t kSteps = 4;

struct Job {
  nn::OptimizerOptions optimizer;
  std::vector<std::size_t> sizes;
  unsigned seed = 1;
  bool narrow = false;  // The network computes in bf16.
  std::size_t lanes = 4;
  std::size_t at_once = 1;
};

// The last parameter is frozen; the one before is not subject to decay.
nn::ParameterSet ParametersOf(const Job& job) {
  nn::ParameterSet set;
  for (std::size_t i = 0; i < job.sizes.size(); ++i) {
    set.Add({.name = "p" + std::to_string(i),
             .shape = {job.sizes[i]},
             .initialization = nn::Initialization::kKaimingUniform,
             .decay = i + 2 != job.sizes.size(),
             .frozen = i + 1 == job.sizes.size()});
  }
  return set;
}

std::vector<BFloat16> Narrow(std::span<const float> values) {
  std::vector<BFloat16> narrow;
  for (const float value : values) narrow.emplace_back(value);
  return narrow;
}

// A gradient that depends on what the network computes with, so that a wrong value spreads.
float GradientAt(const Job& job, std::size_t step, std::size_t lane, std::size_t i, float value) {
  std::uint32_t bits =
      static_cast<std::uint32_t>(i * 2654435761U) ^
      static_cast<std::uint32_t>((job.seed * 64 + lane * 8 + step + 1) * 0x9E3779B9U);
  bits ^= bits >> 15U;
  bits *= 0x2C1B3C6DU;
  bits ^= bits >> 13U;
  const float noise = static_cast<float>(bits & 0xFFFFFFU) * 0x1p-23F - 1.0F;
  return std::ldexp(noise, static_cast<int>(bits >> 28U) - 8) + 0.25F * value;
}

struct Network {
  std::vector<float> wide;
  std::vector<BFloat16> narrow;
  float At(std::size_t i) const { return narrow.empty() ? wide[i] : ToFloat(narrow[i]); }
};

void LaneGradient(const Job& job, const nn::ParameterSet& set, const Network& network,
                  std::size_t step, std::size_t lane, Bucket range, std::span<float> gradient) {
  std::fill(gradient.begin(), gradient.end(), 0.0F);
  for (const std::size_t number : set.ReadyOrder()) {
    const nn::ParameterSpec& spec = set[number];
    const std::size_t end = std::min(range.end, spec.offset + spec.shape.elements());
    for (std::size_t i = std::max(range.begin, spec.offset); i < end; ++i) {
      gradient[i - range.begin] = GradientAt(job, step, lane, i, network.At(i));
    }
  }
}

nn::OptimizerStep StepOf(std::size_t step, double norm) {
  return {.learning_rate = 0.01F / static_cast<float>(step + 1),
          .gradient_scale = nn::ClipScale(norm, 3.0)};
}

// What a run leaves; compared byte by byte.
struct Outcome {
  std::vector<double> norms;
  Network network;
  std::vector<float> values;
  std::vector<std::vector<float>> state;
};

Outcome RunWhole(const Job& job) {
  const nn::ParameterSet set = ParametersOf(job);
  const Bucket all{0, set.trainable_elements()};
  Outcome out;
  std::vector<float> values(set.flat_elements());
  set.Initialize(job.seed, values);
  out.network.wide = values;
  if (job.narrow) out.network.narrow = Narrow(values);
  const auto optimizer = nn::MakeOptimizer(job.optimizer, set);
  const std::span<float> trained = std::span(values).first(all.end);
  for (std::size_t step = 0; step < kSteps; ++step) {
    std::vector<std::vector<float>> lanes(job.lanes, std::vector<float>(all.end));
    for (std::size_t lane = 0; lane < job.lanes; ++lane) {
      LaneGradient(job, set, out.network, step, lane, all, lanes[lane]);
    }
    for (std::size_t width = 1; width < job.lanes; width *= 2) {
      for (std::size_t left = 0; left < job.lanes; left += 2 * width) {
        for (std::size_t i = 0; i < all.end; ++i) lanes[left][i] += lanes[left + width][i];
      }
    }
    out.norms.push_back(nn::GradientNorm(lanes[0], nullptr));
    nn::OptimizerStep rates = StepOf(step, out.norms.back());
    if (job.narrow) rates.narrow_values = std::span(out.network.narrow).first(all.end);
    optimizer->Step(rates, trained, lanes[0], nullptr);
    if (!job.narrow) out.network.wide = values;
  }
  out.values.assign(trained.begin(), trained.end());
  for (const nn::NamedState& state : optimizer->State()) {
    out.state.emplace_back(state.values.begin(), state.values.end());
  }
  return out;
}

// The gradients of one step into this rank's shard, either way.
class Reducer {
 public:
  static Result<std::unique_ptr<Reducer>> Create(Group& group, const Job& job, int stage) {
    auto reducer = std::unique_ptr<Reducer>(new Reducer(group, job));
    const std::size_t count = reducer->set_.trainable_elements();
    if (stage == 1) {
      MUSTER_ASSIGN_OR_RETURN(
          reducer->whole_,
          GradientReducer::Create(group, {job.lanes, count, reducer->buckets_, 1}));
    } else {
      MUSTER_ASSIGN_OR_RETURN(reducer->sharded_,
                              ShardedReducer::Create(group, {job.lanes, count, nn::kFlatBlock,
                                                             reducer->buckets_, job.at_once}));
    }
    return reducer;
  }

  Result<std::span<float>> Run(const Network& network, const ShardLayout& layout,
                               std::size_t step) {
    const std::size_t ranks = group_.size(), local = job_.lanes / ranks;
    const LaneWaves waves{job_.lanes, ranks, whole_ ? local : job_.at_once};
    for (std::size_t lane = 0; lane < local; ++lane) {
      for (std::size_t b = 0; b < buckets_.size(); ++b) {
        const Bucket range = buckets_[b];
        const auto memory =
            whole_ ? whole_->LaneGradients(lane).subspan(range.begin, range.end - range.begin)
                   : sharded_->LaneBucket(lane, b);
        LaneGradient(job_, set_, network, step, waves.LaneOf(group_.rank(), lane), range, memory);
        if (whole_) whole_->LaneBucketReady(lane, b);
        if (sharded_) sharded_->LaneBucketReady(lane, b);
      }
    }
    if (sharded_) {
      MUSTER_RETURN_IF_ERROR(sharded_->Wait());
      return sharded_->Gradients();
    }
    MUSTER_RETURN_IF_ERROR(whole_->Wait());
    shard_.resize(layout.ShardSize(group_.rank()));
    layout.Take(group_.rank(), std::span<const float>(whole_->Gradients()), std::span(shard_));
    return std::span(shard_);
  }

 private:
  // One bucket a parameter.
  Reducer(Group& group, const Job& job) : group_(group), job_(job), set_(ParametersOf(job)) {
    for (const std::size_t number : set_.ReadyOrder()) {
      if (!buckets_.empty()) buckets_.back().end = set_[number].offset;
      buckets_.push_back({set_[number].offset, set_.trainable_elements()});
    }
  }

  Group& group_;
  const Job& job_;
  const nn::ParameterSet set_;
  std::vector<Bucket> buckets_;
  std::unique_ptr<GradientReducer> whole_;
  std::unique_ptr<ShardedReducer> sharded_;
  std::vector<float> shard_;  // With whole_.
};

// Another optimiser that goes on from what this one holds, as after a checkpoint.
Status Replace(Group& group, const Job& job, const nn::ParameterSet& set,
               std::unique_ptr<ShardedOptimizer>& optimizer) {
  std::vector<float> values(set.trainable_elements());
  MUSTER_RETURN_IF_ERROR(optimizer->GatherValues(values));
  MUSTER_ASSIGN_OR_RETURN(const auto whole, optimizer->GatherState(true));
  auto next = std::make_unique<ShardedOptimizer>(group, job.optimizer, set);
  next->TakeValues(values);
  for (const auto& state : whole) {
    MUSTER_RETURN_IF_ERROR(next->TakeState(state.name, state.values));
  }
  next->optimizer().RestoreStepsDone(optimizer->optimizer().steps_done());
  optimizer = std::move(next);
  return {};
}

Result<Outcome> RunSharded(Group& group, const Job& job, int stage) {
  const nn::ParameterSet set = ParametersOf(job);
  Outcome out;
  std::vector<float> values(set.flat_elements());
  set.Initialize(job.seed, values);
  out.network.wide = values;
  if (job.narrow) out.network.narrow = Narrow(values);
  auto optimizer = std::make_unique<ShardedOptimizer>(group, job.optimizer, set);
  optimizer->TakeValues(values);
  MUSTER_ASSIGN_OR_RETURN(const auto reducer, Reducer::Create(group, job, stage));
  ThreadPool pool(2);
  for (std::size_t step = 0; step < kSteps; ++step) {
    if (step == kSteps / 2) MUSTER_RETURN_IF_ERROR(Replace(group, job, set, optimizer));
    MUSTER_ASSIGN_OR_RETURN(const auto gradients,
                            reducer->Run(out.network, optimizer->layout(), step));
    MUSTER_ASSIGN_OR_RETURN(const double norm, optimizer->GradientNorm(gradients, &pool));
    out.norms.push_back(norm);
    const nn::OptimizerStep rates = StepOf(step, norm);
    MUSTER_RETURN_IF_ERROR(
        job.narrow ? optimizer->Step(rates, gradients, std::span(out.network.narrow), &pool)
                   : optimizer->Step(rates, gradients, std::span(out.network.wide), &pool));
  }
  // Only the last rank asks for it.
  const bool keep = group.rank() + 1 == group.size();
  out.values.resize(keep ? set.trainable_elements() : 0);
  MUSTER_RETURN_IF_ERROR(optimizer->GatherValues(out.values));
  MUSTER_ASSIGN_OR_RETURN(auto whole, optimizer->GatherState(keep));
  for (auto& state : whole) out.state.push_back(std::move(state.values));
  return out;
}

template <class T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

std::string Difference(const Outcome& whole, const Outcome& sharded, bool kept) {
  if (!SameBits(whole.norms, sharded.norms)) return "norms differ";
  if (!SameBits(whole.network.wide, sharded.network.wide)) return "the network's values differ";
  if (!SameBits(whole.network.narrow, sharded.network.narrow)) return "the bf16 values differ";
  if (whole.state.size() != sharded.state.size()) return "other state";
  if (!kept) {
    return sharded.values.empty() ? std::string() : std::string("kept what was not asked for");
  }
  if (!SameBits(whole.values, sharded.values)) return "the f32 values differ";
  for (std::size_t i = 0; i < whole.state.size(); ++i) {
    if (!SameBits(whole.state[i], sharded.state[i])) return "state " + std::to_string(i);
  }
  return {};
}

void ExpectSameBits(const std::string& transport, std::size_t ranks, const Job& job,
                    const Outcome& whole) {
  SCOPED_TRACE(testing::Message() << transport << ", " << ranks << " ranks, " << job.lanes
                                  << " lanes, kind " << static_cast<int>(job.optimizer.kind)
                                  << (job.narrow ? ", bf16" : ", f32"));
  const auto results = RunRanks(transport, ranks, [&](Group& group) {
    for (const int stage : {1, 2}) {
      const auto sharded = RunSharded(group, job, stage);
      if (!sharded.ok()) return sharded.status().message();
      const std::string found = Difference(whole, *sharded, group.rank() + 1 == group.size());
      if (!found.empty()) return "stage " + std::to_string(stage) + ": " + found;
    }
    return std::string();
  });
  for (const auto& result : results) EXPECT_EQ(result.report, "");
}

std::vector<nn::OptimizerOptions> Optimizers() {
  using Kind = nn::OptimizerKind;
  return {{.kind = Kind::kSgd, .momentum = 0.0F, .weight_decay = 0.1F},
          {.kind = Kind::kSgd, .nesterov = true},
          {.kind = Kind::kAdam, .weight_decay = 0.1F},
          {.kind = Kind::kAdamW, .weight_decay = 0.1F},
          {.kind = Kind::kRmsProp, .weight_decay = 0.1F}};
}

constexpr std::size_t kBlock = nn::kFlatBlock;

// 3.5 blocks that divide by nothing; whole blocks; less than one.
std::vector<std::vector<std::size_t>> Sizes() {
  return {{70001, 7, 150001, 33, 5}, {kBlock, 3 * kBlock, 16, 5}, {1000, 10, 3}};
}

TEST(ShardedOptimizerTest, EveryOptimizerHasTheBitsOfAnUnshardedRun) {
  unsigned seed = 0;
  for (const nn::OptimizerOptions& optimizer : Optimizers()) {
    for (const bool narrow : {false, true}) {
      const Job job{optimizer, Sizes()[seed % 3], ++seed, narrow};
      const Outcome whole = RunWhole(job);
      for (const std::size_t ranks : {1, 2, 4}) ExpectSameBits("local", ranks, job, whole);
    }
  }
}

TEST(ShardedOptimizerTest, AnyLanesAndRanksGiveTheSameBits) {
  for (const std::size_t lanes : {1, 2, 4, 8}) {
    for (std::size_t i = 0; i < Sizes().size(); ++i) {
      Job job{{.weight_decay = 0.1F}, Sizes()[i], static_cast<unsigned>(10 + i), i == 0, lanes};
      const Outcome whole = RunWhole(job);
      for (std::size_t ranks = 1; ranks <= std::min<std::size_t>(lanes, 4); ranks *= 2) {
        ExpectSameBits("local", ranks, job, whole);
      }
    }
  }
}

TEST(ShardedOptimizerTest, AnyTransportGivesTheSameBits) {
  for (const bool narrow : {false, true}) {
    const Job job{{.kind = nn::OptimizerKind::kAdam}, Sizes()[0], 20, narrow, 8};
    const Outcome whole = RunWhole(job);
    for (const std::string transport : {"shm", "gloo"}) {
      for (const std::size_t ranks : {2, 4}) ExpectSameBits(transport, ranks, job, whole);
    }
  }
}

TEST(ShardedOptimizerTest, KeepsItsShardOfTheStateAlone) {
  const Job job{{}, Sizes()[1]};
  const nn::ParameterSet set = ParametersOf(job);
  std::vector<std::size_t> held(4);
  RunRanks("local", 4, [&](Group& group) {
    ShardedOptimizer optimizer(group, job.optimizer, set);
    held[group.rank()] = optimizer.values().size();
    for (const nn::NamedState& state : optimizer.optimizer().State()) {
      EXPECT_EQ(state.values.size(), optimizer.values().size());
    }
    return std::string();
  });
  // Four whole blocks and the 16 elements of the second one's neighbour.
  EXPECT_EQ(held, (std::vector<std::size_t>{kBlock + 16, kBlock, kBlock, kBlock}));
}

TEST(ShardedOptimizerTest, AFailureNamesItsOperation) {
  const Job job{{}, Sizes()[2]};
  const nn::ParameterSet set = ParametersOf(job);
  const auto results = RunRanks("local", 2,
                                [&](Group& group) {
                                  ShardedOptimizer optimizer(group, job.optimizer, set);
                                  if (group.rank() == 1) return std::string();  // Leaves.
                                  return optimizer.GatherState(true).status().message();
                                },
                                {std::chrono::milliseconds(300)});
  EXPECT_EQ(results[0].report.rfind("gather the optimiser's exp_avg: all-gather #1 (", 0), 0U)
      << results[0].report;
}

TEST(ShardedOptimizerTest, RefusesWhatDoesNotFit) {
  const Job job{{}, Sizes()[2]};
  const nn::ParameterSet set = ParametersOf(job);
  RunRanks("local", 1, [&](Group& group) {
    ShardedOptimizer optimizer(group, job.optimizer, set);
    std::vector<float> all(set.trainable_elements()), wrong(7);
    EXPECT_THROW(optimizer.TakeValues(wrong), ContractViolation);
    EXPECT_THROW(static_cast<void>(optimizer.GradientNorm(wrong, nullptr)), ContractViolation);
    EXPECT_THROW(static_cast<void>(optimizer.Step({}, all, std::span(wrong), nullptr)),
                 ContractViolation);
    EXPECT_EQ(optimizer.TakeState("momentum", all).code(), StatusCode::kNotFound);
    EXPECT_TRUE(optimizer.TakeState("exp_avg", all).ok());
    return std::string();
  });
}

}  // namespace
}  // namespace muster
