// What Q-learning, SARSA and expected SARSA have in common.
// Source: Sutton and Barto, "Reinforcement learning", 2nd edition, chapter 6.
#pragma once

#include <cmath>
#include <span>

#include "trainer/rl/tabular/action_values.h"
#include "trainer/rl/tabular/tabular_task.h"

namespace muster::rl {

struct TdOptions {
  double learning_rate = 0.1;  // alpha in (0, 1].
  double discount = 0.99;      // gamma in [0, 1].
  double epsilon = 0.1;        // The share of actions taken at random, in this episode.
};

// Q(S, A) <- Q(S, A) + alpha [target - Q(S, A)]; returns |target - Q(S, A)|.
inline double MoveTowards(double target, double learning_rate, double& value) {
  const double error = target - value;
  value += learning_rate * error;
  return std::abs(error);
}

// Each of these plays one episode to its end, learning at every step, and adds it to `sums`. What
// comes after a terminated step is worth nothing; an episode that is truncated goes on in the
// learner's mind, so its last state counts with its value.
//
// q_learning.cpp: off-policy, section 6.5.
Status QLearningEpisode(TabularTask& task, const TdOptions& options, ActionValues& q,
                        RunRandom& random, EpisodeSums& sums);
// sarsa.cpp: on-policy, section 6.4.
Status SarsaEpisode(TabularTask& task, const TdOptions& options, ActionValues& q, RunRandom& random,
                    EpisodeSums& sums);
// expected_sarsa.cpp: section 6.6.
Status ExpectedSarsaEpisode(TabularTask& task, const TdOptions& options, ActionValues& q,
                            RunRandom& random, EpisodeSums& sums);
// random_play.cpp: any action, nothing learnt; what the others are measured against.
Status RandomEpisode(TabularTask& task, const TdOptions& options, ActionValues& q,
                     RunRandom& random, EpisodeSums& sums);

}  // namespace muster::rl
