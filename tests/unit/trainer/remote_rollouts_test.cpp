#include "trainer/rl/remote_rollouts.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/file.h"
#include "tests/unit/trainer/data_files.h"
#include "tests/unit/trainer/small_ppo.h"
#include "tests/unit/trainer/watching_host.h"
#include "trainer/rl/ppo_trainer.h"

namespace muster::rl {
namespace {

using test::Layout;

// Workers in this process, each with what it remembers of lanes; by chance one is replaced, answers
// nothing, or sends what is damaged.
class Workers final : public RemoteRollouts {
 public:
  Workers(const PpoOptions& options, std::size_t count, std::uint64_t seed, bool faulty)
      : options_(options), random_(seed), faulty_(faulty) {
    for (std::size_t i = 0; i < count; ++i) workers_.push_back(New());
  }
  std::size_t workers() const override { return Chance(8) ? 0 : workers_.size(); }
  void SetPolicy(std::uint64_t version, std::span<const float> values,
                 const NormalizerMoments& moments) override {
    old_ = std::exchange(now_, {version,
                                {reinterpret_cast<const char*>(values.data()), values.size_bytes()},
                                BytesOf(moments)});
    for (const auto& worker : workers_) Tell(*worker, now_);
  }
  bool Begin(RolloutTask task) override {
    if (Chance(7)) return false;
    std::unique_ptr<RolloutRunner>& worker = workers_[random_() % workers_.size()];
    if (Chance(5)) worker = New();
    RolloutRunner::Seat seat(*worker);
    // One that has slept through an update acts by the policy before.
    const bool late = !old_.values.empty() && Chance(5);
    if (late) Tell(*worker, old_);
    auto result =
        worker->Run(seat, task.lane, late ? old_.version : now_.version, task.rollouts, task.state);
    EXPECT_TRUE(result.ok()) << result.status().message();
    if (late) Tell(*worker, now_);
    if (numerics_noise != 0) Disturb(*result);
    if (Chance(5)) result->trajectories.front().resize(random_() % 100);
    if (Chance(9)) result->trajectories.pop_back();
    done_[task.lane] = std::move(*result);
    ++tasks;
    return true;
  }
  std::optional<RolloutResult> Finish(std::size_t lane) override {
    if (Chance(6)) return std::nullopt;
    return std::move(done_.extract(lane).mapped());
  }
  bool RunAhead(RolloutTask /*task*/) override { return false; }
  std::vector<RolloutArrival> Arrived(std::chrono::milliseconds /*most*/) override { return {}; }
  void TakeBack(std::size_t /*lane*/) override {}
  std::size_t tasks = 0;
  float numerics_noise = 0;  // Added to every log-probability.

 private:
  void Disturb(RolloutResult& result) const {
    const PpoPlan plan = *PlanPpo(options_, 1);
    const auto policy = Policy::Create(options_.policy, plan.spec.observation, plan.spec.action);
    for (std::string& bytes : result.trajectories) {
      Trajectory trajectory;
      envs::ByteReader from(bytes);
      EXPECT_TRUE(
          trajectory.Load(from, **policy, options_.rollout_steps, options_.lane_envs()).ok());
      for (float& each : trajectory.log_probs) each += numerics_noise;
      bytes.clear();
      envs::ByteWriter to(bytes);
      trajectory.Save(to);
    }
  }
  struct PolicyBytes {
    std::uint64_t version = 0;
    std::string values, moments;
  };
  static void Tell(RolloutRunner& worker, const PolicyBytes& policy) {
    EXPECT_TRUE(worker.SetPolicy(policy.version, policy.values, policy.moments).ok());
  }
  bool Chance(unsigned in) const { return faulty_ && random_() % in == 0; }
  std::unique_ptr<RolloutRunner> New() const {
    auto runner = RolloutRunner::Create(options_);
    EXPECT_TRUE(runner.ok());
    if (!now_.values.empty()) Tell(**runner, now_);
    return std::move(*runner);
  }

  const PpoOptions options_;
  mutable std::mt19937_64 random_;
  const bool faulty_;
  PolicyBytes now_, old_;
  std::vector<std::unique_ptr<RolloutRunner>> workers_;
  std::map<std::size_t, RolloutResult> done_;
};

PpoOptions Small(std::size_t lag) {
  PpoOptions options = test::SmallPpo("CartPole-v1");
  options.total_steps = 7 * options.batch_size();
  options.learning_rate = 1e-3F;
  options.evaluation = {};
  options.max_policy_lag = lag;
  return options;
}

class RemoteRolloutsTest : public testing::Test {
 protected:
  // The digest of the last checkpoint, with `count` workers for each rank; 0 = none.
  std::string Digest(const PpoOptions& options, const TrainingRun& run, Layout layout,
                     std::size_t count, bool faulty, std::uint64_t stop_after = UINT64_MAX) {
    const auto outcome = test::RunRanks<PpoResult>(
        layout, stop_after, 0, [&](Group& group, ThreadPool& pool, TrainerHost& host) {
          Workers workers(options, count, group.rank() + 10 * count, faulty);
          workers.numerics_noise = numerics_noise_;
          auto result = TrainPpo(options, run, group, pool, host, count == 0 ? nullptr : &workers);
          EXPECT_EQ(workers.tasks > 0, count > 0);
          return result;
        });
    for (const auto& result : outcome.results)
      EXPECT_TRUE(result.ok()) << result.status().message();
    if (outcome.hosts[0].notices.empty()) return "none";
    newest_ = outcome.hosts[0].notices.back().directory;
    return outcome.hosts[0].notices.back().sha256;
  }

