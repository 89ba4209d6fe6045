// Messages between workers and coordinator: lost, late, doubled, overtaking, or cut off.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "tests/sim/sim_types.h"

namespace muster::sim {

enum class Direction : std::uint8_t { kToCoordinator, kToWorker };

class SimNetwork {
 public:
  using Deliver = std::function<void(Millis now)>;

  explicit SimNetwork(SimRandom& random) : random_(random) {}

  void Cut(const WorkerName& worker, Direction direction, Millis until) {
    Millis& cut = cut_until_[{worker, direction}];
    cut = std::max(cut, until);
  }

  void Send(const WorkerName& worker, Direction direction, Millis now, const Deliver& deliver) {
    const bool faulty = now < kFaultsEndMs;
    if (faulty && (now < cut_until_[{worker, direction}] || random_.PerMille(50))) return;
    const int copies = faulty && random_.PerMille(50) ? 2 : 1;
    for (int copy = 0; copy < copies; ++copy) {
      const bool late = faulty && random_.PerMille(100);
      At(now + (late ? random_.Time(8'000) : kStepMs), deliver);
    }
  }

  // Without loss: for what waits at a paused process.
  void At(Millis when, Deliver deliver) { queue_.emplace(when, std::move(deliver)); }

  void DeliverDue(Millis now) {
    while (!queue_.empty() && queue_.begin()->first <= now) {
      const Deliver deliver = std::move(queue_.extract(queue_.begin()).mapped());
      deliver(now);
    }
  }

 private:
  SimRandom& random_;
  std::multimap<Millis, Deliver> queue_;
  std::map<std::pair<WorkerName, Direction>, Millis> cut_until_;
};

}  // namespace muster::sim
