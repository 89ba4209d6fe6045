#include "trainer/rl/tabular/learner.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "envs/tabular/model.h"
#include "trainer/rl/tabular/dynamic_programming.h"
#include "trainer/rl/tabular/temporal_difference.h"

namespace muster::rl {
namespace {

constexpr std::string_view kOfValueIteration[] = {"train/max_change", "train/start_value"};
constexpr std::string_view kOfPolicyIteration[] = {"train/changed_states", "train/start_value"};
constexpr std::string_view kOfEpisodes[] = {"charts/episodic_return",
                                            "charts/episodic_discounted_return",
                                            "charts/episodic_length", "losses/td_error"};
constexpr std::string_view kOfBandits[] = {"bandit/reward", "bandit/best_arm", "bandit/regret"};

Status NoSuchState() { return DataLoss("the checkpoint's tables do not fit the environment"); }

// Value and policy iteration.
class ModelLearner final : public TabularLearner {
 public:
  ModelLearner(const TabularOptions& options, std::unique_ptr<envs::Env> env)
      : options_(options),
        env_(std::move(env)),
        model_(*env_->model()),
        values_(model_.states()),
        policy_(model_.states()) {}

  Status Step(std::uint64_t /*step*/, std::span<double> measured) override {
    if (options_.algorithm == TabularAlgorithm::kValueIteration) {
      measured[0] = ValueIterationSweep(model_, options_.discount, values_);
      policy_ = GreedyPolicy(model_, values_, options_.discount);
      converged_ = measured[0] <= options_.tolerance;
    } else {
      MUSTER_ASSIGN_OR_RETURN(values_, PolicyValues(model_, policy_, options_.discount));
      const std::size_t changed = ImprovePolicy(model_, values_, options_.discount, policy_);
      measured[0] = static_cast<double>(changed);
      converged_ = changed == 0;
    }
    measured[1] = StartValue(model_, values_);
    return {};
  }
  std::vector<std::size_t> Policy() const override { return policy_; }
  RunArrays Arrays() const override {
    return {"v", {model_.states()}, "policy", {model_.states()}};
  }
  Result<RunState> Save() const override {
    RunState state;
    state.values = values_;
    state.choices.assign(policy_.begin(), policy_.end());
    state.converged = converged_;
    return state;
  }
  Status Load(const RunState& state) override {
    if (state.values.size() != values_.size() || state.choices.size() != policy_.size()) {
      return NoSuchState();
    }
    const auto actions = static_cast<std::int64_t>(model_.actions());
    if (std::any_of(state.choices.begin(), state.choices.end(),
                    [&](std::int64_t action) { return action < 0 || action >= actions; })) {
      return NoSuchState();
    }
    values_ = state.values;
    policy_.assign(state.choices.begin(), state.choices.end());
    converged_ = state.converged;
    return {};
  }
  bool converged() const override { return converged_; }

 private:
  const TabularOptions& options_;
  std::unique_ptr<envs::Env> env_;
  const envs::TabularModel& model_;
  std::vector<double> values_;
  std::vector<std::size_t> policy_;
  bool converged_ = false;
};

// Q-learning, SARSA, expected SARSA and random play.
class EpisodeLearner final : public TabularLearner {
 public:
  EpisodeLearner(const TabularOptions& options, std::uint32_t run, TabularTask task)
      : options_(options),
        run_(run),
        task_(std::move(task)),
        q_(task_.states(), task_.actions(), options.td.initial_value),
        random_(options.seed, run) {
    task_.SeedNext(options.seed + run);
  }

  Status Step(std::uint64_t step, std::span<double> measured) override {
    TdOptions td;
    td.learning_rate = options_.td.learning_rate;
    td.discount = options_.discount;
    td.epsilon = options_.td.EpsilonAt(step, options_.steps);
    EpisodeSums sums;
    while (sums.episodes < options_.episodes_per_step) {
      MUSTER_RETURN_IF_ERROR(Episode()(task_, td, q_, random_, sums));
    }
    const auto episodes = static_cast<double>(sums.episodes);
    measured[0] = sums.reward / episodes;
    measured[1] = sums.discounted_reward / episodes;
    measured[2] = static_cast<double>(sums.steps) / episodes;
    measured[3] = sums.td_error / static_cast<double>(sums.steps);
    return {};
  }
  std::vector<std::size_t> Policy() const override { return GreedyPolicy(q_); }
  RunArrays Arrays() const override { return {"q", {q_.states(), q_.actions()}, "", {}}; }
  Result<RunState> Save() const override {
    RunState state;
    state.values = q_.values();
    state.drawn = random_.drawn();
    MUSTER_ASSIGN_OR_RETURN(state.environment, task_.Save());
    return state;
  }
  Status Load(const RunState& state) override {
    if (state.values.size() != q_.values().size()) return NoSuchState();
    q_.values() = state.values;
    random_ = RunRandom(options_.seed, run_, state.drawn);
    return task_.Load(state.environment);
  }

