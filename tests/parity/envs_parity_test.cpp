// Muster's environments beside Gymnasium's, to the bit: the episodes of record_envs.py, compared
// with what it recorded in envs_goldens.json.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "envs/numpy_random.h"
#include "envs/registry.h"

namespace muster::envs {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kBlock = 100;  // Episodes a digest.

double Uniform(std::uint64_t episode, std::uint64_t step) {
  auto bits =
      static_cast<std::uint32_t>((episode * 1009 + step) * 2654435761U + 40503 * episode + 12345);
  for (int round = 0; round < 2; ++round) bits = (bits ^ (bits >> 16U)) * 0x45d9f3bU;
  return (bits ^ (bits >> 16U)) / 4294967296.0;
}

// The policies of record_envs.py, by the environment they are for.
double Choose(const std::string& name, const Env& env, double u, std::uint64_t episode) {
  const ConstValues seen = env.observation();
  if (name == "CartPole-v1" || name == "EasyCart-v0" || name == "SpinCart-v0") {
    if (episode % 4 == 0 || u < 0.02) return static_cast<int>(u * 100) % 2;
    return 3.0 * seen[2] + seen[3] + 0.02 * seen[0] > 0 ? 1 : 0;
  }
  if (name == "MountainCar-v0" || name == "Acrobot-v1") {
    if (episode % 20 == 0) return std::floor(u * 3);
    return seen[seen.size - 1] >= 0 ? 2 : 0;
  }
  if (name == "MountainCarContinuous-v0") {
    const double push = 3.0 * u - 1.5;
    if (episode % 4 == 0) return push;
    return seen[1] >= 0 ? std::abs(push) : -std::abs(push);
  }
  if (name == "Pendulum-v1") return 6.0 * u - 3.0;
  if (name.rfind("CliffWalking", 0) == 0) {
    if (static_cast<int>(seen[0]) % 12 == 11) return 2;
    return u < 0.5 ? 1 : u < 0.8 ? 0 : u < 0.9 ? 2 : 3;
  }
  return std::floor(u * env.spec().action.choices[0]);
}

void Append(std::string& bytes, ConstValues values) {
  bytes.append(static_cast<const char*>(values.data), values.bytes());
}

// One row of the recorded trace: the observation, and of a step reward and flags.
std::vector<double> Row(const Env& env, const Transition* step) {
  std::vector<double> row;
  for (std::size_t i = 0; i < env.observation().size; ++i) row.push_back(env.observation()[i]);
  if (step != nullptr) {
    row.insert(row.end(),
               {step->reward, step->terminated ? 1.0 : 0.0, step->truncated ? 1.0 : 0.0});
  }
  return row;
}

EnvOptions Options(const std::string& settings) {
  EnvOptions options;
  std::istringstream words(settings);
  for (std::string word; words >> word;) EXPECT_TRUE(AddOption(word, options).ok());
  return options;
}

// A batch that must do the same in each of its places.
class Chorus {
 public:
  Chorus(const std::string& name, const EnvOptions& options)
      : env_(std::move(
            *MakeVectorEnv(name, options, {.envs = kEnvs, .autoreset = Autoreset::kDisabled}))) {}

  void Reset(std::optional<std::uint64_t> seed) {
    const Status reset =
        seed ? env_->Reset(std::vector<std::uint64_t>(kEnvs, *seed)) : env_->ResetEnded();
    ASSERT_TRUE(reset.ok()) << reset.message();
  }
  void Step(ConstValues action) {
    ValueArray actions(action.dtype, kEnvs);
    for (std::size_t i = 0; i < kEnvs; ++i) actions.Set(i, action);
    const Status stepped = env_->Step(actions);
    ASSERT_TRUE(stepped.ok()) << stepped.message();
  }
  void ExpectSeen(const Env& single, const Transition& last) {
    const ConstValues seen = single.observation();
    for (std::size_t i = 0; i < kEnvs; ++i) {
      const ConstValues row = env_->observations().Part(i * seen.size, seen.size);
      ASSERT_EQ(std::memcmp(row.data, seen.data, seen.bytes()), 0) << "place " << i;
      ASSERT_EQ(env_->rewards()[i], static_cast<float>(last.reward));
      ASSERT_EQ(env_->terminated()[i] != 0, last.terminated);
      ASSERT_EQ(env_->truncated()[i] != 0, last.truncated);
    }
  }

