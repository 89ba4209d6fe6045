// Expected SARSA: as SARSA, with the mean over the next action in place of the one that was drawn.
// Source: Sutton and Barto, 2nd edition, section 6.6.
#include "trainer/rl/tabular/temporal_difference.h"

namespace muster::rl {

Status ExpectedSarsaEpisode(TabularTask& task, const TdOptions& options, ActionValues& q,
                            RunRandom& random, EpisodeSums& sums) {
  EpisodeReturn returns(options.discount);
  MUSTER_ASSIGN_OR_RETURN(std::size_t state, task.Begin());
  for (bool ended = false; !ended;) {
    const std::size_t action = EpsilonGreedyAction(q[state], options.epsilon, random);
    MUSTER_ASSIGN_OR_RETURN(const TabularOutcome outcome, task.Step(action));
    const double later =
        outcome.terminated ? 0 : EpsilonGreedyMean(q[outcome.state], options.epsilon);
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
