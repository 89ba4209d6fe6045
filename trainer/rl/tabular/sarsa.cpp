// SARSA: learns the values of the policy that it follows, its random actions included.
// Source: Sutton and Barto, 2nd edition, section 6.4; Rummery and Niranjan, "On-line Q-learning
// using connectionist systems", 1994.
#include "trainer/rl/tabular/temporal_difference.h"

namespace muster::rl {

Status SarsaEpisode(TabularTask& task, const TdOptions& options, ActionValues& q, RunRandom& random,
                    EpisodeSums& sums) {
  EpisodeReturn returns(options.discount);
  MUSTER_ASSIGN_OR_RETURN(std::size_t state, task.Begin());
  std::size_t action = EpsilonGreedyAction(q[state], options.epsilon, random);
  for (bool ended = false; !ended;) {
    MUSTER_ASSIGN_OR_RETURN(const TabularOutcome outcome, task.Step(action));
    // The action that comes next, chosen before anything is learnt from this one.
    const std::size_t next = EpsilonGreedyAction(q[outcome.state], options.epsilon, random);
    const double later = outcome.terminated ? 0 : q[outcome.state][next];
    sums.td_error += MoveTowards(outcome.reward + options.discount * later, options.learning_rate,
                                 q[state][action]);
    returns.Add(outcome.reward);
    state = outcome.state;
    action = next;
    ended = outcome.ended();
  }
  returns.AddTo(sums);
  return {};
}

}  // namespace muster::rl