  std::string folder_ = test::EmptyFolder("remote-rollouts");
  std::string newest_;
  float numerics_noise_ = 0;
};

// What a machine of other numerics says of probabilities changes nothing where it is computed anew.
TEST_F(RemoteRolloutsTest, MayHaveOtherNumericsWhereTheJobSaysSo) {
  TrainingRun run;
  run.staging_directory = folder_ + "/staging";
  run.metrics_path = folder_ + "/metrics";
  for (const std::size_t lag : {0U, 2U}) {
    PpoOptions options = Small(lag);
    options.any_rollout_numerics = true;
    numerics_noise_ = 0;
    const std::string digest = Digest(options, run, {1, 1}, 2, false);
    numerics_noise_ = 0.125F;
    std::filesystem::remove(run.metrics_path);
    EXPECT_EQ(Digest(options, run, {2, 1}, 2, true), digest);
    const std::string rows = *ReadFile(run.metrics_path, 1U << 20U);
    EXPECT_NE(rows.find("\"train/behaviour_logprob_difference\":0.125"), std::string::npos) << rows;
    EXPECT_NE(rows.find("\"train/behaviour_logprob_difference_max\":0.125"), std::string::npos);
    options.any_rollout_numerics = false;
    EXPECT_NE(Digest(options, run, {1, 1}, 2, false), digest);
  }
}

TEST_F(RemoteRolloutsTest, ChangeNoBitWhateverBecomesOfThem) {
  TrainingRun run;
  run.staging_directory = folder_ + "/staging";
  PpoOptions vpg = Small(0);
  vpg.vpg = VpgOptions{.value_steps = 3};
  const PpoOptions jobs[] = {Small(0), Small(2), vpg,
                             test::WithMemory(Small(2), nn::RecurrentKind::kLstm)};
  for (const PpoOptions& options : jobs) {
    SCOPED_TRACE(options.algorithm() + std::string(", lag ") +
                 std::to_string(options.max_policy_lag) +
                 (options.policy.memory ? ", with memory" : ""));
    const std::string digest = Digest(options, run, {1, 1}, 0, false);
    EXPECT_EQ(Digest(options, run, {1, 2}, 1, false), digest);
    EXPECT_EQ(Digest(options, run, {2, 1}, 3, false), digest);
    for (const std::size_t count : {1U, 2U, 3U}) {
      EXPECT_EQ(Digest(options, run, {count == 2 ? 2U : 1U, 1}, count, true), digest) << count;
    }
    // Interrupted while others have the lanes' states.
    Digest(options, run, {1, 1}, 2, true, 3);
    TrainingRun second = run;
    second.resume_directory = folder_ + "/kept";
    std::filesystem::rename(newest_, second.resume_directory);
    EXPECT_EQ(Digest(options, second, {2, 1}, 1, true), digest);
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
}

TEST(RolloutRunnerTest, RefusesWhatItCannotDo) {
  const PpoOptions options = Small(0);
  auto runner = RolloutRunner::Create(options);
  ASSERT_TRUE(runner.ok());
  RolloutRunner::Seat seat(**runner);
  EXPECT_EQ((*runner)->Run(seat, 0, 1, 1, std::nullopt).status().message(),
            "policy version 1 is not here");
  EXPECT_FALSE((*runner)->SetPolicy(1, "short", "").ok());
  auto policy = Policy::Create(options.policy, PlanPpo(options, 1)->spec.observation,
                               PlanPpo(options, 1)->spec.action);
  const std::string values((*policy)->parameters().flat_elements() * sizeof(float), '\0');
  EXPECT_EQ((*runner)->SetPolicy(1, values, "damaged").message(),
            "damaged moments of the normalisers");
  NormalizerMoments moments;
  ASSERT_TRUE((*runner)->SetPolicy(1, values, BytesOf(moments)).ok());
  EXPECT_EQ((*runner)->Run(seat, 0, 1, 1, std::nullopt).status().message(),
            "nothing is known here of lane 0");
  EXPECT_EQ((*runner)->Run(seat, 0, 1, 1, "state").status().message(),
            "moments of other normalisers");
  moments.observations = envs::Moments(4);
  ASSERT_TRUE((*runner)->SetPolicy(1, values, BytesOf(moments)).ok());
  EXPECT_FALSE((*runner)->Run(seat, 0, 1, 1, "damaged").ok());
  EXPECT_FALSE((*runner)->Run(seat, 99, 1, 1, "").ok());
}

}  // namespace
}  // namespace muster::rl