 private:
  static constexpr std::size_t kEnvs = 5;
  std::unique_ptr<VectorEnv> env_;
};

// Normal numbers come from tables that NumPy has from arithmetic of its own: equal to 14 digits.
void ExpectRow(const std::string& name, const std::vector<double>& row, const Json& golden) {
  const auto expected = golden.get<std::vector<double>>();
  if (name != "ArmedBanditTestbed-v0") {
    ASSERT_EQ(row, expected);
    return;
  }
  ASSERT_EQ(row.size(), expected.size());
  for (std::size_t i = 0; i < row.size(); ++i) ASSERT_NEAR(row[i], expected[i], 1e-12);
}

void ExpectSame(const std::string& name, const Json& golden) {
  const EnvOptions options = Options(golden["options"]);
  auto made = MakeEnv(name, options);
  ASSERT_TRUE(made.ok()) << made.status().message();
  Env* const env = made->get();
  Chorus chorus(name, options);
  ValueArray action(env->spec().action.dtype, 1);
  std::uint64_t steps = 0;
  std::string bytes;
  for (std::uint64_t episode = 0; episode < golden["episodes"]; ++episode) {
    const auto seed = episode % 10 == 0 ? std::optional(1000 + episode) : std::nullopt;
    ASSERT_TRUE(env->Reset(seed).ok());
    chorus.Reset(seed);
    chorus.ExpectSeen(*env, {});
    Append(bytes, env->observation());
    if (episode == 0) ExpectRow(name, Row(*env, nullptr), golden["trace"][0]);
    for (std::uint64_t step = 1;; ++step) {
      const double chosen = Choose(name, *env, Uniform(episode, step - 1), episode);
      if (action.size() == 1 && env->spec().action.kind == SpaceKind::kBox) {
        action.As<float>()[0] = static_cast<float>(chosen);
      } else {
        action.As<std::int32_t>()[0] = static_cast<std::int32_t>(chosen);
      }
      const auto result = env->Step(action);
      ASSERT_TRUE(result.ok()) << result.status().message();
      chorus.Step(action);
      chorus.ExpectSeen(*env, *result);
      if (::testing::Test::HasFatalFailure()) return;
      ++steps;
      Append(bytes, env->observation());
      bytes.append(reinterpret_cast<const char*>(&result->reward), sizeof(double));
      bytes += static_cast<char>(result->terminated);
      bytes += static_cast<char>(result->truncated);
      if (episode == 0 && step < golden["trace"].size()) {
        SCOPED_TRACE(step);
        ExpectRow(name, Row(*env, &*result), golden["trace"][step]);
      }
      if (result->ended()) break;
    }
    if ((episode + 1) % kBlock == 0 && name != "ArmedBanditTestbed-v0") {
      ASSERT_EQ(Sha256Of(bytes).substr(0, 32), golden["digests"][episode / kBlock])
          << "episodes up to " << episode;
      bytes.clear();
    }
  }
  EXPECT_EQ(steps, golden["steps"]);
}

const Json& Goldens() {
  static const Json goldens = [] {
    std::ifstream file("tests/parity/envs_goldens.json");
    return Json::parse(file);
  }();
  return goldens;
}

TEST(EnvsParityTest, EpisodesEqualGymnasiums) {
  ASSERT_GE(Goldens()["cases"].size(), 20U);
  for (const auto& [name, golden] : Goldens()["cases"].items()) {
    SCOPED_TRACE(name);
    ExpectSame(name.substr(0, name.find(' ')), golden);
  }
}

TEST(EnvsParityTest, RandomNumbersEqualNumpys) {
  for (const Json& golden : Goldens()["numpy_random"]) {
    const std::string seed = golden["seed"];
    SCOPED_TRACE(seed);
    NumpyRandom random(std::stoull(seed));
    for (const double expected : golden["random"]) EXPECT_EQ(random.Random(), expected);
    const std::vector<std::int64_t> bounds = {1, 2, 3, 13, 1000, 1LL << 31, (1LL << 32) - 1};
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      EXPECT_EQ(random.Integers(0, bounds[i]), golden["integers"][i].get<std::int64_t>());
    }
    for (const double expected : golden["uniform"])
      EXPECT_EQ(random.Uniform(-3.5, 10.25), expected);
    for (const std::size_t expected : golden["choice"]) EXPECT_EQ(random.Choice(17), expected);
    for (const double expected : golden["normal"])
      EXPECT_NEAR(random.Normal(2, 3), expected, 1e-12);
    double sum = 0;
    for (int i = 0; i < 20000; ++i) sum += random.StandardNormal();
    EXPECT_NEAR(sum, golden["normal_sum"].get<double>(), 1e-9);
    EXPECT_EQ(random.Random(), golden["after"].get<double>());  // As many draws, so far.
  }
}

}  // namespace
}  // namespace muster::envs
