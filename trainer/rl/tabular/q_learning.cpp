// Q-learning: learns the values of the best policy while it follows another.
// Source: Sutton and Barto, 2nd edition, section 6.5; Watkins, "Learning from delayed rewards",
// 1989.
#include "trainer/rl/tabular/temporal_difference.h"

namespace muster::rl {

Status QLearningEpisode(TabularTask& task, const TdOptions& options, ActionValues& q,
                        RunRandom& random, EpisodeSums& sums) {
  EpisodeReturn returns(options.discount);
  MUSTER_ASSIGN_OR_RETURN(std::size_t state, task.Begin());
  for (bool ended = false; !ended;) {
    const std::size_t action = EpsilonGreedyAction(q[state], options.epsilon, random);
    MUSTER_ASSIGN_OR_RETURN(const TabularOutcome outcome, task.Step(action));
    const std::span<const double> next = q[outcome.state];
    const double later = outcome.terminated ? 0 : next[BestAction(next)];
    sums.td_error += MoveTowards(outcome.reward + options.discount * later, options.learning_rate,
                                 q[state][action]);
    returns.Add(outcome.reward);
    state = outcome.state;
    ended = outcome.ended();
  }
  returns.AddTo(sums);
  return {};
}

}  // namespace muster::rl
