#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <random>

#include "wire/field_rules.h"
#include "wire/job_file.h"
#include "wire/policy_rules.h"

namespace muster::wire {
namespace {

v1::JobSpec GoodSpec() {
  v1::JobSpec spec;
  spec.set_name("good");
  spec.set_lanes(4);
  spec.mutable_supervised()->set_epochs(1);
  spec.mutable_supervised()->mutable_data()->set_train_images("/data/images");
  spec.mutable_supervised()->mutable_data()->set_train_labels("/data/labels");
  spec.mutable_supervised()->mutable_model()->mutable_mlp();
  return spec;
}

TEST(ValidateSpecTest, AcceptsAGoodSpecAsGivenAndFilledIn) {
  v1::JobSpec spec = GoodSpec();
  EXPECT_TRUE(ValidateSpec(spec).ok()) << ValidateSpec(spec).message();
  FillDefaults(spec);
  EXPECT_TRUE(ValidateSpec(spec).ok()) << ValidateSpec(spec).message();
}

TEST(ValidateSpecTest, NamesTheFieldOfEachBrokenRule) {
  v1::JobSpec spec = GoodSpec();
  spec.mutable_resources()->set_ranks(3);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "resources.ranks must be a power of two, but is 3; the nearest are 2 and 4");
  spec = GoodSpec();
  spec.set_lanes(0);
  EXPECT_EQ(ValidateSpec(spec).message(), "lanes must be 1 to 4096, but is 0");
  spec = GoodSpec();
  spec.mutable_supervised()->mutable_model()->mutable_mlp()->add_hidden(0);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "supervised.model.mlp.hidden[0] must be 1 to 65536 units, but is 0");
  spec = GoodSpec();
  spec.mutable_supervised()->mutable_data()->set_train_images("images");
  EXPECT_EQ(ValidateSpec(spec).message(),
            "supervised.data.train_images must be an absolute file name here, but is 'images'");
}

TEST(ValidateSpecTest, RolloutWorkersAreForPpo) {
  v1::JobSpec spec;
  spec.set_name("ppo");
  spec.mutable_ppo()->set_environment("CartPole-v1");
  spec.mutable_ppo()->set_total_steps(100'000);
  spec.mutable_resources()->set_rollout_workers(4);
  EXPECT_EQ(ValidateSpec(spec).message(), "");
  spec.mutable_resources()->set_rollout_workers(1025);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "resources.rollout_workers must be 0 to 1024, but is 1025");
  v1::JobSpec command;
  command.set_name("command");
  command.mutable_command()->add_arguments("true");
  for (v1::JobSpec other : {GoodSpec(), command}) {
    other.mutable_resources()->set_rollout_workers(0);
    EXPECT_EQ(ValidateSpec(other).message(), "");
    other.mutable_resources()->set_rollout_workers(1);
    EXPECT_EQ(ValidateSpec(other).message(),
              "resources.rollout_workers must be 0 without [ppo] or [vpg]: there are no rollouts "
              "to collect");
  }
}

TEST(ValidateSpecTest, AsynchronousNeedsALagAndSomebodyWhoRunsAhead) {
  v1::JobSpec spec;
  spec.set_name("ppo");
  spec.mutable_ppo()->set_environment("CartPole-v1");
  EXPECT_EQ(WhyNotRepeatable(spec), "");
  spec.mutable_ppo()->set_asynchronous(true);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "ppo.asynchronous needs max_policy_lag above 0: nothing may run ahead of the newest "
            "policy otherwise");
  spec.mutable_ppo()->set_max_policy_lag(3);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "ppo.asynchronous needs resources.rollout_workers: who else should run ahead?");
  spec.mutable_resources()->set_rollout_workers(1);
  EXPECT_EQ(ValidateSpec(spec).message(), "");
  EXPECT_EQ(WhyNotRepeatable(spec),
            "ppo.asynchronous trains on rollouts as they come, of policies that lag by at most 3 "
            "updates");
  spec.mutable_ppo()->set_rollout_numerics(v1::ROLLOUT_NUMERICS_ANY);
  EXPECT_EQ(ValidateSpec(spec).message(), "");
  EXPECT_NE(WhyNotRepeatable(spec).find("updates; ppo.rollout_numerics = \"any\""),
            std::string::npos);
  spec.mutable_ppo()->clear_asynchronous();
  EXPECT_EQ(WhyNotRepeatable(spec).find("ppo.rollout_numerics = \"any\""), 0U);
  spec.mutable_resources()->clear_rollout_workers();
  EXPECT_EQ(ValidateSpec(spec).message(),
            "ppo.rollout_numerics needs resources.rollout_workers: it says who may be one");
}

TEST(ValidateSpecTest, LinearPoliciesHaveNoHiddenLayer) {
  v1::JobSpec ppo, vpg;
  ppo.mutable_ppo()->mutable_policy();
  vpg.mutable_vpg()->mutable_policy();
  for (auto& [spec, name] : {std::pair<v1::JobSpec&, const char*>(ppo, "ppo"), {vpg, "vpg"}}) {
    spec.set_name(name);
    v1::Policy& policy = *(spec.has_ppo() ? spec.mutable_ppo()->mutable_policy()
                                          : spec.mutable_vpg()->mutable_policy());
    (spec.has_ppo() ? *spec.mutable_ppo()->mutable_environment()
                    : *spec.mutable_vpg()->mutable_environment()) = "CartPole-v1";
    policy.set_kind(v1::POLICY_KIND_LINEAR);
    EXPECT_EQ(ValidateSpec(spec).message(), "");
    policy.add_hidden(64);
    EXPECT_EQ(ValidateSpec(spec).message(),
              std::string(name) +
                  ".policy.hidden stands beside kind = \"linear\", which has no hidden layer");
  }
}

