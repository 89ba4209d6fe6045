// The conformance suite finds what it is for: each planted fault fails the line that names it.
#include "envs/check.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "envs/numpy_random.h"
#include "envs/registry.h"

namespace muster::envs {
namespace {

enum class Fault {
  kNone,
  kOutOfBounds,
  kReward,
  kSharedRandom,
  kForgetsToSave,
  kForgetsACount,
  kIgnoresSeed,
  kTimeLimit,
  kOddActions,
};

NumpyRandom shared_random(1);  // NOLINT: the fault of one of them.

// A random walk that ends beyond 3.
class Walk final : public Env {
 public:
  explicit Walk(Fault fault) : fault_(fault) {
    spec_.name = "Walk";
    spec_.observation = Space::Box({1}, -10, 10);
    spec_.action = Space::Discrete(2);
    spec_.reward_low = -1;
    spec_.reward_high = 1;
    spec_.steps_max = fault == Fault::kTimeLimit ? 5 : 0;
    if (fault == Fault::kOddActions) spec_.actions = {"only one"};
  }

  const EnvSpec& spec() const override { return spec_; }
  ConstValues observation() const override { return std::span<const float>(seen_); }

 protected:
  Status OnReset(std::optional<std::uint64_t> seed) override {
    if (seed && fault_ != Fault::kIgnoresSeed) random_ = NumpyRandom(*seed);
    at_ = Random().Uniform(-1, 1);
    of_episode_ = 0;
    See();
    return {};
  }
  Result<Transition> OnStep(ConstValues action) override {
    at_ += (action[0] - 0.5) + Random().Uniform(-0.5, 0.5);
    ++steps_;
    ++of_episode_;
    See();
    const double reward = fault_ == Fault::kReward && steps_ % 50 == 0 ? 2 : at_ > 0 ? 1 : -1;
    return Transition{
        .reward = reward,
        .terminated = std::abs(at_) > 3 || (fault_ == Fault::kForgetsACount && of_episode_ == 9)};
  }
  Status OnSave(ByteWriter& to) const override {
    if (fault_ != Fault::kForgetsToSave) random_.Save(to);
    to.Put(at_);
    return {};
  }
  Status OnLoad(ByteReader& from) override {
    if (fault_ != Fault::kForgetsToSave) random_.Load(from);
    from.Get(at_);
    See();
    return {};
  }

 private:
  NumpyRandom& Random() { return fault_ == Fault::kSharedRandom ? shared_random : random_; }
  void See() {
    seen_[0] = static_cast<float>(at_);
    if (fault_ == Fault::kOutOfBounds && at_ > 2) seen_[0] = 11;
  }

  Fault fault_;
  EnvSpec spec_;
  NumpyRandom random_;
  std::array<float, 1> seen_{};
  double at_ = 0;
  std::uint64_t steps_ = 0, of_episode_ = 0;
};

std::vector<CheckLine> Check(Fault fault) {
  return CheckEnv([fault]() -> Result<std::unique_ptr<Env>> {
    return std::unique_ptr<Env>(std::make_unique<Walk>(fault));
  });
}

// The lines that failed, by the first word that tells them apart.
std::vector<std::string> Failed(Fault fault) {
  std::vector<std::string> failed;
  for (const CheckLine& line : Check(fault)) {
    if (!line.passed) failed.push_back(line.what + ": " + line.detail);
  }
  return failed;
}

void ExpectFinds(Fault fault, const std::string& words) {
  const auto failed = Failed(fault);
  ASSERT_FALSE(failed.empty()) << words;
  bool found = false;
  for (const std::string& line : failed) found = found || line.find(words) != std::string::npos;
  EXPECT_TRUE(found) << words << " is not in " << failed.front();
}

TEST(CheckTest, PassesWhatIsWhole) {
  EXPECT_TRUE(AllPassed(Check(Fault::kNone))) << TextOf(Check(Fault::kNone));
  EXPECT_EQ(TextOf(Check(Fault::kNone)).substr(0, 6), "ok    ");
}

TEST(CheckTest, FindsEachPlantedFault) {
  ExpectFinds(Fault::kOutOfBounds, "observation is 11, outside of Box(-10..10, [1], float32)");
  ExpectFinds(Fault::kReward, "reward 2.000000 is outside of -1.000000..1.000000");
  ExpectFinds(Fault::kSharedRandom, "the same seed and actions give something else");
  ExpectFinds(Fault::kForgetsToSave, "after load it goes on otherwise than after save");
  ExpectFinds(Fault::kForgetsACount, "after load it goes on otherwise than after save");
  ExpectFinds(Fault::kIgnoresSeed, "a reset with the same seed gives something else");
  ExpectFinds(Fault::kTimeLimit, "no truncation at the time limit");
  ExpectFinds(Fault::kOddActions, "actions are named, but not each of them");
}

TEST(CheckTest, FindsABatchThatIsNotItsEnvironments) {
  const auto make = [] { return MakeEnv("Pendulum-v1"); };
  const auto lines = CheckBatch(make, [](const VectorOptions& options) {
    return MakeVectorEnv("Pendulum-v1", {{"g", "9.99"}}, options);
  });
  EXPECT_FALSE(AllPassed(lines));
  EXPECT_NE(TextOf(lines).find("FAIL  batches equal single environments, same-step"),
            std::string::npos);
}

TEST(CheckTest, SaysWhyNothingCouldBeMade) {
  const auto lines = CheckEnv([] { return MakeEnv("NoSuch-v0"); });
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_FALSE(lines[0].passed);
  EXPECT_NE(lines[0].detail.find("NoSuch-v0"), std::string::npos);
}

}  // namespace
}  // namespace muster::envs
