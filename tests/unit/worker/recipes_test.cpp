#include "worker/rank/recipes.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temporary_directory.h"
#include "wire/job_file.h"
#include "worker/rank/exit_report.h"

namespace muster::rank {
namespace {

TEST(RecipesTest, TranslatesEveryFieldOfASupervisedJob) {
  v1::JobSpec spec;
  spec.set_seed(7);
  spec.set_lanes(4);
  v1::SupervisedRecipe& recipe = *spec.mutable_supervised();
  recipe.mutable_data()->set_train_images("a");
  recipe.mutable_data()->set_train_labels("b");
  recipe.mutable_data()->set_test_images("c");
  recipe.mutable_data()->set_test_labels("d");
  recipe.mutable_data()->set_validation_samples(11);
  v1::CnnModel& cnn = *recipe.mutable_model()->mutable_cnn();
  cnn.add_channels(12);
  cnn.add_channels(24);
  cnn.set_kernel_size(5);
  cnn.set_pool_size(2);
  cnn.add_hidden(32);
  cnn.set_activation(v1::ACTIVATION_GELU);
  cnn.set_norm(v1::NORM_GROUP);
  recipe.mutable_augment()->set_shift_max(3);
  recipe.mutable_augment()->set_flip(true);
  recipe.set_evaluate_every_steps(5);
  recipe.mutable_early_stop()->set_patience(4);
  recipe.mutable_early_stop()->set_min_delta(0.125);
  recipe.mutable_optimizer()->set_kind(v1::OPTIMIZER_KIND_SGD);
  recipe.mutable_optimizer()->set_momentum(0.5);
  recipe.mutable_optimizer()->set_learning_rate(0.25);
  recipe.mutable_optimizer()->set_schedule(v1::SCHEDULE_COSINE);
  recipe.mutable_optimizer()->set_warmup_steps(3);
  recipe.set_epochs(2);
  recipe.set_batch_size(64);
  const Result<SupervisedOptions> options = SupervisedOptionsOf(spec, "/cache");
  ASSERT_TRUE(options.ok()) << options.status().message();
  EXPECT_EQ(options->seed, 7U);
  EXPECT_EQ(options->lanes, 4U);
  ASSERT_TRUE(options->data.train_idx && options->data.test_idx);
  EXPECT_EQ(options->data.train_idx->images, "a");
  EXPECT_EQ(options->data.test_idx->labels, "d");
  EXPECT_EQ(options->data.validation_samples, 11U);
  EXPECT_EQ(options->data.cache_directory, "/cache");
  EXPECT_EQ(options->model.kind, ModelKind::kCnn);
  EXPECT_EQ(options->model.cnn.conv_channels, (std::vector<std::size_t>{12, 24}));
  EXPECT_EQ(options->model.cnn.kernel, 5U);
  EXPECT_EQ(options->model.cnn.norm_groups, 6U);  // The most up to 8 that divides both.
  EXPECT_EQ(options->model.cnn.activation, Activation::kGelu);
  EXPECT_EQ(options->augment.shift_max, 3U);
  EXPECT_TRUE(options->augment.flip);
  EXPECT_EQ(options->evaluate_every_steps, 5U);
  EXPECT_EQ(options->early_stop.patience, 4U);
  EXPECT_EQ(options->early_stop.min_delta, 0.125);
  EXPECT_EQ(options->optimizer.kind, nn::OptimizerKind::kSgd);
  EXPECT_EQ(options->optimizer.momentum, 0.5F);
  EXPECT_EQ(options->learning_rate, 0.25F);
  EXPECT_EQ(options->schedule, nn::ScheduleKind::kCosine);
  EXPECT_EQ(options->warmup_steps, 3U);
  EXPECT_EQ(options->epochs, 2U);
  EXPECT_EQ(options->steps, 0U);
  EXPECT_EQ(options->batch_size, 64U);
}

TEST(RecipesTest, APluginIsTheSameWhereverItLies) {
  v1::JobSpec spec;
  spec.mutable_ppo()->set_environment("walk.so");
  spec.mutable_ppo()->set_environment_library("/home/ada/walk.so");
  wire::FillDefaults(spec);
  rl::EnvironmentOptions by_path = PpoOptionsOf(spec).environment;
  EXPECT_EQ(by_path.name, "/home/ada/walk.so");
  spec.mutable_ppo()->set_environment_library("/var/worker/shipped/3-1/walk.so");
  rl::EnvironmentOptions shipped = PpoOptionsOf(spec).environment;
  by_path.plugin_sha256 = shipped.plugin_sha256 = "12";
  EXPECT_EQ(rl::RecipeOf(by_path), rl::RecipeOf(shipped));
  EXPECT_EQ(rl::RecipeOf(shipped)["name"], "walk.so");
  shipped.plugin_sha256 = "13";
  EXPECT_NE(rl::RecipeOf(by_path), rl::RecipeOf(shipped));
  // What is built in is recorded as before.
  spec.mutable_ppo()->clear_environment_library();
  spec.mutable_ppo()->set_environment("CartPole-v1");
  const nlohmann::json built_in = rl::RecipeOf(PpoOptionsOf(spec).environment);
  EXPECT_EQ(built_in["name"], "CartPole-v1");
  EXPECT_FALSE(built_in.contains("library"));
}

TEST(RecipesTest, AnEpisodeIsRecordedUnlessAPluginWouldHaveToDrawIt) {
  v1::JobSpec spec;
  spec.mutable_ppo()->set_environment("CartPole-v1");
  wire::FillDefaults(spec);
  EXPECT_TRUE(PpoOptionsOf(spec).evaluation.record_episode);
  spec.mutable_ppo()->mutable_evaluation()->set_record_episode(false);
  EXPECT_FALSE(PpoOptionsOf(spec).evaluation.record_episode);
  v1::TabularRecipe& table = *spec.mutable_tabular();
  table.set_environment("walk.so");
  EXPECT_TRUE(TabularOptionsOf(spec).record_episode);
  table.set_environment_library("/walk.so");
  EXPECT_FALSE(TabularOptionsOf(spec).record_episode);
  table.mutable_evaluation()->set_record_episode(true);
  EXPECT_TRUE(TabularOptionsOf(spec).record_episode);
}

TEST(RecipesTest, TranslatesAResidualNetwork) {
  v1::JobSpec spec;
  spec.mutable_supervised()->mutable_data()->set_train_images("a");
  v1::ResnetModel& resnet = *spec.mutable_supervised()->mutable_model()->mutable_resnet();
  resnet.set_base_channels(12);
  wire::FillDefaults(spec);
  const Result<SupervisedOptions> options = SupervisedOptionsOf(spec, "");
  ASSERT_TRUE(options.ok()) << options.status().message();
  EXPECT_EQ(options->model.kind, ModelKind::kResnet);
  EXPECT_EQ(options->model.resnet.stages, 3U);
  EXPECT_EQ(options->model.resnet.blocks, 3U);
  EXPECT_EQ(options->model.resnet.base_channels, 12U);
  EXPECT_EQ(options->model.resnet.norm_groups, 6U);  // The most up to 8 that divides them.
  EXPECT_FALSE(options->augment.any());
  EXPECT_EQ(options->early_stop.patience, 0U);
}

TEST(RecipesTest, TranslatesEveryKindOfOptimizer) {
  v1::JobSpec spec;
  v1::SupervisedRecipe& recipe = *spec.mutable_supervised();
  recipe.mutable_data()->set_train_images("a");
  recipe.mutable_model()->mutable_mlp();
  wire::FillDefaults(spec);
  const auto translated = [&](v1::OptimizerKind kind) {
    recipe.mutable_optimizer()->set_kind(kind);
    return SupervisedOptionsOf(spec, "")->optimizer;
  };
  EXPECT_EQ(translated(v1::OPTIMIZER_KIND_ADAMW).kind, nn::OptimizerKind::kAdamW);
  EXPECT_FALSE(translated(v1::OPTIMIZER_KIND_ADAM).epsilon_hat);
  recipe.mutable_optimizer()->set_epsilon_hat(true);
  EXPECT_TRUE(translated(v1::OPTIMIZER_KIND_ADAM).epsilon_hat);
  // Each kind has its own usual momentum, where none is given.
  EXPECT_EQ(translated(v1::OPTIMIZER_KIND_SGD).momentum, 0.9F);
  const nn::OptimizerOptions usual = translated(v1::OPTIMIZER_KIND_RMSPROP);
  EXPECT_EQ(usual.kind, nn::OptimizerKind::kRmsProp);
  EXPECT_EQ(usual.momentum, 0.0F);
  EXPECT_EQ(usual.alpha, 0.99F);
  recipe.mutable_optimizer()->set_momentum(0.5);
  recipe.mutable_optimizer()->set_alpha(0.75);
  EXPECT_EQ(translated(v1::OPTIMIZER_KIND_RMSPROP).momentum, 0.5F);
  EXPECT_EQ(translated(v1::OPTIMIZER_KIND_RMSPROP).alpha, 0.75F);
}

TEST(RecipesTest, TranslatesEveryFieldOfATabularJob) {
  v1::JobSpec spec;
  spec.set_seed(7);
  spec.set_lanes(2);
  v1::TabularRecipe& recipe = *spec.mutable_tabular();
  recipe.set_environment("FrozenLake-v1");
  (*recipe.mutable_settings())["is_slippery"] = "false";
  recipe.set_gamma(0.5);
  recipe.set_steps(30);
  recipe.set_episodes_per_step(4);
  recipe.set_runs(6);
  recipe.mutable_evaluation()->set_every_steps(10);
  recipe.mutable_evaluation()->set_episodes(20);
  v1::TemporalDifference& learning = *recipe.mutable_sarsa();
  learning.set_learning_rate(0.25);
  learning.set_initial_value(1.5);
  learning.set_epsilon(0.75);
  learning.set_epsilon_decay_fraction(0.125);
  wire::FillDefaults(spec);
  rl::TabularOptions options = TabularOptionsOf(spec);
  EXPECT_EQ(options.environment, "FrozenLake-v1");
  EXPECT_EQ(options.settings, (envs::EnvOptions{{"is_slippery", "false"}}));
  EXPECT_EQ(options.algorithm, rl::TabularAlgorithm::kSarsa);
  EXPECT_EQ(options.discount, 0.5);
  EXPECT_EQ(options.steps, 30U);
  EXPECT_EQ(options.episodes_per_step, 4U);
  EXPECT_EQ(options.runs, 6U);
  EXPECT_EQ(options.lanes, 2U);
  EXPECT_EQ(options.seed, 7U);
  EXPECT_EQ(options.evaluate_every_steps, 10U);
  EXPECT_EQ(options.evaluation_episodes, 20U);
  EXPECT_EQ(options.td.learning_rate, 0.25);
  EXPECT_EQ(options.td.initial_value, 1.5);
  EXPECT_EQ(options.td.epsilon, 0.75);
  EXPECT_EQ(options.td.epsilon_final, 0.75);  // Not given: it stays.
  EXPECT_EQ(options.td.epsilon_decay_fraction, 0.125);
  recipe.mutable_sarsa()->set_epsilon_final(0);
  EXPECT_EQ(TabularOptionsOf(spec).td.epsilon_final, 0);
  const auto algorithm = [&] { return TabularOptionsOf(spec).algorithm; };
  recipe.mutable_q_learning();
  EXPECT_EQ(algorithm(), rl::TabularAlgorithm::kQLearning);
  recipe.mutable_expected_sarsa();
  EXPECT_EQ(algorithm(), rl::TabularAlgorithm::kExpectedSarsa);
  recipe.mutable_policy_iteration();
  EXPECT_EQ(algorithm(), rl::TabularAlgorithm::kPolicyIteration);
  recipe.mutable_random();
  EXPECT_EQ(algorithm(), rl::TabularAlgorithm::kRandom);
  recipe.mutable_value_iteration()->set_tolerance(0.125);
  EXPECT_EQ(algorithm(), rl::TabularAlgorithm::kValueIteration);
  EXPECT_EQ(TabularOptionsOf(spec).tolerance, 0.125);
}

TEST(RecipesTest, TranslatesEveryRuleOfABandit) {
  v1::JobSpec spec;
  spec.mutable_tabular()->mutable_bandit()->set_epsilon(0.5);
  spec.mutable_tabular()->mutable_bandit()->set_initial_value(5);
  spec.mutable_tabular()->mutable_bandit()->set_confidence(3);
  wire::FillDefaults(spec);
  const auto translated = [&](v1::Exploration exploration) {
    spec.mutable_tabular()->mutable_bandit()->set_exploration(exploration);
    return TabularOptionsOf(spec).bandit;
  };
  const rl::BanditOptions greedy = translated(v1::EXPLORATION_EPSILON_GREEDY);
  EXPECT_EQ(greedy.rule, rl::BanditRule::kEpsilonGreedy);
  EXPECT_EQ(greedy.epsilon, 0.5);
  EXPECT_EQ(greedy.initial_value, 5);
  EXPECT_EQ(greedy.confidence, 3);
  EXPECT_EQ(greedy.learning_rate, 0);  // The mean of all rewards.
  EXPECT_EQ(translated(v1::EXPLORATION_UCB).rule, rl::BanditRule::kUcb);
  EXPECT_EQ(translated(v1::EXPLORATION_GRADIENT).rule, rl::BanditRule::kGradient);
  EXPECT_EQ(translated(v1::EXPLORATION_GRADIENT).learning_rate, 0.1);
  EXPECT_EQ(translated(v1::EXPLORATION_RANDOM).rule, rl::BanditRule::kRandom);
  EXPECT_EQ(translated(v1::EXPLORATION_CHEATER).rule, rl::BanditRule::kCheater);
  spec.mutable_tabular()->mutable_bandit()->set_learning_rate(0.25);
  EXPECT_EQ(translated(v1::EXPLORATION_GRADIENT).learning_rate, 0.25);
}

// What is told before a tabular job runs, although only the environment knows it.
TEST(RecipesTest, PlansTabularJobsOfTheExamplesAndRefusesOthers) {
  for (const char* name : {"q_learning_cliff_walking", "sarsa_cliff_walking", "bandit_ucb",
                           "value_iteration_frozen_lake", "policy_iteration_grid"}) {
    SCOPED_TRACE(name);
    auto spec = wire::LoadJobFile(std::string("examples/jobs/") + name + ".toml", {});
    ASSERT_TRUE(spec.ok()) << spec.status().message();
    wire::FillDefaults(*spec);
    const auto plan = PlanRecipe(*spec, "");
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan->steps_total, spec->tabular().steps());
    spec->mutable_tabular()->set_environment("CartPole-v1");
    EXPECT_EQ(PlanRecipe(*spec, "").status().code(), StatusCode::kInvalidArgument);
    spec->mutable_tabular()->set_environment("Froznlake-v1");
    EXPECT_NE(PlanRecipe(*spec, "").status().message().find("nearest names are FrozenLake"),
              std::string::npos);
  }
}

// CartPole's four numbers straight to two logits and a value.
TEST(RecipesTest, ALinearPolicyIsItsHeads) {
  v1::JobSpec spec;
  spec.set_name("linear");
  spec.mutable_ppo()->set_environment("CartPole-v1");
  spec.mutable_ppo()->mutable_policy()->set_kind(v1::POLICY_KIND_LINEAR);
  wire::FillDefaults(spec);
  const auto plan = PlanRecipe(spec, "");
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ(plan->parameters, (4U + 1) * 2 + 4 + 1);
}

TEST(RecipesTest, RefusesAModelThatCannotFitBeforeAnythingStarts) {
  const TemporaryDirectory folder;
  std::string csv = "x,y,label\n";
  for (int i = 0; i < 64; ++i) csv += "1,2," + std::to_string(i % 2) + "\n";
  ASSERT_TRUE(WriteFileAtomically(folder / "points.csv", csv).ok());
  v1::JobSpec spec;
  spec.set_name("large");
  spec.mutable_resources()->set_memory_mib_per_rank(16);
  v1::SupervisedRecipe& recipe = *spec.mutable_supervised();
  recipe.mutable_data()->set_train_csv(folder / "points.csv");
  recipe.mutable_data()->set_label_column("label");
  recipe.set_steps(1);
  recipe.set_batch_size(8);
  recipe.mutable_model()->mutable_mlp()->add_hidden(2'000);
  recipe.mutable_model()->mutable_mlp()->add_hidden(2'000);
  wire::FillDefaults(spec);
  // 2 * 2000 + 2000 + 2000 * 2000 + 2000 + 2000 * 2 + 2 parameters, four times, in f32.
  EXPECT_EQ(
      PlanRecipe(spec, folder / "cache").status().message(),
      "resources.memory_mib_per_rank: 16 MiB, but supervised.model: its parameters, gradients "
      "and moments take 62 MiB");
  spec.mutable_resources()->set_memory_mib_per_rank(0);
  EXPECT_TRUE(PlanRecipe(spec, folder / "cache").ok());
  recipe.mutable_model()->mutable_mlp()->set_hidden(0, 65'536);
  recipe.mutable_model()->mutable_mlp()->set_hidden(1, 65'536);
  recipe.mutable_model()->mutable_mlp()->add_hidden(65'536);
  EXPECT_NE(PlanRecipe(spec, folder / "cache").status().message().find("and this machine has"),
            std::string::npos);
}

TEST(RecipesTest, RefusesAPolicyOrRolloutsThatCannotFit) {
  v1::JobSpec spec;
  spec.set_name("large");
  v1::PpoRecipe& recipe = *spec.mutable_ppo();
  recipe.set_environment("CartPole-v1");
  recipe.set_total_steps(1ULL << 33U);
  wire::FillDefaults(spec);
  EXPECT_TRUE(PlanRecipe(spec, "").ok());
  for (int layer = 0; layer < 3; ++layer) recipe.mutable_policy()->add_hidden(65'536);
  const Status wide = PlanRecipe(spec, "").status();
  EXPECT_EQ(wide.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(wide.message().find("policy.hidden"), std::string::npos) << wide.message();
  recipe.mutable_policy()->clear_hidden();
  // 2^20 steps of 4 features, an action, 6 numbers and 4 epochs' order in f32, and what is small.
  recipe.set_envs(1U << 10U);
  recipe.set_rollout_steps(1U << 10U);
  recipe.mutable_policy()->add_hidden(8);
  spec.mutable_resources()->set_memory_mib_per_rank(60);
  EXPECT_EQ(PlanRecipe(spec, "").status().message(),
            "resources.memory_mib_per_rank: 60 MiB, but ppo: its policy (policy.hidden) and "
            "rollouts (envs, rollout_steps) take 61 MiB");
  spec.mutable_resources()->set_memory_mib_per_rank(61);
  EXPECT_TRUE(PlanRecipe(spec, "").ok());
}

TEST(RecipesTest, AsksForWhatIsMissing) {
  v1::JobSpec spec;
  EXPECT_EQ(PlanRecipe(spec, "").status().code(), StatusCode::kInvalidArgument);
  spec.mutable_supervised();
  EXPECT_NE(PlanRecipe(spec, "").status().message().find("supervised.data"), std::string::npos);
  spec.mutable_supervised()->mutable_data()->set_train_csv("x.csv");
  EXPECT_NE(PlanRecipe(spec, "").status().message().find("supervised.model"), std::string::npos);
}

TEST(ExitReportTest, LostPeersAreNoFaultOfTheJob) {
  EXPECT_EQ(KindOf(Unavailable("rank 1 is gone")), v1::EXIT_KIND_INFRASTRUCTURE);
  EXPECT_EQ(KindOf({StatusCode::kDeadlineExceeded, "all-reduce #17"}),
            v1::EXIT_KIND_INFRASTRUCTURE);
  EXPECT_EQ(KindOf(Aborted("attempt 2 has taken over")), v1::EXIT_KIND_INFRASTRUCTURE);
  EXPECT_EQ(KindOf(FailedPrecondition("loss is NaN at step 3")), v1::EXIT_KIND_OWN_FAILURE);
  EXPECT_EQ(KindOf(Internal("CHECK failed")), v1::EXIT_KIND_OWN_FAILURE);
}

}  // namespace
}  // namespace muster::rank
