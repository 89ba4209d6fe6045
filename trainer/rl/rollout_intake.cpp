#include "trainer/rl/rollout_intake.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace muster::rl {

RolloutIntake::RolloutIntake(const PpoOptions& options, const Policy& policy,
                             std::vector<PpoState::Lane>& lanes, std::size_t first_lane,
                             RemoteRollouts* remote, Rank rank)
    : options_(options),
      policy_(policy),
      lanes_(lanes),
      first_lane_(first_lane),
      remote_(remote),
      rank_(std::move(rank)),
      ahead_(lanes.size()) {
  MUSTER_CHECK(options.max_policy_lag > 0, "nothing may run ahead");
  std::vector<std::pair<std::uint64_t, std::size_t>> kept;  // Version, lane.
  for (std::size_t local = 0; local < lanes.size(); ++local) {
    for (const Trajectory& each : lanes[local].pending) kept.emplace_back(each.version, local);
  }
  std::stable_sort(kept.begin(), kept.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [version, local] : kept) come_.push_back(local);
}

Status RolloutIntake::Take(std::uint64_t version, std::vector<Trajectory>& batch) {
  DropOlder(version);
  AskAhead();
  double since_ms = rank_.now_ms();
  while (come_.size() < lanes_.size()) {
    const double left_ms = since_ms + patience_ms_ - rank_.now_ms();
    if (!Awaits() || left_ms <= 0) {
      MUSTER_RETURN_IF_ERROR(CollectHere(lanes_.size() - come_.size()));
    } else if (TakeArrivals(version, left_ms)) {
      since_ms = rank_.now_ms();
      DropOlder(version);
      AskAhead();
    }
  }
  batch.resize(lanes_.size());
  for (Trajectory& trajectory : batch) {
    std::deque<Trajectory>& pending = lanes_[come_.front()].pending;
    trajectory = std::move(pending.front());
    pending.pop_front();
    come_.pop_front();
  }
  AskAhead();
  return {};
}

void RolloutIntake::AskAhead() {
  if (remote_ == nullptr || remote_->workers() == 0) return;
  for (std::size_t local = 0; local < lanes_.size(); ++local) {
    Ahead& ahead = ahead_[local];
    const std::size_t there = lanes_[local].pending.size() + ahead.asked;
    if (there >= options_.max_policy_lag) continue;
    const std::size_t more = options_.max_policy_lag - there;
    const bool asked = remote_->RunAhead(
        {first_lane_ + local, more, ahead.elsewhere ? "" : lanes_[local].StateBytes()});
    if (!asked) continue;
    ahead.elsewhere = true;
    ahead.asked += more;
  }
}

// Also between younger ones: a lane's next collector may know an older policy than its last.
void RolloutIntake::DropOlder(std::uint64_t version) {
  const auto old = [&](const Trajectory& each) {
    return each.version + options_.max_policy_lag < version;
  };
  std::vector<std::size_t> next(lanes_.size());
  std::deque<std::size_t> kept;
  for (const std::size_t local : come_) {
    if (!old(lanes_[local].pending[next[local]++])) kept.push_back(local);
  }
  come_ = std::move(kept);
  for (PpoState::Lane& lane : lanes_) dropped_ += std::erase_if(lane.pending, old);
}

// False: nothing came.
bool RolloutIntake::TakeArrivals(std::uint64_t version, double most_ms) {
  const std::vector<RolloutArrival> arrivals =
      remote_->Arrived(std::chrono::milliseconds(static_cast<std::int64_t>(std::ceil(most_ms))));
  for (const RolloutArrival& arrival : arrivals) {
    const std::size_t local = arrival.lane - first_lane_;
    MUSTER_CHECK(local < lanes_.size(), "a lane that nobody asked for");
    if (!ahead_[local].elsewhere) continue;  // Taken back a moment ago.
    if (!arrival.result) {
      ahead_[local] = {};
    } else if (TakeOne(*arrival.result, version, local)) {
      --ahead_[local].asked;
    } else {
      ++dropped_;
      TakeBack(local);
    }
  }
  return !arrivals.empty();
}

// False: it is damaged.
bool RolloutIntake::TakeOne(const RolloutResult& result, std::uint64_t version, std::size_t local) {
  if (result.trajectories.size() != 1) return false;
  envs::ByteReader from(result.trajectories.front());
  Trajectory trajectory;
  const Status loaded =
      trajectory.Load(from, policy_, options_.rollout_steps, options_.lane_envs());
  if (!loaded.ok() || from.left() > 0 || trajectory.version > version) return false;
  const bool young =
      trajectory.version + options_.max_policy_lag >= version;  // Else it is dropped.
  if (young && rank_.receive && !rank_.receive(trajectory).ok()) return false;
  lanes_[local].pending.push_back(std::move(trajectory));
  lanes_[local].remote_state = result.state;
  come_.push_back(local);
  return true;
}

bool RolloutIntake::Awaits() const {
  return std::any_of(ahead_.begin(), ahead_.end(),
                     [](const Ahead& ahead) { return ahead.asked > 0; });
}

// One of each of so many lanes that have none, first of those that nobody collects for.
Status RolloutIntake::CollectHere(std::size_t rollouts) {
  std::vector<std::size_t> chosen;
  for (const bool idle : {true, false}) {
    for (std::size_t local = 0; local < lanes_.size() && chosen.size() < rollouts; ++local) {
      if (lanes_[local].pending.empty() && (ahead_[local].asked == 0) == idle) {
        chosen.push_back(local);
      }
    }
  }
  for (const std::size_t local : chosen) TakeBack(local);
  const double begin_ms = rank_.now_ms();
  MUSTER_RETURN_IF_ERROR(rank_.collect(chosen));
  patience_ms_ = std::clamp(4 * (rank_.now_ms() - begin_ms), kPatienceMs, kPatienceMostMs);
  come_.insert(come_.end(), chosen.begin(), chosen.end());
  collected_here_ += chosen.size();
  return {};
}

void RolloutIntake::TakeBack(std::size_t local) {
  if (ahead_[local].elsewhere) remote_->TakeBack(first_lane_ + local);
  ahead_[local] = {};
}

}  // namespace muster::rl
