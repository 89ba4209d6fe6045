#include "trainer/rl/rollout_intake.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

namespace muster::rl {
namespace {

using std::chrono::milliseconds;

PpoOptions Options(std::size_t lag) {
  PpoOptions options;
  options.environment.name = "CartPole-v1";
  options.policy.hidden = {8};
  options.envs = 8;
  options.lanes = 4;
  options.rollout_steps = 3;
  options.minibatches = 2;
  options.total_steps = 100 * options.batch_size();
  options.max_policy_lag = lag;
  options.asynchronous = true;
  return options;
}

// Policies by version, rollouts by any of them, and a clock that stands still by itself.
class World {
 public:
  explicit World(const PpoOptions& options) : options_(options) {
    const PpoPlan plan = *PlanPpo(options, 1);
    policy_ = std::move(*Policy::Create(options.policy, plan.spec.observation, plan.spec.action));
    state_ = std::move(*PpoState::Create(options, *policy_, 0, options.lanes));
    runner_ = std::move(*RolloutRunner::Create(options));
    seat_.emplace(*runner_);
  }
  RolloutResult Collect(std::size_t lane, std::uint64_t by, const std::string& state) {
    const std::span<const float> values = state_->model.values();
    EXPECT_TRUE(runner_
                    ->SetPolicy(by,
                                {reinterpret_cast<const char*>(values.data()), values.size_bytes()},
                                BytesOf(state_->moments))
                    .ok());
    auto result = runner_->Run(*seat_, lane, by, 1, state);
    EXPECT_TRUE(result.ok()) << result.status().message();
    return std::move(*result);
  }
  RolloutIntake::Rank Rank() {
    RolloutIntake::Rank rank;
    rank.now_ms = [this] { return now_ms; };
    rank.collect = [this](std::span<const std::size_t> lanes) {
      for (const std::size_t lane : lanes) {
        PpoState::Lane& to = state_->lanes[lane];
        const RolloutResult result = Collect(lane, version, to.StateBytes());
        envs::ByteReader from(result.trajectories.front());
        to.pending.emplace_back();
        EXPECT_TRUE(to.pending.back()
                        .Load(from, *policy_, options_.rollout_steps, options_.lane_envs())
                        .ok());
        to.remote_state = result.state;
      }
      now_ms += own_ms;
      return Status();
    };
    return rank;
  }

  double now_ms = 0;
  double own_ms = 50;         // What the rank's own collecting takes.
  std::uint64_t version = 0;  // That is trained on.
  const Policy& policy() const { return *policy_; }
  std::vector<PpoState::Lane>& lanes() { return state_->lanes; }

 private:
  const PpoOptions options_;
  std::unique_ptr<Policy> policy_;
  std::unique_ptr<PpoState> state_;
  std::unique_ptr<RolloutRunner> runner_;
  std::optional<RolloutRunner::Seat> seat_;
};

// Somebody elsewhere: what comes, and when, is what next() says.
class Elsewhere : public RemoteRollouts {
 public:
  explicit Elsewhere(World& world) : world_(world) {}
  std::size_t workers() const override { return there ? 1 : 0; }
  void SetPolicy(std::uint64_t /*version*/, std::span<const float> /*values*/,
                 const NormalizerMoments& /*moments*/) override {}
  bool Begin(RolloutTask /*task*/) override { return false; }
  std::optional<RolloutResult> Finish(std::size_t /*lane*/) override { return std::nullopt; }
  bool RunAhead(RolloutTask task) override {
    if (!there) return false;
    RolloutTask& held =
        tasks.try_emplace(task.lane, RolloutTask{task.lane, 0, task.state}).first->second;
    held.rollouts += task.rollouts;
    return true;
  }
  std::vector<RolloutArrival> Arrived(milliseconds most) override {
    std::vector<RolloutArrival> arrivals;
    if (next) arrivals = next(static_cast<double>(most.count()));
    if (arrivals.empty()) world_.now_ms += static_cast<double>(most.count());
    return arrivals;
  }
  void TakeBack(std::size_t lane) override {
    tasks.erase(lane);
    taken_back.push_back(lane);
  }
  // One of the lane's, by a policy of that version.
  RolloutArrival One(std::size_t lane, std::uint64_t version) {
    RolloutTask& task = tasks.at(lane);
    --task.rollouts;
    RolloutResult result = world_.Collect(lane, version, task.state);
    task.state = result.state;
    return {lane, std::move(result)};
  }

