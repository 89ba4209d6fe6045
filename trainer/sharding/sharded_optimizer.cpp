#include "trainer/sharding/sharded_optimizer.h"

#include <utility>

#include "nn/optim/blocks.h"
#include "nn/optim/gradient_norm.h"

namespace muster {
namespace {

std::vector<nn::FlatRange> RangesOf(const ShardLayout& layout, std::size_t rank) {
  std::vector<nn::FlatRange> ranges;
  for (std::size_t s = 0; s < layout.ShardBlocks(rank); ++s) {
    const Part block = layout.BlockOf(rank, s);
    ranges.push_back({block.begin, block.end});
  }
  return ranges;
}

}  // namespace

ShardedOptimizer::ShardedOptimizer(Group& group, const nn::OptimizerOptions& options,
                                   const nn::ParameterSet& parameters)
    : group_(group),
      layout_(parameters.trainable_elements(), nn::kFlatBlock, group.size()),
      flat_elements_(parameters.flat_elements()),
      values_(layout_.ShardSize(group.rank())),
      optimizer_(nn::MakeOptimizer(options, parameters, RangesOf(layout_, group.rank()))) {}

void ShardedOptimizer::TakeValues(std::span<const float> all) {
  MUSTER_CHECK(all.size() == layout_.count() || all.size() == flat_elements_,
               "a value vector of another size");
  layout_.Take(group_.rank(), all.first(layout_.count()), std::span(values_));
}

Result<double> ShardedOptimizer::GradientNorm(std::span<const float> gradients, ThreadPool* pool) {
  MUSTER_CHECK(gradients.size() == values_.size(), "gradients of another shard");
  std::vector<double> own = nn::BlockSums(gradients, pool);
  own.resize(layout_.stripes());
  std::vector<double> gathered(own.size() * group_.size());
  MUSTER_RETURN_IF_ERROR(group_.AllGather(std::span<const double>(own), std::span(gathered)));
  // Block b is rank b % ranks' block b / ranks.
  std::vector<double> sums(layout_.blocks());
  for (std::size_t b = 0; b < sums.size(); ++b) {
    sums[b] = gathered[b % group_.size() * own.size() + b / group_.size()];
  }
  return nn::NormOfBlockSums(sums);
}

void ShardedOptimizer::CheckNetwork(const nn::OptimizerStep& step, std::size_t elements) const {
  MUSTER_CHECK(elements == layout_.count() || elements == flat_elements_,
               "a value vector of another size");
  MUSTER_CHECK(step.narrow_values.empty(), "a sharded step makes its narrow values itself");
}

Status ShardedOptimizer::Step(const nn::OptimizerStep& step, std::span<const float> gradients,
                              std::span<float> network, ThreadPool* pool) {
  CheckNetwork(step, network.size());
  optimizer_->Step(step, values_, gradients, pool);
  return AllGatherShards(group_, layout_, values_, network.first(layout_.count()));
}

Status ShardedOptimizer::Step(const nn::OptimizerStep& step, std::span<const float> gradients,
                              std::span<BFloat16> network, ThreadPool* pool) {
  CheckNetwork(step, network.size());
  narrow_.resize(values_.size());
  nn::OptimizerStep narrowing = step;
  narrowing.narrow_values = narrow_;
  optimizer_->Step(narrowing, values_, gradients, pool);
  return AllGatherShards(group_, layout_, sizeof(BFloat16), std::as_bytes(std::span(narrow_)),
                         std::as_writable_bytes(network.first(layout_.count())));
}

Status ShardedOptimizer::GatherValues(std::span<float> all) {
  return AllGatherShards(group_, layout_, values_, all).During("gather the values");
}

Result<std::vector<ShardedOptimizer::WholeState>> ShardedOptimizer::GatherState(bool keep) {
  std::vector<WholeState> whole;
  for (const nn::NamedState& state : optimizer_->State()) {
    whole.push_back({state.name, std::vector<float>(keep ? layout_.count() : 0)});
    MUSTER_RETURN_IF_ERROR(AllGatherShards(group_, layout_, state.values, whole.back().values)
                               .During("gather the optimiser's " + state.name));
  }
  return whole;
}

Status ShardedOptimizer::TakeState(const std::string& name, std::span<const float> all) {
  MUSTER_CHECK(all.size() == layout_.count(), "a state vector of another size");
  for (const nn::NamedState& state : optimizer_->State()) {
    if (state.name != name) continue;
    layout_.Take(group_.rank(), all, state.values);
    return {};
  }
  return NotFound("the optimiser keeps no " + name);
}

}  // namespace muster
