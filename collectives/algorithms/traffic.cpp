#include "collectives/algorithms/algorithms.h"

namespace muster::algorithms {

Traffic MessagesSent(const Group& group) {
  const auto& sends = group.statistics()[static_cast<std::size_t>(Collective::kSend)];
  const auto& receives = group.statistics()[static_cast<std::size_t>(Collective::kReceive)];
  return {sends.bytes, sends.messages, sends.seconds + receives.seconds};
}

}  // namespace muster::algorithms