  bool there = true;
  std::map<std::size_t, RolloutTask> tasks;
  std::vector<std::size_t> taken_back;
  std::function<std::vector<RolloutArrival>(double most_ms)> next;

 private:
  World& world_;
};

std::vector<std::uint64_t> VersionsOf(const std::vector<Trajectory>& batch) {
  std::vector<std::uint64_t> versions;
  for (const Trajectory& each : batch) versions.push_back(each.version);
  return versions;
}

using Versions = std::vector<std::uint64_t>;

TEST(RolloutIntakeTest, TakesWhatHasComeFirstFromWhicheverLanes) {
  const PpoOptions options = Options(2);
  World world(options);
  Elsewhere elsewhere(world);
  RolloutIntake intake(options, world.policy(), world.lanes(), 0, &elsewhere, world.Rank());
  std::vector<Trajectory> batch;
  // Lane 3 is slow: two rollouts of lanes 0 and 1 come before any of it.
  elsewhere.next = [&](double) {
    std::vector<RolloutArrival> arrivals;
    for (const std::size_t lane : {0, 1, 0, 1}) arrivals.push_back(elsewhere.One(lane, 0));
    return arrivals;
  };
  ASSERT_TRUE(intake.Take(0, batch).ok());
  EXPECT_EQ(VersionsOf(batch), Versions({0, 0, 0, 0}));
  // Every lane is two ahead again, those that were taken from by new ones.
  for (std::size_t lane = 0; lane < 4; ++lane) EXPECT_EQ(elsewhere.tasks.at(lane).rollouts, 2U);
  // At update 3 policy 0 is too old: what lane 3 brings of it is dropped.
  elsewhere.next = [&](double) {
    std::vector<RolloutArrival> arrivals;
    arrivals.push_back(elsewhere.One(3, 0));
    arrivals.push_back(elsewhere.One(3, 1));
    for (const std::size_t lane : {0, 2, 1}) arrivals.push_back(elsewhere.One(lane, 2));
    return arrivals;
  };
  ASSERT_TRUE(intake.Take(3, batch).ok());
  EXPECT_EQ(VersionsOf(batch), Versions({1, 2, 2, 2}));
  EXPECT_EQ(intake.dropped(), 1U);
  EXPECT_EQ(intake.collected_here(), 0U);
  EXPECT_EQ(elsewhere.tasks.at(3).rollouts, 2U) << "what was dropped is asked for again";
}

TEST(RolloutIntakeTest, CollectsItselfWhenNobodyIsThereOrNothingComes) {
  const PpoOptions options = Options(1);
  World world(options);
  Elsewhere elsewhere(world);
  RolloutIntake intake(options, world.policy(), world.lanes(), 0, &elsewhere, world.Rank());
  std::vector<Trajectory> batch;
  elsewhere.there = false;
  ASSERT_TRUE(intake.Take(world.version = 0, batch).ok());
  EXPECT_EQ(VersionsOf(batch), Versions({0, 0, 0, 0}));
  EXPECT_EQ(world.now_ms, world.own_ms) << "nobody was waited for";
  // Somebody who hangs: only lanes that have nothing are taken back, after the patience.
  elsewhere.there = true;
  bool first = true;
  elsewhere.next = [&](double) {
    std::vector<RolloutArrival> arrivals;
    if (std::exchange(first, false)) arrivals.push_back(elsewhere.One(2, 1));
    return arrivals;
  };
  world.own_ms = 1'000;
  ASSERT_TRUE(intake.Take(world.version = 1, batch).ok());
  EXPECT_EQ(VersionsOf(batch), Versions({1, 1, 1, 1}));
  EXPECT_EQ(elsewhere.taken_back, std::vector<std::size_t>({0, 1, 3}));
  EXPECT_EQ(world.now_ms, 50 + RolloutIntake::kPatienceMs + 1'000);
  EXPECT_EQ(intake.collected_here(), 7U);
  // Its own collecting took a second, so others may take four.
  const double before = world.now_ms;
  ASSERT_TRUE(intake.Take(world.version = 2, batch).ok());
  EXPECT_EQ(world.now_ms, before + 4'000 + 1'000);
  // More than ten seconds are never waited, for the sake of the other ranks.
  world.own_ms = 60'000;
  ASSERT_TRUE(intake.Take(world.version = 3, batch).ok());
  const double long_ago = world.now_ms;
  world.own_ms = 1'000;
  ASSERT_TRUE(intake.Take(world.version = 4, batch).ok());
  EXPECT_EQ(world.now_ms, long_ago + 10'000 + 1'000);
  // One that says it cannot is not waited for.
  elsewhere.next = [&](double) {
    std::vector<RolloutArrival> arrivals;
    for (const auto& [lane, task] : elsewhere.tasks) arrivals.push_back({lane, std::nullopt});
    elsewhere.tasks.clear();
    elsewhere.there = false;
    return arrivals;
  };
  const double then = world.now_ms;
  ASSERT_TRUE(intake.Take(world.version = 5, batch).ok());
  EXPECT_EQ(world.now_ms, then + 1'000);
}

TEST(RolloutIntakeTest, GoesOnFromWhatACheckpointKept) {
  const PpoOptions options = Options(2);
  World world(options);
  for (const auto& [lane, version] : {std::pair{1U, 5U}, {3U, 4U}, {3U, 6U}, {0U, 3U}}) {
    world.version = version;
    const std::size_t one[] = {lane};
    ASSERT_TRUE(world.Rank().collect(one).ok());
  }
  world.version = 6;
  RolloutIntake intake(options, world.policy(), world.lanes(), 0, nullptr, world.Rank());
  std::vector<Trajectory> batch;
  ASSERT_TRUE(intake.Take(6, batch).ok());
  EXPECT_EQ(VersionsOf(batch), Versions({4, 5, 6, 6}));
  EXPECT_EQ(intake.dropped(), 1U) << "of policy 3";
  EXPECT_EQ(intake.collected_here(), 1U);
}

// Whatever comes, in whatever order, late, damaged or not at all: a full batch in bounded time,
// none of it older than the bound or newer than the learner, nothing trained on twice.
class Chaos : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Chaos, NeverExceedsTheBoundNorWaitsForever) {
  std::mt19937_64 random(GetParam());
  const std::size_t lag = 1 + random() % 4;
  const PpoOptions options = Options(lag);
  World world(options);
  Elsewhere elsewhere(world);
  RolloutIntake intake(options, world.policy(), world.lanes(), 0, &elsewhere, world.Rank());
  elsewhere.next = [&](double most_ms) {
    std::vector<RolloutArrival> arrivals;
    const double later = static_cast<double>(random() % 400);
    if (later > most_ms || random() % 12 == 0) return arrivals;  // A while without anything.
    world.now_ms += later;
    for (auto task = elsewhere.tasks.begin(); task != elsewhere.tasks.end();) {
      const std::size_t lane = task->first;
      ++task;  // It may go.
      while (random() % 3 != 0 && elsewhere.tasks.at(lane).rollouts > 0) {
        const std::uint64_t behind = std::min<std::uint64_t>(random() % 7, world.version);
        RolloutArrival arrival = elsewhere.One(lane, world.version - behind);
        if (random() % 15 == 0) arrival.result->trajectories.front().resize(random() % 90);
        arrivals.push_back(std::move(arrival));
      }
      if (random() % 10 == 0 && elsewhere.tasks.at(lane).rollouts > 0) {
        elsewhere.tasks.erase(lane);
        arrivals.push_back({lane, std::nullopt});
      }
    }
    return arrivals;
  };
  std::set<std::vector<float>> seen;
  std::vector<Trajectory> batch;
  for (world.version = 0; world.version < 60; ++world.version) {
    elsewhere.there = random() % 5 != 0;
    const double before = world.now_ms;
    ASSERT_TRUE(intake.Take(world.version, batch).ok());
    ASSERT_EQ(batch.size(), 4U);
    for (const Trajectory& each : batch) {
      EXPECT_LE(each.version, world.version);
      EXPECT_GE(each.version + lag, world.version) << "older than the bound";
      EXPECT_TRUE(seen.insert(each.features).second) << "trained on twice";
    }
    for (const PpoState::Lane& lane : world.lanes()) EXPECT_LE(lane.pending.size(), lag);
    // Four waits for one that comes and is too old, and the patience, at the most.
    EXPECT_LT(world.now_ms - before, 40 * RolloutIntake::kPatienceMs);
  }
  EXPECT_GT(intake.dropped(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Chaos, testing::Range<std::uint64_t>(0, 24));

}  // namespace
}  // namespace muster::rl
