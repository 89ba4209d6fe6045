#include "envs/wrappers/rewards.h"

#include <algorithm>
#include <cmath>

#include "envs/wrappers/vector_wrapper.h"

namespace muster::envs {
namespace {

// Rewards of its own, made from the inner ones after every step.
class MappedRewards : public VectorWrapper {
 public:
  MappedRewards(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec)
      : VectorWrapper(std::move(wrapped), std::move(spec)), rewards_(envs()) {}

  Status Reset(std::span<const std::uint64_t> seeds) override {
    std::fill(rewards_.begin(), rewards_.end(), 0.0F);
    return inner().Reset(seeds);
  }
  Status Step(ConstValues actions) override {
    MUSTER_RETURN_IF_ERROR(inner().Step(actions));
    for (std::size_t i = 0; i < envs(); ++i) {
      // In next-step mode the step that resets has no reward.
      rewards_[i] = inner().started()[i] != 0 && !Ended(i) ? 0.0F : Map(i, inner().rewards()[i]);
    }
    return {};
  }
  std::span<const float> rewards() const override { return rewards_; }

  Status SaveOne(std::size_t env, ByteWriter& to) const override {
    to.Put(rewards_[env]);
    return inner().SaveOne(env, to);
  }
  Status LoadOne(std::size_t env, ByteReader& from) override {
    from.Get(rewards_[env]);
    return inner().LoadOne(env, from);
  }

 protected:
  virtual float Map(std::size_t env, float reward) = 0;

 private:
  std::vector<float> rewards_;
};

class ClippedRewards final : public MappedRewards {
 public:
  ClippedRewards(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec)
      : MappedRewards(std::move(wrapped), std::move(spec)) {}

 protected:
  float Map(std::size_t, float reward) override {
    return std::clamp(reward, static_cast<float>(spec_.reward_low),
                      static_cast<float>(spec_.reward_high));
  }
};

class Signs final : public MappedRewards {
 public:
  Signs(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec)
      : MappedRewards(std::move(wrapped), std::move(spec)) {}

 protected:
  float Map(std::size_t, float reward) override {
    return static_cast<float>((reward > 0 ? 1 : 0) - (reward < 0 ? 1 : 0));
  }
};

class NormalizedRewards final : public MappedRewards, public Normalizer {
 public:
  NormalizedRewards(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec,
                    const RewardNormalization& options)
      : MappedRewards(std::move(wrapped), std::move(spec)),
        options_(options),
        sums_(envs(), 1),
        returns_(envs()) {
    Use(Moments(1));
  }

  Status Reset(std::span<const std::uint64_t> seeds) override {
    std::fill(returns_.begin(), returns_.end(), 0.0);
    return MappedRewards::Reset(seeds);
  }
  std::size_t elements() const override { return 1; }
  void Use(const Moments& moments) override {
    scale_ = 1 / std::sqrt(moments.variance[0] + options_.epsilon);
  }
  MomentSums Take(std::size_t first, std::size_t count) override {
    return sums_.Take(first, count);
  }

  Status SaveOne(std::size_t env, ByteWriter& to) const override {
    to.Put(returns_[env]);
    sums_.SaveOne(env, to);
    return MappedRewards::SaveOne(env, to);
  }
  Status LoadOne(std::size_t env, ByteReader& from) override {
    from.Get(returns_[env]);
    sums_.LoadOne(env, from);
    return MappedRewards::LoadOne(env, from);
  }

 protected:
  float Map(std::size_t env, float reward) override {
    double& running = returns_[env];
    running = static_cast<double>(reward) + options_.discount * running;
    sums_.Add(env, std::span<const double>(&running, 1));
    if (Ended(env)) running = 0;
    const double scaled = static_cast<double>(reward) * scale_;
    return static_cast<float>(std::clamp(scaled, -options_.limit, options_.limit));
  }

 private:
  RewardNormalization options_;
  EnvSums sums_;
  std::vector<double> returns_;
  double scale_ = 1;
};

class CountedEpisodes final : public VectorWrapper, public EpisodeStatistics {
 public:
  CountedEpisodes(std::unique_ptr<VectorEnv> wrapped, EnvSpec spec)
      : VectorWrapper(std::move(wrapped), std::move(spec)), returns_(envs()), lengths_(envs()) {}

  Status Reset(std::span<const std::uint64_t> seeds) override {
    std::fill(returns_.begin(), returns_.end(), 0.0);
    std::fill(lengths_.begin(), lengths_.end(), 0);
    return inner().Reset(seeds);
  }
  Status Step(ConstValues actions) override {
    MUSTER_RETURN_IF_ERROR(inner().Step(actions));
    for (std::size_t i = 0; i < envs(); ++i) {
      const bool ended = Ended(i);
      if (inner().started()[i] != 0 && !ended) continue;  // A reset, in next-step mode.
      returns_[i] += static_cast<double>(inner().rewards()[i]);
      lengths_[i] += 1;
      if (!ended) continue;
      finished_.push_back({i, returns_[i], lengths_[i]});
      returns_[i] = 0;
      lengths_[i] = 0;
    }
    return {};
  }
  std::vector<FinishedEpisode> TakeFinished() override { return std::exchange(finished_, {}); }

  Status SaveOne(std::size_t env, ByteWriter& to) const override {
    to.Put(returns_[env]);
    to.Put(lengths_[env]);
    return inner().SaveOne(env, to);
  }
  Status LoadOne(std::size_t env, ByteReader& from) override {
    from.Get(returns_[env]);
    from.Get(lengths_[env]);
    return inner().LoadOne(env, from);
  }

 private:
  std::vector<double> returns_;
  std::vector<std::uint64_t> lengths_;
  std::vector<FinishedEpisode> finished_;
};

}  // namespace

Result<std::unique_ptr<VectorEnv>> ClipRewards(std::unique_ptr<VectorEnv> inner, double low,
                                               double high) {
  if (!(low <= high)) return InvalidArgument("the bounds of clipped rewards are reversed");
  EnvSpec spec = inner->spec();
  spec.reward_low = low;
  spec.reward_high = high;
  return std::unique_ptr<VectorEnv>(
      std::make_unique<ClippedRewards>(std::move(inner), std::move(spec)));
}

std::unique_ptr<VectorEnv> SignRewards(std::unique_ptr<VectorEnv> inner) {
  EnvSpec spec = inner->spec();
  spec.reward_low = -1;
  spec.reward_high = 1;
  return std::make_unique<Signs>(std::move(inner), std::move(spec));
}

std::unique_ptr<VectorEnv> NormalizeRewards(std::unique_ptr<VectorEnv> inner,
                                            const RewardNormalization& options,
                                            Normalizer** normalizer) {
  EnvSpec spec = inner->spec();
  spec.reward_low = -options.limit;
  spec.reward_high = options.limit;
  auto made = std::make_unique<NormalizedRewards>(std::move(inner), std::move(spec), options);
  *normalizer = made.get();
  return made;
}

std::unique_ptr<VectorEnv> CountEpisodes(std::unique_ptr<VectorEnv> inner,
                                         EpisodeStatistics** statistics) {
  EnvSpec spec = inner->spec();
  auto made = std::make_unique<CountedEpisodes>(std::move(inner), std::move(spec));
  *statistics = made.get();
  return made;
}

}  // namespace muster::envs