 private:
  decltype(&QLearningEpisode) Episode() const {
    if (options_.algorithm == TabularAlgorithm::kSarsa) return SarsaEpisode;
    if (options_.algorithm == TabularAlgorithm::kExpectedSarsa) return ExpectedSarsaEpisode;
    if (options_.algorithm == TabularAlgorithm::kRandom) return RandomEpisode;
    return QLearningEpisode;
  }

  const TabularOptions& options_;
  std::uint32_t run_;
  TabularTask task_;
  ActionValues q_;
  RunRandom random_;
};

// One pull a step.
class BanditLearner final : public TabularLearner {
 public:
  BanditLearner(const TabularOptions& options, std::uint32_t run, TabularTask task)
      : options_(options),
        run_(run),
        task_(std::move(task)),
        arms_(task_.actions(), options.bandit.initial_value),
        random_(options.seed, run) {
    task_.SeedNext(options.seed + run);
  }

  Status Step(std::uint64_t /*step*/, std::span<double> measured) override {
    if (!running_) MUSTER_RETURN_IF_ERROR(task_.Begin().status());
    const std::span<const double> truth = task_.env().expected_rewards();
    const std::size_t arm = ChooseArm(options_.bandit, arms_, truth, random_);
    // Before the pull, which may move the means. Where nobody knows them, nothing is measured.
    measured[1] = measured[2] = std::numeric_limits<double>::quiet_NaN();
    if (!truth.empty()) {
      const std::size_t best = BestAction(truth);
      measured[1] = arm == best ? 1 : 0;
      measured[2] = truth[best] - truth[arm];
    }
    MUSTER_ASSIGN_OR_RETURN(const TabularOutcome outcome, task_.Step(arm));
    measured[0] = outcome.reward;
    ObserveReward(options_.bandit, arm, outcome.reward, arms_);
    running_ = !outcome.ended();
    return {};
  }
  std::vector<std::size_t> Policy() const override { return {}; }
  RunArrays Arrays() const override {
    const bool gradient = options_.bandit.rule == BanditRule::kGradient;
    return {gradient ? "preferences" : "q", {task_.actions()}, "pulls", {task_.actions()}};
  }
  Result<RunState> Save() const override {
    RunState state;
    state.values = arms_.values;
    state.choices = arms_.pulls;
    state.reward_mean = arms_.reward_mean;
    state.drawn = random_.drawn();
    MUSTER_ASSIGN_OR_RETURN(state.environment, task_.Save());
    state.environment += running_ ? '\1' : '\0';
    return state;
  }
  Status Load(const RunState& state) override {
    if (state.values.size() != arms_.values.size() || state.environment.empty() ||
        state.choices.size() != arms_.pulls.size()) {
      return NoSuchState();
    }
    arms_.values = state.values;
    arms_.pulls = state.choices;
    arms_.reward_mean = state.reward_mean;
    random_ = RunRandom(options_.seed, run_, state.drawn);
    running_ = state.environment.back() != '\0';
    return task_.Load(std::string_view(state.environment).substr(0, state.environment.size() - 1));
  }

 private:
  const TabularOptions& options_;
  std::uint32_t run_;
  TabularTask task_;
  BanditState arms_;
  RunRandom random_;
  bool running_ = false;  // An episode.
};

}  // namespace

std::span<const std::string_view> MeasuredNames(TabularAlgorithm algorithm) {
  if (algorithm == TabularAlgorithm::kValueIteration) return kOfValueIteration;
  if (algorithm == TabularAlgorithm::kPolicyIteration) return kOfPolicyIteration;
  if (algorithm == TabularAlgorithm::kBandit) return kOfBandits;
  return kOfEpisodes;
}

Result<std::unique_ptr<TabularLearner>> MakeTabularLearner(const TabularOptions& options,
                                                           std::uint32_t run) {
  MUSTER_ASSIGN_OR_RETURN(std::unique_ptr<envs::Env> env, MakeTabularEnvironment(options));
  std::unique_ptr<TabularLearner> learner;
  if (UsesModel(options.algorithm)) {
    learner = std::make_unique<ModelLearner>(options, std::move(env));
  } else if (options.algorithm == TabularAlgorithm::kBandit) {
    learner = std::make_unique<BanditLearner>(options, run, TabularTask(std::move(env)));
  } else {
    learner = std::make_unique<EpisodeLearner>(options, run, TabularTask(std::move(env)));
  }
  return learner;
}

}  // namespace muster::rl
