#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "envs/registry.h"
#include "envs/sample.h"
#include "envs/wrappers/actions.h"
#include "envs/wrappers/observations.h"
#include "envs/wrappers/rewards.h"
#include "envs/wrappers/vector_wrapper.h"

namespace muster::envs {
namespace {

using Vector = std::unique_ptr<VectorEnv>;

Vector Make(const std::string& name, std::size_t envs, Autoreset mode = Autoreset::kSameStep,
            const EnvOptions& options = {}) {
  auto made = MakeVectorEnv(name, options, {.envs = envs, .autoreset = mode});
  EXPECT_TRUE(made.ok()) << made.status().message();
  return std::move(*made);
}

// Random actions of a fixed stream.
class Actions {
 public:
  explicit Actions(const VectorEnv& env)
      : space_(env.spec().action),
        one_(space_.dtype, space_.elements()),
        all_(space_.dtype, env.envs() * space_.elements()) {}
  const ValueArray& Next() {
    for (std::size_t at = 0; at < all_.size(); at += one_.size()) {
      Sample(space_, random_, one_);
      all_.Set(at, one_);
    }
    return all_;
  }

 private:
  Space space_;
  NumpyRandom random_{11};
  ValueArray one_, all_;
};

std::vector<float> Floats(ConstValues values) {
  const auto span = values.As<float>();
  return {span.begin(), span.end()};
}

// A batch that is saved, loaded into a fresh one, and stepped goes on with the same bytes.
void ExpectExactState(const std::function<Vector()>& make) {
  const Vector first = make(), second = make();
  Actions actions(*first);
  ASSERT_TRUE(first->ResetFrom(5).ok());
  ASSERT_TRUE(second->ResetFrom(77).ok());
  for (int i = 0; i < 37; ++i) ASSERT_TRUE(first->Step(actions.Next()).ok());
  std::string state;
  ASSERT_TRUE(first->Save(0, first->envs(), state).ok());
  ASSERT_TRUE(second->Load(0, state).ok());
  for (int i = 0; i < 60; ++i) {
    SCOPED_TRACE(i);
    ASSERT_EQ(Floats(first->observations()), Floats(second->observations()));
    ASSERT_TRUE(
        std::equal(first->rewards().begin(), first->rewards().end(), second->rewards().begin()));
    const ValueArray& next = actions.Next();
    ASSERT_TRUE(first->Step(next).ok());
    ASSERT_TRUE(second->Step(next).ok());
  }
}

TEST(FrameStackTest, HoldsTheNewestFramesAndBeginsAnewWithAnEpisode) {
  // Probe 3: 0, then 1, then the end.
  auto env = StackFrames(Make("Probe3-v0", 1), 3);
  ASSERT_TRUE(env.ok());
  EXPECT_EQ((*env)->spec().observation.shape, (std::vector<std::size_t>{3, 1}));
  const std::vector<std::int32_t> act = {0};
  ASSERT_TRUE((*env)->ResetFrom(0).ok());
  EXPECT_EQ(Floats((*env)->observations()), (std::vector<float>{0, 0, 0}));
  ASSERT_TRUE((*env)->Step(act).ok());
  EXPECT_EQ(Floats((*env)->observations()), (std::vector<float>{0, 0, 1}));
  ASSERT_TRUE((*env)->Step(act).ok());
  EXPECT_EQ((*env)->terminated()[0], 1);
  EXPECT_EQ(Floats((*env)->final_observations()), (std::vector<float>{0, 1, 1}));
  EXPECT_EQ(Floats((*env)->observations()), (std::vector<float>{0, 0, 0}));
  EXPECT_FALSE(StackFrames(Make("Probe3-v0", 1), 0).ok());
  EXPECT_FALSE(StackFrames(Make("Taxi-v4", 1), 2).ok());
}

// CartPole's numbers a, b, c, d as a picture of another shape.
class Picture final : public VectorWrapper {
 public:
  Picture(Vector wrapped, std::vector<std::size_t> shape)
      : VectorWrapper(std::move(wrapped), SpecOf(std::move(shape))) {}