TEST(ValidateSpecTest, MemoryNeedsMinibatchesOfWholeEnvironments) {
  v1::JobSpec spec;
  spec.set_name("ppo");
  spec.set_lanes(2);
  spec.mutable_ppo()->set_environment("CartPole-v1");
  spec.mutable_ppo()->set_envs(12);
  EXPECT_EQ(ValidateSpec(spec).message(), "");
  spec.mutable_ppo()->mutable_policy()->set_memory_units(8);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "ppo.policy.memory_units needs memory = \"gru\" or \"lstm\"");
  spec.mutable_ppo()->mutable_policy()->set_memory(v1::MEMORY_LSTM);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "ppo.minibatches must divide the 6 environments of a lane (envs / lanes), for a policy "
            "with memory trains on whole environments, but is 4");
  spec.mutable_ppo()->set_minibatches(3);
  EXPECT_EQ(ValidateSpec(spec).message(), "");
}

TEST(ValidateSpecTest, VpgNeedsTwoNetworks) {
  v1::JobSpec spec;
  spec.set_name("vpg");
  v1::VpgRecipe& recipe = *spec.mutable_vpg();
  recipe.set_environment("CartPole-v1");
  spec.mutable_resources()->set_rollout_workers(2);
  EXPECT_EQ(ValidateSpec(spec).message(), "");
  recipe.mutable_policy()->set_shared(true);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "vpg.policy.shared must be false: actor and critic are stepped apart and need a "
            "network each");
  recipe.mutable_policy()->set_shared(false);
  recipe.mutable_policy()->set_memory(v1::MEMORY_GRU);
  EXPECT_EQ(ValidateSpec(spec).message().substr(0, 30), "vpg.policy.memory must be none");
  recipe.mutable_policy()->Clear();
  recipe.mutable_policy()->set_kind(v1::POLICY_KIND_NATURE_CNN);
  EXPECT_EQ(ValidateSpec(spec).message().substr(0, 27), "vpg.policy.kind must be mlp");
  recipe.mutable_policy()->Clear();
  recipe.mutable_policy()->set_sde_sample_freq(4);
  EXPECT_EQ(ValidateSpec(spec).message(), "vpg.policy.sde_sample_freq needs use_sde = true");
  recipe.mutable_policy()->set_use_sde(true);
  EXPECT_EQ(ValidateSpec(spec).message(), "");
  recipe.set_total_steps(3'999);
  EXPECT_EQ(ValidateSpec(spec).message(),
            "vpg.total_steps must be at least one update's envs x rollout_steps (4000), but is "
            "3999");
}

TEST(ValidateSpecTest, RefusesEnumValuesThatDoNotExist) {
  v1::JobSpec spec = GoodSpec();
  spec.mutable_resources()->set_collectives(static_cast<v1::Collectives>(77));
  EXPECT_EQ(ValidateSpec(spec).message(),
            "resources.collectives must be one of auto, shm, gloo, but is number 77");
  spec.mutable_resources()->set_collectives(v1::COLLECTIVES_UNSPECIFIED);
  EXPECT_FALSE(ValidateSpec(spec).ok());
}

TEST(ValidateSpecTest, RefusesFieldsOfAnotherVersion) {
  v1::JobSpec spec = GoodSpec();
  spec.GetReflection()->MutableUnknownFields(&spec)->AddVarint(999, 1);
  EXPECT_NE(ValidateSpec(spec).message().find("number 999"), std::string::npos);
}

TEST(ValidateSpecTest, RefusesListsWithoutEnd) {
  v1::JobSpec spec = GoodSpec();
  for (int i = 0; i < 2000; ++i) {
    spec.mutable_supervised()->mutable_model()->mutable_mlp()->add_hidden(8);
  }
  EXPECT_EQ(ValidateSpec(spec).message(),
            "supervised.model.mlp.hidden has 2000 elements; the most is 1024");
}

// Property: any message that can be parsed from bytes gets a verdict, and an accepted one keeps it
// when it is filled in (the coordinator reads filled specs back from its journal).
TEST(ValidateSpecTest, JudgesRandomlyDamagedMessages) {
  v1::JobSpec good = GoodSpec();
  FillDefaults(good);
  const std::string bytes = good.SerializeAsString();
  const google::protobuf::LogSilencer no_word_of_each_damaged_text;
  std::size_t parsed = 0;
  for (unsigned seed = 0; seed < 5000; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::string damaged = bytes;
    for (unsigned i = 0; i <= random() % 3; ++i) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    v1::JobSpec spec;
    if (!spec.ParseFromString(damaged)) continue;
    ++parsed;
    if (!ValidateSpec(spec).ok()) {
      EXPECT_FALSE(ValidateSpec(spec).message().empty());
      continue;
    }
    FillDefaults(spec);
    EXPECT_TRUE(ValidateSpec(spec).ok()) << ValidateSpec(spec).message();
  }
  EXPECT_GT(parsed, 100U);
}

TEST(FieldRulesTest, AcceptsEachBoundAndRefusesTheNextNumber) {
  const auto* ranks = v1::Resources::descriptor()->FindFieldByName("memory_mib_per_rank");
  EXPECT_EQ(IntegerProblem(*ranks, 16), "");
  EXPECT_EQ(IntegerProblem(*ranks, 16777216), "");
  EXPECT_EQ(IntegerProblem(*ranks, 15), "must be 16 to 16777216 MiB, but is 15");
  EXPECT_NE(IntegerProblem(*ranks, 16777217), "");
  const auto* seed = v1::JobSpec::descriptor()->FindFieldByName("seed");
  EXPECT_EQ(IntegerProblem(*seed, -1), "must be 0 to 9223372036854775807, but is -1");
}

}  // namespace
}  // namespace muster::wire
