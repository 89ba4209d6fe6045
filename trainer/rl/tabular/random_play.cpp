// Actions at random.
#include "trainer/rl/tabular/temporal_difference.h"

namespace muster::rl {

Status RandomEpisode(TabularTask& task, const TdOptions& options, ActionValues& /*q*/,
                     RunRandom& random, EpisodeSums& sums) {
  EpisodeReturn returns(options.discount);
  MUSTER_RETURN_IF_ERROR(task.Begin().status());
  for (bool ended = false; !ended;) {
    MUSTER_ASSIGN_OR_RETURN(const TabularOutcome outcome, task.Step(random.Below(task.actions())));
    returns.Add(outcome.reward);
    ended = outcome.ended();
  }
  returns.AddTo(sums);
  return {};
}

}  // namespace muster::rl