 private:
  static EnvSpec SpecOf(std::vector<std::size_t> shape) {
    EnvSpec spec = Make("CartPole-v1", 1)->spec();
    spec.observation.shape = std::move(shape);
    return spec;
  }
};

// Two frames of two pixels [a, b], [c, d] -> [a0, b0, a1, b1], [c0, d0, c1, d1].
TEST(FrameStackTest, OfPicturesStacksTheChannelsOfEachPixel) {
  const auto plain = Make("CartPole-v1", 2);
  auto env = StackFrames(
      std::make_unique<Picture>(Make("CartPole-v1", 2), std::vector<std::size_t>{2, 1, 2}), 2,
      StackAxis::kChannels);
  ASSERT_TRUE(env.ok()) << env.status().message();
  const Space& space = (*env)->spec().observation;
  EXPECT_EQ(space.shape, (std::vector<std::size_t>{2, 1, 4}));
  const Space& inner = plain->spec().observation;
  for (const std::size_t k : {0U, 1U}) {
    EXPECT_EQ(space.low[k], inner.low[k]);
    EXPECT_EQ(space.high[2 + k], inner.high[k]) << "of the newer frame";
    EXPECT_EQ(space.high[4 + k], inner.high[2 + k]) << "of the second pixel";
  }
  const std::vector<std::int32_t> act = {1, 0};
  ASSERT_TRUE(plain->ResetFrom(3).ok());
  ASSERT_TRUE((*env)->ResetFrom(3).ok());
  const std::vector<float> first = Floats(plain->observations());
  ASSERT_TRUE(plain->Step(act).ok());
  ASSERT_TRUE((*env)->Step(act).ok());
  const std::vector<float> second = Floats(plain->observations());
  std::vector<float> expected;
  for (const std::size_t pixel : {0U, 2U, 4U, 6U}) {  // Of both environments.
    for (const auto* frame : {&first, &second}) {
      expected.insert(expected.end(), {(*frame)[pixel], (*frame)[pixel + 1]});
    }
  }
  EXPECT_EQ(Floats((*env)->observations()), expected);
  // Until an episode's end, whose final observation has the frame before it too.
  std::vector<float> before;
  do {
    before = Floats(plain->observations());
    ASSERT_TRUE(plain->Step(act).ok());
    ASSERT_TRUE((*env)->Step(act).ok());
  } while (plain->terminated()[0] == 0);
  const std::vector<float> last = Floats(plain->final_observations());
  const std::vector<float> seen = Floats((*env)->final_observations());
  EXPECT_EQ(std::vector<float>(seen.begin(), seen.begin() + 8),
            (std::vector<float>{before[0], before[1], last[0], last[1], before[2], before[3],
                                last[2], last[3]}));
}

TEST(FrameStackTest, OfPicturesGivesOnesWithoutChannelsSomeAndRefusesOtherShapes) {
  const auto stacked = [](std::vector<std::size_t> shape) {
    return StackFrames(std::make_unique<Picture>(Make("CartPole-v1", 1), std::move(shape)), 3,
                       StackAxis::kChannels);
  };
  EXPECT_EQ((*stacked({2, 2}))->spec().observation.shape, (std::vector<std::size_t>{2, 2, 3}));
  EXPECT_EQ((*stacked({1, 1, 4}))->spec().observation.shape, (std::vector<std::size_t>{1, 1, 12}));
  for (const auto& shape : std::vector<std::vector<std::size_t>>{{4}, {1, 2, 1, 2}}) {
    EXPECT_EQ(stacked(shape).status().message().substr(0, 102),
              "stacking channels needs pictures [height, width] or [height, width, channels]; "
              "CartPole-v1 has Box([-4");
  }
  ExpectExactState([&] { return std::move(*stacked({2, 2, 1})); });
}

TEST(NormalizationTest, MomentsOfLanesAddUpToThoseOfAll) {
  Normalizer* normalizer = nullptr;
  auto env = NormalizeObservations(Make("CartPole-v1", 8), {}, &normalizer);
  ASSERT_TRUE(env.ok());
  Actions actions(**env);
  ASSERT_TRUE((*env)->ResetFrom(3).ok());
  std::vector<std::vector<double>> seen(4);
  const auto inner = Make("CartPole-v1", 8);  // What goes in.
  ASSERT_TRUE(inner->ResetFrom(3).ok());
  const auto note = [&](ConstValues values) {
    for (std::size_t i = 0; i < values.size; ++i) seen[i % 4].push_back(values[i]);
  };
  note(inner->observations());
  for (int i = 0; i < 200; ++i) {
    const ValueArray& next = actions.Next();
    ASSERT_TRUE((*env)->Step(next).ok());
    ASSERT_TRUE(inner->Step(next).ok());
    note(inner->observations());
    for (std::size_t e = 0; e < 8; ++e) {
      if (inner->terminated()[e] + inner->truncated()[e] > 0) {
        note(inner->final_observations().Part(e * 4, 4));
      }
    }
  }
  Moments moments(4);
  for (std::size_t lane = 0; lane < 4; ++lane) moments.Add(normalizer->Take(lane * 2, 2));
  EXPECT_EQ(moments.count, static_cast<double>(seen[0].size()));
  for (std::size_t k = 0; k < 4; ++k) {
    const double mean = std::accumulate(seen[k].begin(), seen[k].end(), 0.0) / moments.count;
    double squares = 0;
    for (const double x : seen[k]) squares += (x - mean) * (x - mean);
    EXPECT_NEAR(moments.mean[k], mean, 1e-12);
    EXPECT_NEAR(moments.variance[k], squares / moments.count, 1e-12);
  }
  EXPECT_EQ(normalizer->Take(0, 8).count, 0);

  // Frozen until the trainer says otherwise, then (x - mean) / deviation within the limit.
  EXPECT_NEAR((*env)->observations()[5], inner->observations()[5], 1e-6);
  normalizer->Use(moments);
  const ValueArray& next = actions.Next();
  ASSERT_TRUE((*env)->Step(next).ok());
  ASSERT_TRUE(inner->Step(next).ok());
  for (std::size_t i = 0; i < 32; ++i) {
    const double expected = (inner->observations()[i] - moments.mean[i % 4]) /
                            std::sqrt(moments.variance[i % 4] + 1e-8);
    EXPECT_NEAR((*env)->observations()[i], std::clamp(expected, -10.0, 10.0), 1e-6);
  }
}

// Two steps of reward -1, discount 0.5: returns -1 and -1.5.
TEST(NormalizationTest, RewardsAreDividedByTheDeviationOfReturns) {
  Normalizer* normalizer = nullptr;
  const Vector env = NormalizeRewards(Make("MountainCar-v0", 1), {.discount = 0.5}, &normalizer);
  ASSERT_TRUE(env->ResetFrom(1).ok());
  const std::vector<std::int32_t> act = {1};
  ASSERT_TRUE(env->Step(act).ok());
  ASSERT_TRUE(env->Step(act).ok());
  const MomentSums sums = normalizer->Take(0, 1);
  EXPECT_EQ(sums.count, 2);
  EXPECT_EQ(sums.sum[0], -2.5);
  EXPECT_EQ(sums.square[0], 1 + 2.25);
  Moments moments(1);
  moments.Add(sums);
  EXPECT_EQ(moments.mean[0], -1.25);
  EXPECT_EQ(moments.variance[0], 0.0625);
  normalizer->Use(moments);
  ASSERT_TRUE(env->Step(act).ok());
  EXPECT_NEAR(env->rewards()[0], -4, 1e-5);  // -1 / 0.25
}

TEST(RewardsTest, AreClippedOrSigned) {
  const std::vector<std::int32_t> up = {0}, right = {1};
  auto clipped = ClipRewards(Make("CliffWalking-v1", 1), -5, 5);
  ASSERT_TRUE((*clipped)->ResetFrom(1).ok());
  ASSERT_TRUE((*clipped)->Step(right).ok());  // Over the cliff: -100.
  EXPECT_EQ((*clipped)->rewards()[0], -5.0F);
  ASSERT_TRUE((*clipped)->Step(up).ok());
  EXPECT_EQ((*clipped)->rewards()[0], -1.0F);
  const Vector sign = SignRewards(Make("CliffWalking-v1", 1));
  ASSERT_TRUE(sign->ResetFrom(1).ok());
  ASSERT_TRUE(sign->Step(right).ok());
  EXPECT_EQ(sign->rewards()[0], -1.0F);
}

TEST(EpisodeStatisticsTest, CountsWhatEnded) {
  for (const Autoreset mode : {Autoreset::kSameStep, Autoreset::kNextStep}) {
    EpisodeStatistics* statistics = nullptr;
    const Vector env =
        CountEpisodes(Make("CartPole-v1", 3, mode, {{"max_episode_steps", "7"}}), &statistics);
    ASSERT_TRUE(env->ResetFrom(1).ok());
    const std::vector<std::int32_t> first = {0, 1, 0}, second = {1, 0, 1};
    for (int i = 0; i < 16; ++i) ASSERT_TRUE(env->Step(i % 2 == 0 ? first : second).ok());
    const auto finished = statistics->TakeFinished();
    ASSERT_EQ(finished.size(), 6U);  // Steps 7 and 14, or 7 and 15.
    for (std::size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(finished[i].env, i % 3);
      EXPECT_EQ(finished[i].length, 7U);
      EXPECT_EQ(finished[i].episode_return, 7);
    }
    EXPECT_TRUE(statistics->TakeFinished().empty());
  }
}

TEST(ActionsTest, AreClippedOrScaledToTheBox) {
  const auto reward = [](Vector env, float action) {
    EXPECT_TRUE(env->ResetFrom(9).ok());
    EXPECT_TRUE(env->Step(std::vector<float>{action}).ok());
    return env->rewards()[0];
  };
  const std::string name = "MountainCarContinuous-v0";
  // The cost is that of the action that arrives, 0.1 a^2.
  EXPECT_FLOAT_EQ(reward(Make(name, 1), 3.0F), -0.9F);
  EXPECT_FLOAT_EQ(reward(std::move(*ClipActions(Make(name, 1))), 3.0F), -0.1F);
  EXPECT_FLOAT_EQ(reward(std::move(*ScaleActions(Make("Pendulum-v1", 1))), 0.5F),
                  reward(Make("Pendulum-v1", 1), 1.0F));
  const auto refused = ClipActions(Make("CartPole-v1", 1));
  EXPECT_EQ(
      refused.status().message(),
      "clipping actions needs actions that are a box of float32; CartPole-v1 has Discrete(2)");
}

TEST(ActionsTest, StickyActionsRepeatTheLastOneAsOftenAsAsked) {
  constexpr std::size_t kEnvs = 64;
  auto sticky = StickyActions(Make("MountainCarContinuous-v0", kEnvs), 0.25);
  ASSERT_TRUE(sticky.ok());
  ASSERT_TRUE((*sticky)->ResetFrom(1).ok());
  std::size_t stuck = 0, steps = 0;
  for (int i = 0; i < 200; ++i) {
    // The size of the action shows in the cost.
    const float now = i % 2 == 0 ? 0.5F : 1.0F;
    ASSERT_TRUE((*sticky)->Step(std::vector<float>(kEnvs, now)).ok());
    for (const float reward : (*sticky)->rewards()) {
      if (i == 0) {
        EXPECT_FLOAT_EQ(reward, -0.025F);
      }
      // An episode's step that repeats an action repeats the one that was taken.
      stuck += std::abs(reward + (i % 2 == 0 ? 0.1F : 0.025F)) < 1e-5F ? 1 : 0;
      ++steps;
    }
  }
  // Taken actions follow a chain that is off after a share of p / (1 + p) = 0.2 of the steps.
  EXPECT_NEAR(static_cast<double>(stuck) / static_cast<double>(steps), 0.2, 0.02);
  EXPECT_FALSE(StickyActions(Make("CartPole-v1", 1), 1.5).ok());
}

TEST(WrappersTest, StateIsExactThroughAllOfThem) {
  ExpectExactState([] {
    Normalizer *observations = nullptr, *rewards = nullptr;
    EpisodeStatistics* statistics = nullptr;
    Vector env = CountEpisodes(Make("CartPole-v1", 6), &statistics);
    env = std::move(*StickyActions(std::move(env), 0.3));
    env = NormalizeRewards(std::move(env), {}, &rewards);
    env = std::move(*NormalizeObservations(std::move(env), {}, &observations));
    env = std::move(*ClipObservations(std::move(env), -0.1, 0.1));
    env = std::move(*StackFrames(std::move(env), 4));
    Moments known(4);
    known.mean = {0.01, 0.02, -0.03, 0.04};
    known.variance = {0.5, 2, 0.25, 1};
    observations->Use(known);
    return env;
  });
}

}  // namespace
}  // namespace muster::envs
